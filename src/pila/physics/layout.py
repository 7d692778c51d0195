"""The bank's layout: eight categories, and ten slots over 32 channels (Eq. 12, Table 1).

Names and numbers only. Nothing here needs torch, so labels and the command line start fast.
"""

from enum import StrEnum, auto
from itertools import accumulate


class Category(StrEnum):
    """Physical categories: four of materials, four of phenomena (paper, Table 1)."""

    RIGID_BODY = auto()
    ELASTIC = auto()
    FLUID = auto()
    COMPRESSIBLE = auto()
    PHASE_CHANGE = auto()
    COLLISION = auto()
    THERMAL = auto()
    OPTICAL = auto()


class Slot(StrEnum):
    """Field-proxy slots in bank order; `width` counts channels, `channels` slices the bank."""

    DISPLACEMENT = auto()
    VELOCITY = auto()
    PRESSURE = auto()
    DENSITY = auto()
    TEMPERATURE = auto()
    PHASE = auto()
    STRAIN = auto()
    STRESS = auto()
    IMPULSE = auto()
    WAVE = auto()

    @property
    def components(self) -> int:
        """Channels of the canonical field: scalar 1, vector 2, symmetric tensor 3."""
        return _COMPONENTS[self]

    @property
    def width(self) -> int:
        """Channels in the bank."""
        return _WIDTHS[self]

    @property
    def channels(self) -> slice:
        """Where the slot lies among the bank's 32 channels."""
        return _CHANNELS[self]


_COMPONENTS = dict(zip(Slot, (2, 2, 1, 1, 1, 1, 3, 3, 2, 1), strict=True))
_WIDTHS = dict(zip(Slot, (4, 4, 2, 2, 2, 2, 4, 4, 4, 4), strict=True))
_CHANNELS = {
    slot: slice(end - _WIDTHS[slot], end)
    for slot, end in zip(Slot, accumulate(_WIDTHS.values()), strict=True)
}
NUM_BANK_CHANNELS = sum(_WIDTHS.values())
