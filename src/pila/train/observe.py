"""Stage A, observe: the adapter learns to read motion off the frozen generator's estimates.

Encoder, scaffold and velocity head are trained so that u follows the flow that is seen in the
clips, over noise ranges that widen in turn (App. B): a clip that is nearly clear shows its motion,
a noisier one must be read with what was learned before.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from pila.adapter.fields import integrate_from_middle
from pila.data.flow_targets import deformation_targets
from pila.physics.bank import Slot
from pila.physics.calculus import Calculus
from pila.train.adapter_task import AdapterTask
from pila.train.noise import evenly, shifted
from pila.train.step_rng import StepRng
from pila.types import Scalar, Vector

MOVING = 0.05
"""Speed in cells per latent frame over which a cell counts as moving."""


class ObserveTask(AdapterTask):
    """u against flow, and what follows from u against what follows from flow."""

    def trained(self) -> list[Any]:
        """The encoder, and of the fields what u is read by."""
        fields = self.module.fields
        return [self.module.encoder, fields.scaffold, fields.velocity]

    def loss(self, draws: StepRng) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Weighted errors of motion, displacement and strain [], with the end-point error."""
        observe = self.config.observe
        batch, prediction = self.predicted(draws)
        feature = self.module.encoder(prediction.x0_hat, prediction.sigma)
        u = self.module.fields(feature, active=()).velocity
        flow, confidence = self._targets(batch)
        fd = Calculus()
        wanted = deformation_targets(flow, confidence)
        errors = {
            "motion": distance(u, flow, balanced(flow, confidence)),
            "displacement": distance(
                integrate_from_middle(u),
                wanted.displacement,
                balanced(flow, wanted.displacement_confidence),
            ),
            "strain": distance(
                fd.sym_grad(u), wanted.strain, balanced(flow, wanted.strain_confidence)
            ),
        }
        total = sum(getattr(observe, f"{name}_weight") * error for name, error in errors.items())
        with torch.no_grad():
            moving = (flow.norm(dim=1, keepdim=True) > MOVING) * confidence
            far = ((u - flow).norm(dim=1, keepdim=True) * moving).sum() / moving.sum().clamp_min(1)
            size = (flow.norm(dim=1, keepdim=True) * moving).sum() / moving.sum().clamp_min(1)
        figures = {name: error.detach() for name, error in errors.items()}
        figures |= {"end_point_error": far, "true_speed": size}
        return torch.as_tensor(total), figures | {"std_velocity": u.detach().std()}

    def levels(self, draws: StepRng, rng: torch.Generator) -> Tensor:
        """Noise levels of the rows [b] in the present range, spread evenly over the batch.

        A range is the last part of the sampler's schedule, whose shift these levels share.
        """
        ranges = self.config.observe.ranges
        widest = ranges[min(len(ranges) * draws.step // self.config.optim.steps, len(ranges) - 1)]
        u = widest * evenly(draws.batch, rng)
        return draws.take(shifted(u, self.config.generator.shift))

    @property
    def needs_targets(self) -> bool:
        """Always."""
        return True

    @property
    def needs_truth(self) -> bool:
        """Whether u is held against the simulator's own velocity."""
        return self.config.observe.targets == "true"

    def _targets(self, batch: Mapping[str, Tensor]) -> tuple[Vector, Scalar]:
        """What u is held against, and how far to trust it."""
        if self.needs_truth:
            return batch[f"true.{Slot.VELOCITY}"], batch[f"mask.{Slot.VELOCITY}"]
        return batch["flow"], batch["confidence"]


def balanced(flow: Vector, confidence: Scalar) -> Scalar:
    """Weights [b, 1, t, h, w] that sum to 1 a sample: half for what moves, half for what rests.

    Motion is sparse in most clips; a plain mean would reward rest.
    """
    moving = (flow.norm(dim=1, keepdim=True) > MOVING).to(confidence.dtype)
    parts = [confidence * moving, confidence * (1 - moving)]
    shares = [part / part.sum((1, 2, 3, 4), keepdim=True).clamp_min(1e-6) for part in parts]
    total = shares[0] + shares[1]
    return total / total.sum((1, 2, 3, 4), keepdim=True).clamp_min(1e-6)


def distance(found: Tensor, wanted: Tensor, share: Scalar, floor: float = 0.01) -> Tensor:
    """Charbonnier distance [] of fields [b, c, t, h, w] under weights that sum to 1 a sample."""
    apart = ((found - wanted).square().sum(1, keepdim=True) + floor**2).sqrt() - floor
    return (apart * share).sum((1, 2, 3, 4)).mean()
