"""Stage B, recover: slots that no frame shows directly join one after another.

What reads u rests. Density and pressure are fitted by the fluid relations on that u alone; phase,
temperature, impulse and wave wake in this order, each with its own local losses (App. B). Every
relation is also obeyed by empty fields, so each slot is tied to something seen in the estimate
(the observable anchor) or, in the calibrated recipe, to the simulator's true field.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pila.adapter.fields import WEAK_SLOTS, FieldEstimate
from pila.physics import Calculus, Coefficients, Slot, residual_loss
from pila.physics.residual import Residual
from pila.physics.terms import fluid, optical, phase_change, thermal
from pila.train.adapter_task import AdapterTask
from pila.train.step_rng import StepRng
from pila.types import AnyField, Latent, Scalar

LOCAL: Mapping[Slot | None, Sequence[Residual]] = {
    None: (fluid.mass_continuity, fluid.momentum_balance),
    Slot.PHASE: (phase_change.phase_transport,),
    Slot.TEMPERATURE: (thermal.heat_transport, phase_change.thermal_phase_coupling),
    Slot.WAVE: (optical.wave_propagation,),
}
"""Relations that each slot brings along; None stands for the core. The impulse is fitted."""


class RecoverTask(AdapterTask):
    """Local losses of the awake slots and the observable anchor, on noised clips of all levels."""

    @property
    def needs_targets(self) -> bool:
        """Always."""
        return True

    @property
    def needs_truth(self) -> bool:
        """Whether slots are tied to true fields."""
        return self.config.recover.calibrated

    def trained(self) -> list[Any]:
        """The heads of everything but u: the encoder and what reads u rest."""
        fields = self.module.fields
        return [getattr(fields, slot) for slot in (Slot.PRESSURE, Slot.DENSITY, *WEAK_SLOTS)]

    def loss(self, draws: StepRng) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Weighted local losses, each slot's ramped from its waking on, and every score by name."""
        recover = self.config.recover
        batch, prediction = self.predicted(draws)
        x0_hat = prediction.x0_hat
        done = draws.step / self.config.optim.steps
        awake = {slot: ramp_from(done, getattr(recover, slot), recover.ramp) for slot in WEAK_SLOTS}
        active = tuple(slot for slot in WEAK_SLOTS if done >= getattr(recover, slot))
        with torch.no_grad():
            feature = self.module.encoder(x0_hat, prediction.sigma)
        estimate = self.module.fields(feature, active=active)
        losses, figures = self.local_losses(estimate)
        shares = {None: 1.0} | awake
        total = torch.stack([shares[slot] * loss for slot, loss in losses.items()]).sum()
        anchors = slot_anchors(
            estimate.fields, x0_hat, batch, calibrated=self.config.recover.calibrated
        )
        figures |= {f"anchor_{slot}": a.detach() for slot, a in anchors.items()}
        anchored = [shares.get(slot, 1.0) * a for slot, a in anchors.items()]
        total = total + recover.observable_weight * torch.stack(anchored).sum()
        figures |= {f"std_{slot}": f.detach().std() for slot, f in estimate.fields.items()}
        return total, figures

    def local_losses(
        self, estimate: FieldEstimate
    ) -> tuple[dict[Slot | None, Tensor], dict[str, Tensor]]:
        """The mean score of what each awake slot brings along, and all scores by name."""
        fields = dict(estimate.fields)
        # u is the anchor: relations are to be met by what is read beside it.
        fields[Slot.VELOCITY] = fields[Slot.VELOCITY].detach()
        fd, k = Calculus(), Coefficients()
        losses: dict[Slot | None, Tensor] = {}
        figures: dict[str, Tensor] = {}
        for slot, terms in LOCAL.items():
            if slot is None or slot in fields:
                scored = residual_loss(fields, terms, fd, k, check_finite=self.checking)
                losses[slot] = scored.total.mean()
                figures |= scored.means
        if Slot.IMPULSE in fields:
            rate = fd.t(fields[Slot.VELOCITY])
            missed, size = (
                f.square().mean((1, 2, 3, 4)) for f in (fields[Slot.IMPULSE] - rate, rate)
            )
            losses[Slot.IMPULSE] = (missed / size.clamp_min(1e-6)).mean()
            figures["impulse_fit"] = losses[Slot.IMPULSE].detach()
        return losses, figures


