"""Anchored field estimation, AFE (Eqs. 3, 12-20): feature F -> the physical attribute bank.

The velocity proxy is observable in the frames, so it anchors the rest: displacement, strain and
stress follow from it, pressure and density are read beside its derivatives, and four weakly
observed slots (phase, temperature, impulse, wave) are read in that order, each from what is known
before it.
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from pila.adapter.blocks import Pointwise, channels_first, channels_last
from pila.errors import InputError
from pila.physics.bank import NUM_BANK_CHANNELS, Slot, pack, spread, unread
from pila.physics.calculus import Calculus
from pila.types import AnyField, BankTensor, Latent, Scalar, SymTensor, Vector

Feature = Float[Tensor, "b width t h w"]

WEAK_SLOTS = (Slot.PHASE, Slot.TEMPERATURE, Slot.IMPULSE, Slot.WAVE)
"""In the order in which they wake; every other slot is core and always active."""

DENSITY_FLOOR = 1e-4
SHEAR_MODULUS = 1.0  # mu of Eq. 20
LAME_FIRST = 1.0  # lambda of Eq. 20


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldEstimate:
    """The bank, and the canonical fields that it was packed from."""

    bank: BankTensor
    velocity: Vector
    """The kinematic anchor u; the bank's velocity slot holds the scaffold that it is read from."""
    fields: dict[Slot, AnyField]
    """Canonical fields of the active slots: scalars, vectors (x, y), tensors (xx, yy, xy)."""


def check_active(active: Iterable[Slot | str]) -> tuple[Slot, ...]:
    """The active weak slots in waking order; InputError unless each has its predecessors."""
    names = set(active)
    for name in names - set(WEAK_SLOTS):
        raise InputError(f"active has {str(name)!r}; the weak slots are {', '.join(WEAK_SLOTS)}")
    woken = tuple(slot for slot in WEAK_SLOTS if slot in names)
    if woken != WEAK_SLOTS[: len(woken)]:
        raise InputError(
            f"active is {', '.join(woken)}; slots wake in the order {', '.join(WEAK_SLOTS)}"
        )
    return woken


def integrate_from_middle(velocity: Vector, *, dt: float = 1.0) -> Vector:
    """Displacement in cells since the middle frame t0 = T // 2, where it is exactly 0 (Eq. 19).

    The trapezoid rule over frames: d_{t+1} = d_t + dt (u_t + u_{t+1}) / 2, outward both ways.
    """
    steps = (velocity[:, :, 1:] + velocity[:, :, :-1]) * (dt / 2)
    path = F.pad(steps.cumsum(dim=2), (0, 0, 0, 0, 1, 0))
    middle = velocity.shape[2] // 2
    return path - path[:, :, middle : middle + 1]


def isotropic_stress(pressure: Scalar, strain: SymTensor) -> SymTensor:
    """-p I + 2 mu e + lambda tr(e) I with mu = lambda = 1 (Eq. 20)."""
    diagonal = LAME_FIRST * strain[:, :2].sum(dim=1, keepdim=True) - pressure
    shear = 2 * SHEAR_MODULUS * strain
    return torch.cat([shear[:, :2] + diagonal, shear[:, 2:]], dim=1)


class VelocityHead(nn.Module):
    """The velocity slot's scaffold -> the proxy u (Eq. 14).

    Without a bias, so that an empty slot reads as rest. It works in the precision of its input,
    under autocast too: the residual loss differentiates what it returns.
    """

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(2, Slot.VELOCITY.width))
        nn.init.orthogonal_(self.weight)

    def forward(self, slot: Float[Tensor, "b 4 t h w"]) -> Vector:
        """[b, 4, t, h, w] -> [b, 2, t, h, w]."""
        with _as_given(slot):
            return channels_first(F.linear(channels_last(slot), self.weight.to(slot.dtype)))


class Head(nn.Module):
    """Reads fields off the feature and the fields known so far."""

    def __init__(
        self, width: int, context_channels: int, channels_out: int, *, bias: bool = True
    ) -> None:
        super().__init__()
        hidden = width // 2
        # Two matrices on two inputs are one matrix on their concatenation, without the copy.
        self.from_feature = Pointwise(width, hidden)
        self.from_context = Pointwise(context_channels, hidden, bias=False)
        self.out = Pointwise(hidden, channels_out, bias=bias)

    def forward(self, feature: Feature, *context: AnyField) -> AnyField:
        """Feature [b, width, t, h, w] and context fields -> [b, out, t, h, w], at least float32."""
        known = torch.cat(context, dim=1).to(self.from_context.weight.dtype)
        return _read_off(self.out, F.silu(self.from_feature(feature) + self.from_context(known)))


def _as_given(x: Tensor) -> AbstractContextManager[Any]:
    """Layers in the precision of their weights: autocast would round the fields that they give."""
    kind = x.device.type
    # The meta device, on which costs are counted, knows no autocast.
    if kind == "meta" or not torch.is_autocast_enabled(kind):
        return nullcontext()
    return torch.autocast(kind, enabled=False)


