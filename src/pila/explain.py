"""What the adapter did in one generation, drawn from its `Recorder`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pila.diagnose.recorder import Recorder
from pila.physics.bank import Category, Slot, readout
from pila.video import written_whole

LABELLED, ROUTED = "#c2410c", "#64748b"
MAX_COLUMNS = 9


def draw(recorder: Recorder, folder: Path, *, labels: Sequence[str]) -> list[Path]:
    """Write the pictures that the record allows and return their paths.

    `routing.png` (weights), `bank.png` (each slot over time), `correction.png` (by step and
    frame), `where.png` (in the picture); of a ProPhy branch `tokens.png` (where its token router
    sees each category) and `semantic.png` (weights of its semantic experts by step).

    Raises:
        InputError: the folder cannot be written.
    """
    drawn = []
    if recorder.weights:
        drawn.append(_save(_routing(recorder, labels), folder / "routing.png"))
    if recorder.refined is not None:
        drawn.append(_save(_bank(recorder.refined), folder / "bank.png"))
    if recorder.frame_rms:
        drawn.append(_save(_correction(recorder), folder / "correction.png"))
        drawn.append(_save(_where(recorder.where), folder / "where.png"))
    if any(p.told is not None for p in recorder.passes):
        drawn.append(_save(_tokens(recorder.passes, labels), folder / "tokens.png"))
    if any(p.semantic is not None for p in recorder.passes):
        drawn.append(_save(_semantic(recorder.passes), folder / "semantic.png"))
    return drawn


def draw_strip(clips: dict[str, np.ndarray], path: Path, *, count: int = 6) -> Path:
    """Write one row of `count` frames for each named clip [t, h, w, 3] uint8.

    Raises:
        InputError: the file cannot be written.
    """
    figure, axes = _grid(len(clips), count, cell=1.3)
    for row, (name, frames) in zip(axes, clips.items(), strict=True):
        picks = np.linspace(0, len(frames) - 1, count).round().astype(int)
        for axis, index in zip(row, picks, strict=True):
            axis.imshow(frames[index])
        row[0].set_ylabel(name)
    for axis, index in zip(axes[-1], picks, strict=True):
        axis.set_xlabel(f"frame {index}", fontsize=7)
    return _save(figure, path)


def _routing(recorder: Recorder, labels: Sequence[str]) -> Any:
    figure, axis = _figure(6, 3)
    weights = recorder.routing
    colours = [LABELLED if name in labels else ROUTED for name in weights]
    bars = axis.barh(list(weights), list(weights.values()), color=colours)
    axis.bar_label(bars, fmt="%.2f", padding=3, fontsize=8)
    axis.invert_yaxis()
    axis.set_xlim(0, max(0.05, *weights.values()) * 1.15)
    axis.set_xlabel("routing weight, mean over the corrected steps")
    axis.set_title("Experts" + (" (named by the prompt: orange)" if labels else ""), fontsize=10)
    return figure


def _bank(bank: torch.Tensor) -> Any:
    times = _columns(bank.shape[2])
    # One picture a row rather than one a cell: ninety axes take seconds to draw.
    figure, axes = _grid(len(Slot), 1, cell=0.9, columns_per_axis=len(times))
    for (axis,), slot in zip(axes, Slot, strict=True):
        field = readout(slot, bank[:, slot.channels])[0]  # canonical [c, t, h, w]
        # Scalars keep their sign; of vectors and tensors the magnitude is drawn.
        values = (field[0] if field.shape[0] == 1 else field.norm(dim=0)).numpy()
        low, high = values.min(), values.max()
        axis.imshow(_row(values[times]), vmin=low, vmax=high, cmap="viridis")
        axis.set_frame_on(False)
        axis.set_ylabel(slot, rotation=0, ha="right", va="center", fontsize=8)
        axis.text(
            1.01,
            0.5,
            f"{low:.2g}\nto {high:.2g}",
            transform=axis.transAxes,
            va="center",
            fontsize=6,
        )
    width = bank.shape[-1]
    axes[-1][0].set_xticks(
        [i * (width + _gap(width)) + width / 2 - 0.5 for i in range(len(times))],
        [f"t = {t}" for t in times],
        fontsize=7,
    )
    axes[-1][0].tick_params(length=0)
    figure.suptitle(
        "Bank after the experts, last corrected step (proxies, latent units)", fontsize=9
    )
    return figure


def _row(maps: np.ndarray) -> np.ndarray:
    """Maps [n, h, w] beside each other, [h, n w + (n - 1) gap]; the gaps, NaN, are not drawn."""
    gap = _gap(maps.shape[2])
    apart = np.pad(maps.astype(float), ((0, 0), (0, 0), (0, gap)), constant_values=np.nan)
    return np.concatenate(list(apart), axis=1)[:, :-gap]


def _gap(width: int) -> int:
    """Cells between maps of so many."""
    return max(1, width // 12)


def _correction(recorder: Recorder) -> Any:
    figure, (heat, line) = _figure(7, 4.5, rows=2)
    by_frame = np.stack(recorder.frame_rms)  # [steps, t]
    first, last = recorder.steps[0], recorder.steps[-1]
    extent = (first - 0.5, last + 0.5, -0.5, by_frame.shape[1] - 0.5)
    picture = heat.imshow(by_frame.T, aspect="auto", origin="lower", extent=extent, cmap="magma")
    figure.colorbar(picture, ax=heat, label="RMS of the correction")
    heat.set_ylabel("latent frame")
    heat.set_title("Where the correction acts, by step and frame", fontsize=10)
    line.plot(recorder.steps, np.sqrt(np.mean(by_frame**2, axis=1)), marker=".", label="correction")
    line.plot(recorder.steps, recorder.gates, linestyle="--", label="gate g(sigma)")
    line.set_xlabel("denoising step (noise to clean)")
    line.set_ylim(bottom=0)
    line.legend(fontsize=8)
    return figure


def _where(where: np.ndarray) -> Any:
    times = _columns(where.shape[0])
    figure, axes = _grid(1, len(times), cell=1.2)
    for axis, t in zip(axes[0], times, strict=True):
        axis.imshow(where[t], vmin=0, vmax=where.max() or 1, cmap="magma")
        axis.set_xlabel(f"t = {t}", fontsize=7)
    figure.suptitle("Where the correction acts in the picture, over all steps", fontsize=9)
    return figure


def _tokens(passes: Sequence[Any], labels: Sequence[str]) -> Any:
    # Of a batch the first clip; the second half of the passes, where there is a clip to be seen.
    late = passes[len(passes) // 2 :]
    maps = torch.stack([p.token_maps[0] for p in late]).mean(0).numpy()  # [8, t, h, w]
    times = _columns(maps.shape[1])
    figure, axes = _grid(len(Category), len(times), cell=0.9)
    for row, category, field in zip(axes, Category, maps, strict=True):
        for axis, t in zip(row, times, strict=True):
            axis.imshow(field[t], vmin=0, vmax=max(1.0, maps.max()), cmap="magma")
        colour = LABELLED if category in labels else "black"
        row[0].set_ylabel(category, rotation=0, ha="right", va="center", fontsize=8, color=colour)
    for axis, t in zip(axes[-1], times, strict=True):
        axis.set_xlabel(f"t = {t}", fontsize=7)
    figure.suptitle("Where ProPhy's token router sees each category (later passes)", fontsize=9)
    return figure


def _semantic(passes: Sequence[Any]) -> Any:
    weights = np.stack([p.semantic[0].numpy() for p in passes])  # [passes, experts]
    figure, axis = _figure(6, 3)
    picture = axis.imshow(weights.T, aspect="auto", origin="lower", cmap="magma", vmin=0)
    figure.colorbar(picture, ax=axis, label="weight")
    axis.set_xlabel("pass through the denoiser (with guidance two a step)")
    axis.set_ylabel("semantic expert")
    return figure


def _columns(count: int) -> list[int]:
    picks = np.linspace(0, count - 1, min(count, MAX_COLUMNS)).round().astype(int)
    return [int(t) for t in picks]


def _figure(width: float, height: float, *, rows: int = 1) -> tuple[Any, Any]:
    # The object interface draws without a display, and leaves pyplot's global state alone.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, 1)


def _grid(rows: int, columns: int, *, cell: float, columns_per_axis: int = 1) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    size = (columns * columns_per_axis * cell + 1.4, rows * cell + 0.5)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
    return figure, axes


def _save(figure: Any, path: Path) -> Path:
    with written_whole(path) as part:
        figure.savefig(part, format="png", dpi=130)
    return path
