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
    """Field-proxy slots in bank order.

    Attributes:
        components: channels of the canonical field: scalar 1, vector 2, symmetric tensor 3.
        width: channels in the bank.
        channels: where the slot lies among the bank's 32 channels.
    """

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

    components: int
    width: int
    channels: slice


_COMPONENTS = (2, 2, 1, 1, 1, 1, 3, 3, 2, 1)
_WIDTHS = (4, 4, 2, 2, 2, 2, 4, 4, 4, 4)
# Plain attributes: a denoising step reads them dozens of times.
for _slot, _components, _width, _end in zip(
    Slot, _COMPONENTS, _WIDTHS, accumulate(_WIDTHS), strict=True
):
    _slot.components, _slot.width = _components, _width
    _slot.channels = slice(_end - _width, _end)
NUM_BANK_CHANNELS = sum(_WIDTHS)
