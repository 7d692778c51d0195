"""The simulated world: clips whose physics is known, a test bench and a demo.

Results on it are results on it, never on Wan (see docs/decisions.md).
"""

from pila.lab.world.dataset import make_clips
from pila.lab.world.registry import SCENES, measure, recognise_scene, scene_named, simulate
from pila.lab.world.scene import Canvas, Clip, Scene
from pila.lab.world.sheet import write_sheet

__all__ = [
    "SCENES",
    "Canvas",
    "Clip",
    "Scene",
    "make_clips",
    "measure",
    "recognise_scene",
    "scene_named",
    "simulate",
    "write_sheet",
]
