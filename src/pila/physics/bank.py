"""The physical attribute bank (Eq. 12): ten slots of 32 channels, and eight categories."""

from enum import StrEnum, auto


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
