"""Motion as training wants to see it: latent cells per latent frame, on the latent grid.

What velocity means. Latent frame 0 holds frame 0 alone, latent frame i > 0 the frames
4 i - 3 .. 4 i. The velocity at a latent frame and cell is
the mean, over the frames that it holds and the pixels of the cell, of the velocity of what is seen
there. The velocity at a frame is half the displacement from the frame before to the frame after;
at the first frame it is continued from the first two displacements, at the last it is the last
one. It is counted in cells per latent frame, that is in temporal / spatial pixels per frame; so it
is at latent frame 0, too, although only 2.5 frames lie between its middle and the next one's.

Axes are the bank's: x along the width to the right, y along the height downwards.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any, Protocol

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from pila.adapter.fields import integrate_from_middle
from pila.errors import InputError
from pila.physics.calculus import Calculus
from pila.physics.layout import Slot
from pila.types import Scalar, SymTensor, Vector

TOLERANCE = (0.1, 0.1)
"""Forward and backward flow may miss each other by this many pixels, plus this share of the flow,
before half of the confidence is gone."""
TEXTURE = 1.0
"""Grey levels per pixel, across the direction in which a place changes least, that give half of
the confidence: about the noise of eight-bit video."""
REACH = 0.5
"""Standard deviation of the surroundings in which texture counts, in latent cells."""
FLOOR = 1e-4
"""Weight of pixels of no confidence, so that a cell without any has their plain mean."""


class FlowEstimator(Protocol):
    """A dense optical flow: a function, or an object that can be called.

    Caches note its `name` (an attribute; else the function's or the class's name), and run it in
    other processes, so that it must pickle.
    """

    def __call__(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        """Where what is seen at each pixel of one frame has gone in another.

        Args:
            before: [h, w, 3] uint8.
            after: likewise.

        Returns:
            Displacement [h, w, 2] float32 (x right, y down) in pixels.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DisFlow:
    """OpenCV's dense inverse search, medium preset, on luminance (Kroeger et al., ECCV 2016).

    Args:
        side: frames are brought to this shorter side first: small ones are enlarged, since the
            method's patches of 8 pixels are large in them; large ones shrink, since a latent cell
            of 8 pixels does not need more.
    """

    side: int = 240

    @property
    def name(self) -> str:
        """`dis-` and the working size."""
        return f"dis-{self.side}"

    def __call__(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        """See `FlowEstimator`."""
        height, width = before.shape[:2]
        factor = self.side / min(height, width)
        size = (round(factor * width), round(factor * height))
        how = cv2.INTER_CUBIC if factor > 1 else cv2.INTER_AREA
        grey = [
            cv2.resize(cv2.cvtColor(f, cv2.COLOR_RGB2GRAY), size, interpolation=how)
            for f in (before, after)
        ]
        flow = _dis().calc(grey[0], grey[1], None)  # pyright: ignore[reportCallIssue, reportArgumentType]
        flow = cv2.resize(flow, (width, height), interpolation=cv2.INTER_AREA)
        return flow * np.array([width / size[0], height / size[1]], np.float32)


def estimator_name(estimator: FlowEstimator) -> str:
    """What a cache calls an estimator."""
    own = getattr(estimator, "name", None) or getattr(estimator, "__qualname__", None)
    return own or type(estimator).__qualname__


@cache
def _dis() -> Any:
    # OpenCV's own stubs leave this function out.
    return cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)  # pyright: ignore[reportAttributeAccessIssue]


