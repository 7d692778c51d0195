"""A residual says by how much a physical relation fails, point by point (paper, A.3)."""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum, auto

from torch import Tensor

from pila.errors import InputError
from pila.physics.bank import Slot
from pila.physics.calculus import Calculus
from pila.types import AnyField

Pieces = tuple[AnyField, ...]


class Family(StrEnum):
    """The four operational constraint families (paper, A.3)."""

    PDE_ANCHOR = auto()
    KINEMATIC = auto()
    CLOSURE = auto()
    STABILIZER = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Coefficients:
    """Latent-space normalizers in cells and frames, not measured material parameters (Sec. 3.3).

    The paper gives no values; these are ours (docs/decisions.md).
    """

    wave_speed: float | int = 1.0
    """c of elastic, acoustic and optical waves [cells/frame]."""
    diffusivity: float | int = 0.1
    """a of heat [cells²/frame]."""
    viscosity: float | int = 0.1
    """μ, dynamic [density · cells²/frame]."""
    latent_heat: float | int = 1.0
    """L [temperature per unit of phase]."""
    stiffness: float | int = 1.0
    """E of the stress-strain closures; the loss fits a free positive multiple of it."""
    rest_density: float | int = 1.0
    """ρ₀ of the acoustic linearization."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (math.isfinite(value) and value > 0):
                raise InputError(f"Coefficients.{field.name} is {value}; it must be above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Residual:
    """One relation: call it with operators, coefficients and canonical fields by slot name.

    The call returns the balance's pieces, equal in shape, which sum to zero where the relation
    holds. `reads` are the slots it needs, in the order of its parameters.

    A relation that holds "up to latent scale" has two pieces and `free_scale`: the loss may
    multiply the second by any positive number per sample. With `free_offset` the loss removes
    each piece's mean, so that only variation counts. `source` spans an unresolved source term
    that the loss fits per sample, with either sign.
    """

    name: str
    family: Family
    relation: str
    meaning: str
    reads: tuple[Slot, ...]
    term: Callable[..., Pieces]
    free_scale: bool
    free_offset: bool
    source: Callable[..., AnyField] | None

    def __call__(self, fd: Calculus, k: Coefficients, **slots: Tensor) -> Pieces:
        """The pieces of the balance on canonical fields given by slot name."""
        return self.term(fd, k, **slots)

    def select(self, fields: Mapping[Slot, Tensor]) -> dict[str, Tensor]:
        """The fields this relation reads, as keyword arguments of a call."""
        if missing := [str(slot) for slot in self.reads if slot not in fields]:
            raise InputError(
                f"{self.name} reads {', '.join(missing)}, which the given fields lack; "
                f"it needs {', '.join(self.reads)}"
            )
        return {str(slot): fields[slot] for slot in self.reads}


def residual(
    family: Family,
    relation: str,
    *,
    free_scale: bool = False,
    free_offset: bool = False,
    source: Callable[..., AnyField] | None = None,
) -> Callable[[Callable[..., Pieces]], Residual]:
    """Make a term a Residual. The slots it reads are its keyword-only parameters."""

    def wrap(term: Callable[..., Pieces]) -> Residual:
        parameters = inspect.signature(term).parameters.values()
        names = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
        if unknown := sorted(set(names) - set(Slot)):
            raise TypeError(
                f"residual {term.__name__!r} reads unknown slots {unknown}; "
                f"the bank has {', '.join(Slot)}"
            )
        return Residual(
            name=term.__name__,
            family=family,
            relation=relation,
            meaning=inspect.getdoc(term) or "",
            reads=tuple(Slot(name) for name in names),
            term=term,
            free_scale=free_scale,
            free_offset=free_offset,
            source=source,
        )

    return wrap
