"""What the adapter did in one generation, drawn from its `Recorder`.

Pictures are read on telephones, too: a figure is `WIDTH` inches wide and its letters have at least
`SMALL` points, so that they are 9 pixels high where the picture is 390 pixels wide.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pila.files import atomic_write
from pila.generate.recorder import Recorder
from pila.physics.bank import Category, Slot, readout

LABELLED, ROUTED = "#b34700", "#5b6b80"
AMOUNT = "cividis"
"""Colours of amounts, told apart with any colour vision."""
WIDTH, DPI = 5.0, 200
SMALL, PLAIN = 8.5, 9.5
"""Points of letters: beside maps and axes, and of titles."""
COLUMNS = 5
"""Frames of a map over time that are drawn, at most."""
LEFT, RIGHT, SPACE, HEAD, FOOT = 1.1, 0.85, 0.06, 0.34, 0.24
"""Inches left and right of a grid of maps, between them, above and below."""


def draw(recorder: Recorder, folder: Path, *, labels: Sequence[str]) -> list[Path]:
    """Write the pictures that the record allows and return their paths.

    `routing.png` (weights), `bank.png` (each slot over time), `correction.png` (by step and
    frame), `where.png` (in the picture); of a ProPhy branch `tokens.png` (where its token router
    sees each category) and `semantic.png` (weights of its semantic experts by step).

    Raises:
        InputError: the folder cannot be written.
    """
    return [
        _save(figure, folder / f"{name}.png")
        for name, figure in figures(recorder, labels=labels).items()
    ]


def figures(recorder: Recorder, *, labels: Sequence[str]) -> dict[str, Any]:
    """The matplotlib figures that the record allows, by name; see `draw`."""
    from matplotlib import rc_context

    found: dict[str, Any] = {}
    with rc_context({"font.size": SMALL, "axes.titlesize": PLAIN}):
        if recorder.weights:
            found["routing"] = _routing(recorder, labels)
        if recorder.refined is not None:
            found["bank"] = _bank(recorder.refined)
        if recorder.frame_rms:
            found["correction"] = _correction(recorder)
            found["where"] = _where(recorder.where)
        if any(p.told is not None for p in recorder.passes):
            found["tokens"] = _tokens(recorder.passes, labels)
        if any(p.semantic is not None for p in recorder.passes):
            found["semantic"] = _semantic(recorder.passes)
    return found


def draw_strip(clips: Mapping[str, np.ndarray], path: Path) -> Path:
    """Write one row of frames for each named clip [t, h, w, 3] uint8, the first and the last too.

    Raises:
        InputError: the file cannot be written.
    """
    return _save(strip(clips), path)


def strip(clips: Mapping[str, np.ndarray]) -> Any:
    """The figure that `draw_strip` writes."""
    times = _columns(len(next(iter(clips.values()))))
    height, width = next(iter(clips.values())).shape[1:3]
    names = [name.replace(" + ", " +\n") for name in clips]
    longest = max(len(line) for name in names for line in name.split("\n"))
    left = 0.2 + 0.085 * longest  # inches; a letter's width, and some room
    maps = _Maps(len(clips), times, "frame", shape=(height, width), left=left, right=0.08)
    for row, (name, frames) in enumerate(zip(names, clips.values(), strict=True)):
        maps.name(row, name)
        for column, index in enumerate(times):
            maps.axes(row, column).imshow(frames[index], aspect="auto")
    return maps.figure


def _routing(recorder: Recorder, labels: Sequence[str]) -> Any:
    figure, axis = _figure(3)
    weights = recorder.routing
    colours = [LABELLED if name in labels else ROUTED for name in weights]
    bars = axis.barh([_words(n) for n in weights], list(weights.values()), color=colours)
    axis.bar_label(bars, fmt="%.2f", padding=3, fontsize=SMALL)
    axis.invert_yaxis()
    axis.set_xlim(0, max(0.05, *weights.values()) * 1.15)
    axis.set_xlabel("routing weight, mean over the corrected steps")
    axis.set_title("Experts" + (" (the prompt's categories: orange)" if labels else ""))
    return figure


def _bank(bank: torch.Tensor) -> Any:
    times = _columns(bank.shape[2])
    title = "Field bank after the experts, last corrected step"
    maps = _Maps(len(Slot), times, "t =", shape=bank.shape[-2:], title=title)
    for row, slot in enumerate(Slot):
        field = readout(slot, bank[:, slot.channels])[0]  # canonical [c, t, h, w]
        # Scalars keep their sign; of vectors and tensors the magnitude is drawn.
        values = (field[0] if field.shape[0] == 1 else field.norm(dim=0)).numpy()
        maps.name(row, slot)
        maps.row(row, values, float(values.min()), float(values.max()))
    return maps.figure


class _Maps:
    """Rows of small maps over time on one figure, with words around them; measures are inches.

    Places are given outright: what lays figures out by itself cut long names off.
    """

    def __init__(
        self,
        rows: int,
        times: Sequence[int],
        unit: str,
        *,
        shape: Sequence[int],
        title: str = "",
        left: float = LEFT,
        right: float = RIGHT,
    ) -> None:
        from matplotlib.figure import Figure

        self._times, self._left = times, left
        # A clip of few frames gets no larger cells than others.
        self._width = (WIDTH - left - right - SPACE * (COLUMNS - 1)) / COLUMNS
        self._height = self._width * shape[0] / shape[1]
        self._head = HEAD if title else SPACE
        below = self._head + rows * self._height + (rows - 1) * SPACE
        self._size = below + FOOT
        self.figure = Figure(figsize=(WIDTH, self._size))
        if title:
            self._text(WIDTH / 2, HEAD / 2, title, size=PLAIN)
        for column, t in enumerate(times):
            self._text(self._x(column) + self._width / 2, below + FOOT / 2, f"{unit} {t}")

    def _x(self, column: int) -> float:
        return self._left + column * (self._width + SPACE)

    def _y(self, row: int) -> float:
        return self._head + row * (self._height + SPACE)

    def axes(self, row: int, column: int) -> Any:
        """Empty axes at one place."""
        below = self._size - self._y(row) - self._height
        box = (
            self._x(column) / WIDTH,
            below / self._size,
            self._width / WIDTH,
            self._height / self._size,
        )
        return self.figure.add_axes(box, xticks=[], yticks=[], frame_on=False)

    def row(self, row: int, values: np.ndarray, low: float, high: float) -> None:
        """Maps [t, h, w] in one scale of colours, which is said behind them."""
        for column, t in enumerate(self._times):
            # A flat map has no range of its own.
            end = high if high > low else low + 1
            self.axes(row, column).imshow(values[t], vmin=low, vmax=end, cmap=AMOUNT, aspect="auto")
        x = self._x(len(self._times) - 1) + self._width + SPACE
        said = f"{low:.2g}\nto {high:.2g}"
        self._text(x, self._y(row) + self._height / 2, said, side="left")

    def name(self, row: int, name: str, *, colour: str = "black") -> None:
        """Words left of a row."""
        x = self._left - SPACE
        self._text(x, self._y(row) + self._height / 2, _words(name), side="right", colour=colour)

    def _text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        side: str = "center",
        size: float = SMALL,
        colour: str = "black",
    ) -> None:
        place = (x / WIDTH, 1 - y / self._size)
        self.figure.text(*place, text, ha=side, va="center", fontsize=size, color=colour)


def _correction(recorder: Recorder) -> Any:
    figure, (heat, line) = _figure(4.6, rows=2)
    by_frame = np.stack(recorder.frame_rms)  # [steps, t]
    first, last = recorder.steps[0], recorder.steps[-1]
    extent = (first - 0.5, last + 0.5, -0.5, by_frame.shape[1] - 0.5)
    picture = heat.imshow(by_frame.T, aspect="auto", origin="lower", extent=extent, cmap=AMOUNT)
    figure.colorbar(picture, ax=heat, label="RMS of the correction")
    heat.set_ylabel("latent frame")
    heat.set_title("Where the correction acts, by step and frame")
    size = np.sqrt(np.mean(by_frame**2, axis=1))
    line.plot(recorder.steps, size, marker="o", markersize=3, color=ROUTED)
    line.set_ylabel("RMS of the correction")
    line.set_xlabel("denoising step (noise to clean)")
    line.set_ylim(bottom=0)
    # In one scale with the gate, which is about 1, the correction would lie on the axis.
    gate = line.twinx()
    gate.plot(recorder.steps, recorder.gates, linestyle="--", color=LABELLED)
    gate.set_ylabel("gate g(σ), dashed", color=LABELLED)
    gate.set_ylim(0, max(1.05, *recorder.gates))
    for axis in (heat, line):
        axis.xaxis.get_major_locator().set_params(integer=True)
    return figure


def _where(where: np.ndarray) -> Any:
    title = "Where the correction acts (RMS over all steps)"
    maps = _Maps(1, _columns(len(where)), "t =", shape=where.shape[1:], title=title, left=0.08)
    maps.row(0, where, 0.0, float(where.max()))
    return maps.figure


def _tokens(passes: Sequence[Any], labels: Sequence[str]) -> Any:
    # Of a batch the first clip; the second half of the passes, where there is a clip to be seen.
    late = passes[len(passes) // 2 :]
    fields = torch.stack([p.token_maps[0] for p in late]).mean(0).numpy()  # [8, t, h, w]
    title = "Where ProPhy's token router sees each category"
    times = _columns(fields.shape[1])
    maps = _Maps(len(Category), times, "t =", shape=fields.shape[2:], title=title)
    for row, (category, field) in enumerate(zip(Category, fields, strict=True)):
        maps.name(row, category, colour=LABELLED if category in labels else "black")
        maps.row(row, field, 0.0, max(1.0, float(fields.max())))
    return maps.figure


def _semantic(passes: Sequence[Any]) -> Any:
    weights = np.stack([p.semantic[0].numpy() for p in passes])  # [passes, experts]
    figure, axis = _figure(3)
    picture = axis.imshow(weights.T, aspect="auto", origin="lower", cmap=AMOUNT, vmin=0)
    figure.colorbar(picture, ax=axis, label="weight")
    axis.set_xlabel("pass through the denoiser (with guidance two a step)")
    axis.set_ylabel("semantic expert")
    return figure


def _columns(count: int) -> list[int]:
    picks = np.linspace(0, count - 1, min(count, COLUMNS)).round().astype(int)
    return [int(t) for t in picks]


def _words(name: str) -> str:
    return str(name).replace("_", " ")


def _figure(height: float, *, rows: int = 1) -> tuple[Any, Any]:
    # The object interface draws without a display, and leaves pyplot's global state alone.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, figure.subplots(rows, 1)


def _save(figure: Any, path: Path) -> Path:
    with atomic_write(path) as part:
        figure.savefig(part, format="png", dpi=DPI)
    return path
