"""PISA's measures of where things are: mask IoU, "L2" and symmetric Chamfer distance.

Definitions (Li et al., arXiv 2503.09595, and its released evaluation), H the height in pixels:

    IoU      of the masks in a frame, 1 where they are the same (both empty, too), mean over frames
    L2       mean |difference of a coordinate| of the masks' centres / (sqrt 2 H): absolute, per
             coordinate, in spite of its name
    Chamfer  (mean distance from each pixel of one mask to the other mask, plus the same the other
             way) / (sqrt 2 H)

PISA's masks are SAM's, of the object that falls. Here everything coloured is the mask: the world
draws what acts in saturated colours on grey. Frames in which a mask is empty have no centre; L2
and Chamfer leave them out, and `lost` is the share of frames where the true clip shows something
and the other nothing.
"""

import cv2
import numpy as np

from pila.lab.experiments.physics_iq import check_pair, iou
from pila.lab.world.balls import colour_weights

MEASURES = ("iou", "l2", "chamfer", "lost")


def errors(frames: np.ndarray, true_frames: np.ndarray) -> dict[str, float | None]:
    """IoU (1 is best), L2, Chamfer and lost (0 is best) of a clip against the true one.

    L2 and Chamfer are None where no frame shows something in both.

    Args:
        frames: [t, h, w, 3] uint8.
        true_frames: of the same form.

    Raises:
        InputError: clips of different shapes.
    """
    check_pair(frames, true_frames)
    return compared(*(colour_weights(f, 1)[0] >= 0.5 for f in (frames, true_frames)))


def compared(masks: np.ndarray, true_masks: np.ndarray) -> dict[str, float | None]:
    """The same for masks, bool [t, h, w]."""
    pairs = list(zip(masks, true_masks, strict=True))
    scale = np.sqrt(2) * masks.shape[1]
    both = [(one, true) for one, true in pairs if one.any() and true.any()]
    shown = [one.any() for one, true in pairs if true.any()]
    l2 = chamfer = None
    if both:
        l2 = float(np.mean([np.abs(_centre(one) - _centre(true)) for one, true in both]) / scale)
        chamfer = float(np.mean([_away(a, b) + _away(b, a) for a, b in both]) / scale)
    return {
        "iou": float(np.mean([iou(one, true) for one, true in pairs])),
        "l2": l2,
        "chamfer": chamfer,
        "lost": 1 - float(np.mean(shown)) if shown else 0.0,
    }


def _centre(mask: np.ndarray) -> np.ndarray:
    """(row, column) of a mask's centre."""
    return np.array([axis.mean() for axis in np.nonzero(mask)])


def _away(mask: np.ndarray, other: np.ndarray) -> float:
    """Mean distance [px] from each pixel of a mask to the nearest one of the other."""
    # Distances to the nearest zero, exact.
    distance = cv2.distanceTransform((~other).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return float(distance[mask].mean())
