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
from pila.physics.loss import Form, ResidualLoss, residual_loss
from pila.physics.norms import variance_shares
from pila.physics.residual import Coefficients, Family, Residual, residual
from pila.physics.terms import TERMS, recipe, recipe_mask
from pila.physics.weights import AdaptiveWeights

__all__ = [
    "NUM_BANK_CHANNELS",
    "TERMS",
    "AdaptiveWeights",
    "Calculus",
    "Category",
    "Coefficients",
    "Family",
    "Form",
    "Residual",
    "ResidualLoss",
    "Slot",
    "pack",
    "read_fields",
    "readout",
    "recipe",
    "recipe_mask",
    "residual",
    "residual_loss",
    "spread",
    "unpack",
    "variance_shares",
]