def flow_targets(
    frames: np.ndarray,
    *,
    spatial: int = 8,
    temporal: int = 4,
    estimator: FlowEstimator | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Velocity on the latent grid from the pixels of a clip, and how far to trust it.

    A pixel's confidence is the product of two: forward and backward flow lead back to where they
    began, and the place has texture in every direction (in a flat region, and along an edge, flow
    is guessed from the surroundings). A cell's velocity is the mean weighted by them.

    Args:
        frames: [t, h, w, 3] uint8; t = temporal n + 1, h and w multiples of `spatial`.
        spatial: pixels along a latent cell.
        temporal: frames in a latent frame.
        estimator: the optical flow; `DisFlow()` by default.

    Returns:
        Velocity [2, t', h', w'] float32 (x, y) in cells per latent frame, and confidence
        [1, t', h', w'] float32 in [0, 1].

    Raises:
        InputError: frames of another form.
    """
    _check_frames(frames, spatial, temporal)
    velocity, confidence = [], []
    for flow, trust in _by_frame(frames, estimator or DisFlow(), spatial):
        weight = trust + FLOOR
        velocity.append(_cells(flow * weight[..., None], spatial))
        confidence.append(np.stack([_cells(trust, spatial), _cells(weight, spatial)]))
    moments = _latent_frames(np.moveaxis(np.stack(velocity), -1, 0), temporal)
    trusts = _latent_frames(np.stack(confidence, 1), temporal)
    flow = moments / trusts[1:] * (temporal / spatial)
    return flow.astype(np.float32), np.clip(trusts[:1], 0, 1).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deformation:
    """What follows from a velocity by the adapter's own rules, and how far to trust it.

    Attributes:
        displacement: [b, 2, t, h, w] in cells, 0 in the middle latent frame.
        displacement_confidence: [b, 1, t, h, w] in [0, 1].
        strain: [b, 3, t, h, w] (xx, yy, xy), the velocity's symmetric gradient.
        strain_confidence: [b, 1, t, h, w] in [0, 1].
    """

    displacement: Vector
    displacement_confidence: Scalar
    strain: SymTensor
    strain_confidence: Scalar


def deformation_targets(flow: Vector, confidence: Scalar) -> Deformation:
    """Displacement and strain as AFE derives them (Eqs. 15, 16, 19), from velocity targets.

    A derived value is trusted as far as the least trusted velocity that enters it: along the way
    from the middle frame for displacement, in the eight cells around for strain.

    Args:
        flow: [b, 2, t, h, w] in cells per latent frame.
        confidence: [b, 1, t, h, w] in [0, 1].
    """
    middle = flow.shape[2] // 2
    later = confidence[:, :, middle:].cummin(dim=2).values
    earlier = confidence[:, :, : middle + 1].flip(2).cummin(dim=2).values.flip(2)
    around = -F.max_pool3d(-confidence, (1, 3, 3), stride=1, padding=(0, 1, 1))
    return Deformation(
        displacement=integrate_from_middle(flow),
        displacement_confidence=torch.cat([earlier[:, :, :-1], later], dim=2),
        strain=Calculus().sym_grad(flow),
        strain_confidence=around,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrueTargets:
    """A simulated clip's true fields on the latent grid, in the bank's axes and units.

    Lengths are latent cells, times latent frames, x points right and y down; masses per volume and
    temperatures stay the scene's. So velocity and impulse are in cells per latent frame (squared),
    strain, phase and wave as the scene has them, and pressure and stress in density times squared
    velocity: the relations between the slots hold as in SI units.

    Displacement and strain are the scene's own: of matter, from a rest state that the scene names.
    `deformation_targets` of the true velocity gives those that the adapter derives at fixed cells.

    Attributes:
        fields: by slot, [c, t', h', w'] float32; scalars 1, vectors (x, y), tensors (xx, yy, xy).
        masks: by slot, [1, t', h', w'] float32 in [0, 1]: the share of a cell where it is defined.
    """

    fields: dict[Slot, np.ndarray]
    masks: dict[Slot, np.ndarray]


def _check_frames(frames: np.ndarray, spatial: int, temporal: int) -> None:
    good = frames.ndim == 4 and frames.shape[-1] == 3 and frames.dtype == np.uint8
    if not good or len(frames) < 2 or (len(frames) - 1) % temporal:
        raise InputError(
            f"frames are {frames.dtype} {list(frames.shape)}; flow takes uint8 [t, h, w, 3] with "
            f"t = {temporal} n + 1, at least {temporal + 1}"
        )
    if frames.shape[1] % spatial or frames.shape[2] % spatial:
        raise InputError(
            f"frames are {frames.shape[2]} x {frames.shape[1]} px; crop them to multiples of "
            f"{spatial}"
        )


def _by_frame(
    frames: np.ndarray, estimator: FlowEstimator, spatial: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Velocity [h, w, 2] in pixels per frame and trust [h, w], frame by frame.

    Of the displacements to both neighbours, the one whose way back is lost (the place is hidden
    in that neighbour, or outside) counts less.
    """
    pairs = (_Pair.of(*two, estimator) for two in pairwise(frames))
    before, after = None, next(pairs)
    for frame in frames:
        later = next(pairs, None)
        ways = [] if before is None else [(-before.back, before.back_trust)]
        if after is not None:
            onward = after.onward if before or not later else _at_start(after, later)
            ways.append((onward, after.onward_trust))
        weights = np.stack([trust for _, trust in ways]) + FLOOR
        flow = sum(w[..., None] * way for w, (way, _) in zip(weights, ways, strict=True))
        yield (
            np.asarray(flow) / weights.sum(0)[..., None],
            _texture(frame, spatial * REACH) * np.max([trust for _, trust in ways], axis=0),
        )
        before, after = after, later


@dataclass(frozen=True, slots=True)
class _Pair:
    """Flow [h, w, 2] from a frame to the next and back, and trust [h, w] in either."""

    onward: np.ndarray
    onward_trust: np.ndarray
    back: np.ndarray
    back_trust: np.ndarray

    @classmethod
    def of(cls, one: np.ndarray, other: np.ndarray, estimator: FlowEstimator) -> "_Pair":
        onward, back = estimator(one, other), estimator(other, one)
        return cls(onward, _returns(onward, back), back, _returns(back, onward))


def _at_start(first: _Pair, second: _Pair) -> np.ndarray:
    """Velocity at the first frame, [h, w, 2], continued from the first two displacements.

    Half the change between the displacements is taken off the first (second order), as far as the
    second one is trusted: a body that is let go has not yet the speed of its first step.
    """
    followed = _follow(second.onward, first.onward)
    trust = _follow(second.onward_trust, first.onward)
    return first.onward + (first.onward - followed) * (trust / 2)[..., None]


def _returns(flow: np.ndarray, back: np.ndarray) -> np.ndarray:
    """Share in [0, 1], [h, w], to which the flow back from where one leads undoes it."""
    height, width = flow.shape[:2]
    x, y = _ends(flow)
    missed = np.square(flow + _follow(back, flow)).sum(-1)
    least, share = TOLERANCE
    bound = least + share * np.hypot(flow[..., 0], flow[..., 1])
    inside = (x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5)
    return inside / (1 + missed / bound**2)


def _ends(flow: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Columns and rows [h, w] to which a flow leads."""
    height, width = flow.shape[:2]
    x = np.arange(width, dtype=np.float32) + flow[..., 0]
    y = np.arange(height, dtype=np.float32)[:, None] + flow[..., 1]
    return x, y


def _follow(f: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """What a field [h, w, ...] is where a flow leads, at the pixels from which it leads there."""
    x, y = _ends(flow)
    return cv2.remap(f, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _texture(frame: np.ndarray, reach: float) -> np.ndarray:
    """Trust in [0, 1], [h, w], from the structure tensor's lesser eigenvalue.

    Args:
        frame: [h, w, 3] uint8.
        reach: standard deviation [px] of the surroundings that count.
    """
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    gx, gy = (cv2.Sobel(grey, cv2.CV_32F, *axis, ksize=3, scale=1 / 8) for axis in ((1, 0), (0, 1)))
    xx, xy, yy = (cv2.GaussianBlur(f, (0, 0), reach) for f in (gx * gx, gx * gy, gy * gy))
    least = np.maximum((xx + yy) / 2 - np.hypot((xx - yy) / 2, xy), 0)
    return least / (least + TEXTURE**2)


def _cells(f: np.ndarray, spatial: int) -> np.ndarray:
    """Means over cells: [h, w, ...] -> [h', w', ...]."""
    h, w, *rest = f.shape
    return f.reshape(h // spatial, spatial, w // spatial, spatial, *rest).mean((1, 3))


def _latent_frames(f: np.ndarray, temporal: int) -> np.ndarray:
    """Means over the frames of each latent frame: [c, t, h', w'] -> [c, t', h', w']."""
    c, t, h, w = f.shape
    rest = f[:, 1:].reshape(c, (t - 1) // temporal, temporal, h, w).mean(2)
    return np.concatenate([f[:, :1], rest], axis=1)
