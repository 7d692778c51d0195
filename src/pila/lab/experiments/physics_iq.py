"""Physics-IQ's components on a generated clip and the true clip of the same prompt.

Definitions (Motamed et al., arXiv 2501.09038, and its released evaluation): a mask says where a
frame differs from a running background. Both are grey and blurred by 5 x 5; the background takes
three tenths of each new frame before the difference is taken; over 10 grey levels is in the mask,
opened and then closed by 5 x 5. The first frame's mask is empty.

    ST   mean over frames of the masks' IoU (1 where both are empty)
    S    IoU of the masks' unions over time
    WS   sum min / sum max of the masks' means over time
    MSE  mean squared difference of pixels on [0, 1]

    IQ = 100 clip[(ST/ST_v + S/S_v + WS/WS_v)/3 - (MSE - MSE_v), 0, 1]

with _v between two real takes. The simulated world repeats a take exactly, so that what stands
here for the second take is the true clip through the VAE: 100 is what a generator with this VAE can
show. Prompts leave places open to a few percent; clips that continue given frames are matched.
Physics-IQ films action; prompts whose true clip has none (`acts`) say nothing and are left out.
"""

from collections.abc import Mapping

import cv2
import numpy as np

from pila.errors import InputError

THRESHOLD = 10
"""Grey levels from the background on which a pixel is in the mask."""
RATE = 0.3
"""Share of each new frame in the background."""
COMPONENTS = ("st", "s", "ws", "mse")


def components(frames: np.ndarray, true_frames: np.ndarray, *, first: int = 0) -> dict[str, float]:
    """ST, S, WS (1 is best) and MSE (0 is best).

    Args:
        frames: a clip, [t, h, w, 3] uint8.
        true_frames: what it should show, of the same form.
        first: the first frame that is measured; those before it were given, and count in the
            background alone.

    Raises:
        InputError: clips of different shapes.
    """
    check_pair(frames, true_frames)
    one, other = (action_masks(f)[first:] for f in (frames, true_frames))
    shown, true = (f[first:].astype(np.float32) for f in (frames, true_frames))
    over_time = [mask.mean(0) for mask in (one, other)]
    lower, upper = np.minimum(*over_time).sum(), np.maximum(*over_time).sum()
    return {
        "st": float(np.mean([iou(a, b) for a, b in zip(one, other, strict=True)])),
        "s": iou(*(np.asarray(mask.any(0)) for mask in (one, other))),
        "ws": float(lower / upper) if upper > 0 else 1.0,
        "mse": float(np.square((shown - true) / 255).mean()),
    }


def acts(true_frames: np.ndarray, *, first: int = 0) -> bool:
    """Whether a true clip has any action for masks to show; of slow change they show nothing."""
    return bool(action_masks(true_frames)[first:].any())


def score(found: Mapping[str, float], takes: Mapping[str, float]) -> float:
    """The total, 0 to 100, from mean components and those between two real takes."""
    ratios = [found[name] / max(takes[name], 1e-6) for name in ("st", "s", "ws")]
    return float(100 * np.clip(np.mean(ratios) - (found["mse"] - takes["mse"]), 0, 1))


def action_masks(frames: np.ndarray) -> np.ndarray:
    """Where each frame differs from the running background, bool [t, h, w]; first frame empty."""
    grey = [
        cv2.GaussianBlur(cv2.cvtColor(np.ascontiguousarray(f), cv2.COLOR_RGB2GRAY), (5, 5), 0)
        for f in frames
    ]
    background = grey[0].astype(np.float64)
    square = np.ones((5, 5), np.uint8)
    masks = [np.zeros(grey[0].shape, bool)]
    for frame in grey[1:]:
        background = (1 - RATE) * background + RATE * frame
        still = np.clip(np.rint(background), 0, 255).astype(np.uint8)
        far = (cv2.absdiff(frame, still) > THRESHOLD).astype(np.uint8)
        far = cv2.morphologyEx(far, cv2.MORPH_OPEN, square)
        masks.append(cv2.morphologyEx(far, cv2.MORPH_CLOSE, square) > 0)
    return np.stack(masks)


def iou(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two masks; 1 where both are empty."""
    union = (one | other).sum()
    return float((one & other).sum() / union) if union else 1.0


def check_pair(frames: np.ndarray, true_frames: np.ndarray) -> None:
    """Refuse clips that cannot be compared pixel by pixel.

    Raises:
        InputError: with both shapes.
    """
    if frames.shape != true_frames.shape or frames.ndim != 4 or frames.shape[-1] != 3:
        raise InputError(
            f"the clip is {list(frames.shape)} and the true one {list(true_frames.shape)}; compare "
            "frames [t, h, w, 3] of one shape"
        )