def _read_off(layer: Pointwise, x: Tensor) -> Tensor:
    """What a last layer gives, at least float32 and not rounded by autocast."""
    with _as_given(x):
        return full_precision(layer(x.to(layer.weight.dtype)))


def full_precision(x: Latent) -> Latent:
    """At least float32: finite differences of half-precision fields are mostly rounding."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


class AnchoredFields(nn.Module):
    """AFE. `active` names the weak slots that are estimated; the others are exactly zero.

    With `fill` a slot also carries what its scaffold says in the directions that the reading of
    its field does not see: a scalar that is repeated over two channels leaves one of them free.
    """

    def __init__(self, width: int, *, fill: bool = False) -> None:
        super().__init__()
        self.active: tuple[Slot, ...] = WEAK_SLOTS
        self.fill = fill
        self.calculus = Calculus()
        # Without `fill` only the velocity slot of the scaffold enters the bank.
        self.scaffold = Pointwise(width, NUM_BANK_CHANNELS)  # Eq. 13
        self.velocity = VelocityHead()  # Eq. 14
        self.pressure = Head(width, 5, 1, bias=False)  # centring would take a bias away
        self.density = Head(width, 5, 1)
        self.phase = Head(width, 5, 1)
        self.temperature = Head(width, 4, 1)
        self.impulse = Head(width, 12, 2)
        self.wave = Head(width, 1, 1)

    def forward(
        self, feature: Feature, *, active: Iterable[Slot | str] | None = None
    ) -> FieldEstimate:
        """Estimate every core slot and the active weak ones (default: `self.active`)."""
        woken = check_active(self.active if active is None else active)
        fd = self.calculus
        scaffold = _read_off(self.scaffold, feature)
        velocity_slot = scaffold[:, Slot.VELOCITY.channels]
        u = self.velocity(velocity_slot)

        speed = (u.square().sum(dim=1, keepdim=True) + 1e-12).sqrt()  # smooth at rest
        strain = fd.sym_grad(u)  # Eqs. 15-16
        motion = (u, speed, fd.div(u), fd.curl(u))
        pressure = self.pressure(feature, *motion)  # Eq. 17
        pressure = pressure - pressure.mean(dim=(1, 2, 3, 4), keepdim=True)
        density = F.softplus(self.density(feature, *motion)) + DENSITY_FLOOR  # Eq. 18
        displacement = integrate_from_middle(u, dt=fd.dt)  # Eq. 19
        stress = isotropic_stress(pressure, strain)  # Eq. 20
        fields = {
            Slot.DISPLACEMENT: displacement,
            Slot.VELOCITY: u,
            Slot.PRESSURE: pressure,
            Slot.DENSITY: density,
            Slot.STRAIN: strain,
            Slot.STRESS: stress,
        }
        if Slot.PHASE in woken:
            logit = self.phase(feature, u, density, displacement)
            fields[Slot.PHASE] = torch.sigmoid(logit)
        if Slot.TEMPERATURE in woken:
            fields[Slot.TEMPERATURE] = self.temperature(feature, u, density, fields[Slot.PHASE])
        if Slot.IMPULSE in woken:
            fields[Slot.IMPULSE] = self.impulse(
                feature, displacement, u, pressure, density, strain, stress
            )
        if Slot.WAVE in woken:
            fields[Slot.WAVE] = self.wave(feature, fields[Slot.PHASE])

        slots = {slot: spread(slot, x) for slot, x in fields.items() if slot != Slot.VELOCITY}
        if self.fill:
            slots = {
                slot: x + unread(slot, scaffold[:, slot.channels]) for slot, x in slots.items()
            }
        bank = pack(slots | {Slot.VELOCITY: velocity_slot})  # Eq. 12
        return FieldEstimate(bank=bank, velocity=u, fields=fields)


class ScaffoldFields(nn.Module):
    """The ablation without AFE: the scaffold is the bank, and no slot answers to another."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scaffold = Pointwise(width, NUM_BANK_CHANNELS)
        self.velocity = VelocityHead()

    def forward(
        self, feature: Feature, *, active: Iterable[Slot | str] | None = None
    ) -> FieldEstimate:
        """The scaffold as it is; `active` is accepted and has nothing to order."""
        bank = _read_off(self.scaffold, feature)
        u = self.velocity(bank[:, Slot.VELOCITY.channels])
        return FieldEstimate(bank=bank, velocity=u, fields={Slot.VELOCITY: u})


FIELDS: dict[str, Callable[[int], nn.Module]] = {
    "anchored": AnchoredFields,
    "anchored-filled": partial(AnchoredFields, fill=True),
    "scaffold": ScaffoldFields,
}


def make_fields(name: str, width: int) -> nn.Module:
    """The field estimator of that name for features of `width` channels."""
    if name not in FIELDS:
        raise InputError(f"field_estimator is {name!r}; choose one of {', '.join(FIELDS)}")
    return FIELDS[name](width)
