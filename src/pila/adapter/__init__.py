"""The adapter of Eqs. 1-10 and its capacity-matched control."""

from diffusers import ModelMixin as ModelMixin  # how diffusers knows a component's kind

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

# A saved pipeline's model_index.json names a component's module: the public one, not a file's.
PilaAdapter.__module__ = PlainAdapter.__module__ = __name__
