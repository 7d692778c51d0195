"""Where residuals are asked for: a bootstrap mask from motion, blended into a physical one; and
where flow errors count most.

Weights, quantile and floor of the bootstrap mask are the paper's (App. B); those of the physical
mask come from the reconstruction (docs/decisions.md).
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from pila.physics.bank import Slot
from pila.physics.calculus import Calculus
from pila.types import AnyField, Latent, Scalar, Vector

QUANTILE = 0.9
FLOOR = 0.08
REST = 1e-4
"""Variance over time of latents that counts as none: a clip at rest is weighed evenly."""
MOST = 12.0
"""Change of a cell over the mean cell's, from which on it weighs no more."""
BOOTSTRAP = {"acceleration": 0.55, "latent_change": 0.25, "velocity_gradient": 0.20}
PHYSICAL = {"evolution": 0.65, "impulse": 0.25, "gradients": 0.10}


def bootstrap_mask(velocity: Vector, x0_hat: Latent, fd: Calculus) -> Scalar:
    """0.55 |u_t| + 0.25 |dx0_hat/dt| + 0.20 |grad u|, normalised; [b, 1, t, h, w] in [0.08, 1]."""
    return _normalised(
        BOOTSTRAP["acceleration"] * _size(fd.t(velocity))
        + BOOTSTRAP["latent_change"] * _size(fd.t(x0_hat))
        + BOOTSTRAP["velocity_gradient"] * _size(torch.cat([fd.x(velocity), fd.y(velocity)], 1))
    )


def physical_mask(fields: Mapping[Slot, AnyField], fd: Calculus) -> Scalar:
    """0.65 evolution + 0.25 impulse + 0.10 gradients of density, phase, temperature.

    Evolution is the size of u_t, rho_t and T_t; absent slots add nothing.
    """
    some = next(iter(fields.values()))
    zero = torch.zeros_like(some[:, :1])

    def total(slots: tuple[Slot, ...], of) -> Tensor:
        return sum((_size(of(fields[s])) for s in slots if s in fields), zero)

    evolution = total((Slot.VELOCITY, Slot.DENSITY, Slot.TEMPERATURE), fd.t)
    impulse = total((Slot.IMPULSE,), lambda f: f)
    gradients = total((Slot.DENSITY, Slot.PHASE, Slot.TEMPERATURE), fd.grad)
    return _normalised(
        PHYSICAL["evolution"] * evolution
        + PHYSICAL["impulse"] * impulse
        + PHYSICAL["gradients"] * gradients
    )


def blended(bootstrap: Scalar, physical: Scalar, step: int, warmup: int) -> Scalar:
    """The bootstrap mask at step 0, the physical one from step `warmup` on."""
    share = min(1.0, step / warmup) if warmup else 1.0
    return (1 - share) * bootstrap + share * physical


def motion_weight(x0_hat: Latent, share: float) -> Tensor:
    """Weights [b, 1, 1, h, w] of flow errors, mean 1: more where the clean estimate changes.

    Most of a flow error is texture at rest that no model can know, and a moving body is a few
    cells of it. The weight is a function of what the model is given, so the best prediction stays
    the same; where it counts most is where the estimate varies over time.

    Args:
        x0_hat: clean latents as they are estimated [b, c, t, h, w]; no gradient passes.
        share: of the weight that follows the variance over time, the rest is even.
    """
    change = x0_hat.detach().float().var(2, keepdim=True).mean(1, keepdim=True) + REST
    moving = (change / change.mean((3, 4), keepdim=True)).clamp(max=MOST)
    return 1 - share + share * moving / moving.mean((3, 4), keepdim=True)


def _size(f: AnyField) -> Scalar:
    return f.square().sum(1, keepdim=True).sqrt()


def _normalised(mask: Scalar) -> Scalar:
    high = torch.quantile(mask.flatten(1), QUANTILE, dim=1).view(-1, 1, 1, 1, 1)
    return (mask / high.clamp_min(1e-12)).clamp(FLOOR, 1.0)
