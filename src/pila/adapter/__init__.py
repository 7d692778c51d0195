"""The adapter of Eqs. 1-10 and its capacity-matched control."""

from pila.adapter.adapter import AdapterOutput, PilaAdapter
from pila.adapter.base import LatentAdapter, require_finite
from pila.adapter.condition import pool_text
from pila.adapter.plain import PlainAdapter
from pila.adapter.router import Route

__all__ = [
    "AdapterOutput",
    "LatentAdapter",
    "PilaAdapter",
    "PlainAdapter",
    "Route",
    "pool_text",
    "require_finite",
]