OBSERVED = {
    Slot.DENSITY: "matter",
    Slot.PHASE: "matter",
    Slot.TEMPERATURE: "appearance",
    Slot.WAVE: "change",
}
"""What each slot is anchored to where no truth is known; impulse is fitted to u's rate instead."""


def slot_anchors(
    fields: Mapping[Slot, AnyField],
    x0_hat: Latent,
    batch: Mapping[str, Any],
    *,
    calibrated: bool,
) -> dict[Slot, Tensor]:
    """1 - R^2 [] of each slot but u against what is seen or, if calibrated, what is true.

    Args:
        fields: the slots, [b, c, t, h, w] each.
        x0_hat: the estimate that they were read off.
        batch: with `true.SLOT` and `mask.SLOT` where calibrated.
        calibrated: whether slots are tied to true fields.
    """
    if calibrated:
        return {
            slot: unexplained(field, batch[f"true.{slot}"], batch[f"mask.{slot}"])
            for slot, field in fields.items()
            if f"true.{slot}" in batch and slot != Slot.VELOCITY
        }
    seen = observables(x0_hat)
    return {
        slot: unexplained(fields[slot], seen[name], torch.ones_like(seen[name]))
        for slot, name in OBSERVED.items()
        if slot in fields
    }


def observables(x0_hat: Latent) -> dict[str, Scalar]:
    """What clean latents show: matter, its appearance, and how that changes; [b, 1, t, h, w] each.

    Matter is the distance from the clip's own background (its median over time and space);
    appearance the projection on the direction in which the clip varies most; change that
    projection without its mean over time. No sign or scale is meant: anchors are correlations.
    In float32 whatever the forward pass computes in: no eigenvalues are found in half precision.
    """
    with torch.autocast(x0_hat.device.type, enabled=False):
        x = x0_hat.float()
        background = x.flatten(2).median(2).values[:, :, None, None, None]
        away = x - background
        matter = away.square().sum(1, keepdim=True).sqrt()
        flat = (x - x.mean((2, 3, 4), keepdim=True)).flatten(2)
        _, directions = torch.linalg.eigh(flat @ flat.transpose(1, 2))
        appearance = torch.einsum("bc,bcthw->bthw", directions[..., -1], away)[:, None]
    return {
        "matter": matter,
        "appearance": appearance,
        "change": appearance - appearance.mean(2, keepdim=True),
    }


def unexplained(field: AnyField, wanted: AnyField, mask: Scalar) -> Tensor:
    """1 - R^2 [] of the best affine fit of `wanted` to `field` a sample, inside the mask.

    Blind to offset, scale and sign, as a proxy may be; a constant field explains nothing. One
    scale is shared by all components.
    """
    a, b = centred(field, mask), centred(wanted, mask)
    there = varies(wanted, mask)  # a clip without this field asks for nothing
    sizes = weighted(a, a, mask) * weighted(b, b, mask)
    lost = 1 - weighted(a, b, mask).square() / sizes.clamp_min(1e-24)
    return (lost * there).sum() / there.sum().clamp_min(1)


def varies(wanted: AnyField, mask: Scalar) -> Tensor:
    """Which samples have a field with any variance inside the mask, 0 or 1 [b]."""
    b = centred(wanted, mask)
    return (weighted(b, b, mask) > 1e-12).float()


def centred(f: AnyField, mask: Scalar) -> AnyField:
    """A field in float32 less its mean inside the mask, sample by sample and component."""
    f = f.float()
    return f - (f * _share(mask)).sum((2, 3, 4), keepdim=True)


def weighted(f: AnyField, g: AnyField, mask: Scalar) -> Tensor:
    """The mean product of two fields inside the mask, over components [b]."""
    return (f * g * _share(mask)).sum((1, 2, 3, 4))


def _share(mask: Scalar) -> Scalar:
    return mask / mask.sum((1, 2, 3, 4), keepdim=True).clamp_min(1e-6)


def ramp_from(done: float, start: float, length: float) -> float:
    """0 before `start`, 1 from `start + length` on, linear between; shares of the run."""
    return min(1.0, max(0.0, (done - start) / length)) if length else float(done >= start)
