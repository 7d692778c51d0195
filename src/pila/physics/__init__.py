"""Physics of the attribute bank: slots, operators, residuals and their loss.

Names load on first use (PEP 562): those of `layout` need no torch, and who reads a prompt's
categories should not wait for it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pila.physics.bank import pack as pack
    from pila.physics.bank import read_fields as read_fields
    from pila.physics.bank import readout as readout
    from pila.physics.bank import spread as spread
    from pila.physics.bank import unpack as unpack
    from pila.physics.bank import unread as unread
    from pila.physics.calculus import Calculus as Calculus
    from pila.physics.layout import NUM_BANK_CHANNELS as NUM_BANK_CHANNELS
    from pila.physics.layout import Category as Category
    from pila.physics.layout import Slot as Slot
    from pila.physics.loss import Form as Form
    from pila.physics.loss import ResidualLoss as ResidualLoss
    from pila.physics.loss import residual_loss as residual_loss
    from pila.physics.loss import residual_maps as residual_maps
    from pila.physics.norms import variance_shares as variance_shares
    from pila.physics.residual import Coefficients as Coefficients
    from pila.physics.residual import Family as Family
    from pila.physics.residual import Residual as Residual
    from pila.physics.terms import TERMS as TERMS
    from pila.physics.terms import recipe as recipe
    from pila.physics.terms import recipe_mask as recipe_mask
    from pila.physics.weights import AdaptiveWeights as AdaptiveWeights

_EXPORTS = {
    "NUM_BANK_CHANNELS": "layout",
    "TERMS": "terms",
    "AdaptiveWeights": "weights",
    "Calculus": "calculus",
    "Category": "layout",
    "Coefficients": "residual",
    "Family": "residual",
    "Form": "loss",
    "Residual": "residual",
    "ResidualLoss": "loss",
    "Slot": "layout",
    "pack": "bank",
    "read_fields": "bank",
    "readout": "bank",
    "recipe": "terms",
    "recipe_mask": "terms",
    "residual_loss": "loss",
    "residual_maps": "loss",
    "spread": "bank",
    "unpack": "bank",
    "unread": "bank",
    "variance_shares": "norms",
}
__all__ = list(_EXPORTS)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    """Import an exported name on first use."""
    if name not in _EXPORTS:
        raise AttributeError(f"module 'pila.physics' has no attribute {name!r}")
    value = getattr(import_module(f"pila.physics.{_EXPORTS[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
