"""ProPhy: physics experts inside the generator, in two stages (arXiv 2512.05564)."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pila.prophy.branch import ProPhyBranch as ProPhyBranch
    from pila.prophy.branch import Routing as Routing
    from pila.prophy.branch import attach as attach

__all__ = ["ProPhyBranch", "Routing", "attach"]


def __getattr__(name: str) -> Any:
    """Import an exported name on first use (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module 'pila.prophy' has no attribute {name!r}")
    value = getattr(import_module("pila.prophy.branch"), name)
    globals()[name] = value
    return value
