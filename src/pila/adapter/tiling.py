"""Tiles: the adapter's local parts, computed piece by piece so that memory stays bounded.

Encoder, experts and decoder are local: a place of what they give answers to places within their
`reach`, and to nothing else. A tile is read with that margin around it and written
without it, so that tiles give what the whole gives, up to the rounding of another order of sums.
What is not local (the centring of pressure, the integral of displacement) is not tiled: fields
hold a few channels, and it is the hidden layers that take the memory.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor

from pila.errors import InputError

MIN_TILE = 8
"""Cells or frames along an axis; a tile of a border holds the four of a one-sided difference."""
ALIGNMENT = 2
"""Tiles begin at even cells: motion cues are read at half resolution, too."""

Reach = tuple[int, int]
"""Frames and cells to each side that a place answers to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiling:
    """Largest extents of a tile without its margin; None leaves an axis whole."""

    frames: int | None = None
    height: int | None = None
    width: int | None = None

    def __post_init__(self) -> None:
        for name in ("frames", "height", "width"):
            value = getattr(self, name)
            if value is not None and value < MIN_TILE:
                raise InputError(
                    f"a tile's {name} is {value}; it must be at least {MIN_TILE}, or None for all"
                )

    def map(self, local: Callable[..., Any], *grids: Tensor, reach: Reach) -> Any:
        """`local` of the grids, tile by tile.

        Args:
            local: takes as many grids, each cut to a tile and its margin, and gives a tensor of
                the same places, or a tuple of tensors and Nones.
            grids: tensors [b, ..., t, h, w] over the same places.
            reach: frames and cells to each side that a place of the result answers to.

        Returns:
            What `local` of the whole grids would give.
        """
        extents = tuple(grids[0].shape[-3:])
        most = (self.frames, self.height, self.width)
        margins = (reach[0], reach[1], reach[1])
        axes = [list(_spans(*axis)) for axis in zip(extents, most, margins, strict=True)]
        if all(len(spans) == 1 for spans in axes):
            return local(*grids)
        wholes: list[Tensor | None] = []
        given: Any = None
        for spans in product(*axes):
            read = tuple(span.read for span in spans)
            write = tuple(span.write for span in spans)
            inside = tuple(span.inside for span in spans)
            given = local(*(grid[(..., *read)] for grid in grids))
            parts = given if isinstance(given, tuple) else (given,)
            wholes = wholes or [None if x is None else _empty_as(x, extents) for x in parts]
            for whole, part in zip(wholes, parts, strict=True):
                if whole is not None:
                    whole[(..., *write)] = part[(..., *inside)]
        return tuple(wholes) if isinstance(given, tuple) else wholes[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Span:
    """One tile along one axis: what is read, what is written, and where that lies in the former."""

    read: slice
    write: slice
    inside: slice


def _spans(extent: int, most: int | None, margin: int) -> Iterator[_Span]:
    """Tiles of nearly equal size along an axis; one where all of it fits."""
    count = 1 if most is None else -(-extent // most)
    # Rounded down to even starts; the last tile takes what is left.
    starts = [extent * i // count // ALIGNMENT * ALIGNMENT for i in range(count)]
    for start, stop in zip(starts, [*starts[1:], extent], strict=True):
        first = max(0, start - margin) // ALIGNMENT * ALIGNMENT
        last = min(extent, -(-(stop + margin) // ALIGNMENT) * ALIGNMENT)
        yield _Span(
            read=slice(first, last),
            write=slice(start, stop),
            inside=slice(start - first, stop - first),
        )


def _empty_as(part: Tensor, extents: tuple[int, ...]) -> Tensor:
    """Room for the whole [..., t, h, w], channels-last in memory as the layers want it."""
    lead = part.shape[:-3]
    room = torch.empty(lead[0], *extents, *lead[1:], dtype=part.dtype, device=part.device)
    return room.movedim((1, 2, 3), (-3, -2, -1))
