"""ComfyUI custom nodes of pila: load an adapter, apply it to a Wan model, explain what it did.

This folder goes into ComfyUI's `custom_nodes/` under any name; see its README.
"""

from .nodes import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS

__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS"]
