"""The project's own terms on a scene's true fields, inside its bodies."""

import numpy as np
import torch
from torch import Tensor

from pila.lab.world.scene import Clip
from pila.physics.layout import Slot


def upright(clip: Clip) -> tuple[dict[Slot, Tensor], np.ndarray]:
    """Fields [1, c, t, h, w] with rows turned to follow y, and where all stencils lie in a body.

    The latter, [t, h, w] bool, leaves out the first and last frame and the bodies' rims.
    """
    fields = {
        slot: torch.from_numpy(np.flip(f, -2).copy())[None] for slot, f in clip.fields.items()
    }
    inside = np.flip(clip.masks[Slot.VELOCITY], -2)[0] > 0.999
    for axis in (0, 1, 2):
        inside = inside & np.roll(inside, 1, axis) & np.roll(inside, -1, axis)
    inside[0] = inside[-1] = False
    return fields, inside


def relative_residual(pieces: tuple[Tensor, ...], inside: np.ndarray) -> float:
    """Root mean square of the pieces' sum there, relative to the first piece's."""
    values = np.stack([piece[0].numpy()[:, inside] for piece in pieces])
    return float(np.sqrt((values.sum(0) ** 2).mean() / (values[0] ** 2).mean()))
