"""The simulator's own fields in the units and axes of `pila.data.flow_targets`.

The world's y points upwards, the bank's downwards.
"""

import numpy as np

from pila.data.flow_targets import TrueTargets
from pila.lab.world.scene import Clip
from pila.physics.layout import Slot

_POWERS = {
    Slot.DISPLACEMENT: (1, 0),
    Slot.VELOCITY: (1, -1),
    Slot.PRESSURE: (2, -2),
    Slot.STRESS: (2, -2),
    Slot.IMPULSE: (1, -2),
}
"""Powers of length and time in a slot's unit, where there are any."""


def true_targets(clip: Clip, *, spatial: int = 8, temporal: int = 4) -> TrueTargets:
    """The true fields of a simulated clip in the units and axes of `flow_targets`."""
    cells_per_metre = clip.frames.shape[1] / spatial / clip.metres
    latent_frames_per_second = clip.frame_rate / temporal
    fields, masks = clip.latent_fields(spatial=spatial, temporal=temporal)
    turned = {}
    for slot, field in fields.items():
        length, time = _POWERS.get(slot, (0, 0))
        scale = cells_per_metre**length * latent_frames_per_second**time
        # One index of y turns the sign: of a vector's y, of a tensor's xy.
        signs = {1: (1,), 2: (1, -1), 3: (1, 1, -1)}[len(field)]
        turned[slot] = (field * scale * np.reshape(signs, (-1, 1, 1, 1))).astype(np.float32)
    return TrueTargets(fields=turned, masks={s: m.astype(np.float32) for s, m in masks.items()})
