"""Physics of the attribute bank: slots, operators, residuals and their loss."""

from pila.physics.bank import (
    NUM_BANK_CHANNELS,
    Category,
    Slot,
    pack,
    read_fields,
    readout,
    spread,
    unpack,
)
from pila.physics.calculus import Calculus
from pila.physics.residual import Coefficients, Family, Residual, residual
from pila.physics.terms import TERMS, recipe, recipe_mask

__all__ = [
    "NUM_BANK_CHANNELS",
    "TERMS",
    "Calculus",
    "Category",
    "Coefficients",
    "Family",
    "Residual",
    "Slot",
    "pack",
    "read_fields",
    "readout",
    "recipe",
    "recipe_mask",
    "residual",
    "spread",
    "unpack",
]
