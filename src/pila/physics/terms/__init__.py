"""The 29 terms by category, in the paper's order, and what follows from the slots they read."""

import torch
from jaxtyping import Float
from torch import Tensor

from pila.physics.bank import NUM_BANK_CHANNELS, Category, Slot
from pila.physics.residual import Residual
from pila.physics.terms import (
    collision,
    compressible,
    elastic,
    fluid,
    optical,
    phase_change,
    rigid_body,
    thermal,
)

TERMS: dict[Category, tuple[Residual, ...]] = {
    Category.RIGID_BODY: rigid_body.TERMS,
    Category.ELASTIC: elastic.TERMS,
    Category.FLUID: fluid.TERMS,
    Category.COMPRESSIBLE: compressible.TERMS,
    Category.PHASE_CHANGE: phase_change.TERMS,
    Category.COLLISION: collision.TERMS,
    Category.THERMAL: thermal.TERMS,
    Category.OPTICAL: optical.TERMS,
}


def recipe(category: Category) -> frozenset[Slot]:
    """The slots that a category's expert may change: those its residuals read (Eq. 24)."""
    return frozenset(slot for term in TERMS[category] for slot in term.reads)


def recipe_mask() -> Float[Tensor, "categories 32"]:
    """M_k of Eq. 5: 1 at the bank channels of each category's recipe, 0 elsewhere."""
    mask = torch.zeros(len(Category), NUM_BANK_CHANNELS)
    for row, category in zip(mask, Category, strict=True):
        for slot in recipe(category):
            row[slot.channels] = 1
    return mask
