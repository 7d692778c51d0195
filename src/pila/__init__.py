"""PILA: a physics adapter for frozen flow-matching video generators.

`import pila` is light; torch and diffusers load with the first name that needs them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pila.threads import let_threads_sleep

__version__ = "0.1.0"

if TYPE_CHECKING:
    from pila.adapter import PilaAdapter as PilaAdapter
    from pila.errors import InputError as InputError
    from pila.physics.layout import Category as Category
    from pila.physics.layout import Slot as Slot
    from pila.pipelines.attach import attach as attach
    from pila.pipelines.wan import PilaWanPipeline as PilaWanPipeline
    from pila.pipelines.wan_i2v import PilaWanImageToVideoPipeline as PilaWanImageToVideoPipeline

# Before anything imports torch, whose threads read it once.
let_threads_sleep()

_EXPORTS = {
    "Category": "pila.physics.layout",
    "InputError": "pila.errors",
    "PilaAdapter": "pila.adapter",
    "PilaWanImageToVideoPipeline": "pila.pipelines.wan_i2v",
    "PilaWanPipeline": "pila.pipelines.wan",
    "Slot": "pila.physics.layout",
    "attach": "pila.pipelines.attach",
}
__all__ = ["__version__", *_EXPORTS]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    """Import an exported name on first use (PEP 562)."""
    if name not in _EXPORTS:
        raise AttributeError(f"module 'pila' has no attribute {name!r}")
    value = getattr(import_module(_EXPORTS[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
