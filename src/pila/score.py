"""`pila score`: a physics report for any video file, generated or filmed, without a generator.

A video is seen through windows of the model's own size and rate, one after the other with half of
each shared; every window is encoded, read by the adapter's bank and held against the relations.
"""

import html
import json
import os
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tyro.conf import Positional

from pila.errors import InputError
from pila.physics.layout import Category
from pila.progress import only_own_progress, progress_bar
from pila.request import ParserName

INNER = slice(1, -1)
"""Latent frames but the first and the last, where relations rest on one-sided differences."""
SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".gif")
STEM_BYTES = 200
"""Of a video's name in that of its picture: names have at most 255 bytes, and while a picture is
written its name is longer by a process's number."""
NOTE = (
    "Scores are relative residuals of field proxies in latent units: 0 balances, about 1 does "
    "not. Change says how steadily the picture changes, whatever it shows. Both compare clips of "
    "like content; they measure no physical quantity, and how well they tell true from broken "
    "motion was measured on a simulated world alone."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRequest:
    """Report how well videos agree with physical relations, by category, over time and place.

    No generator runs and nothing is judged by a language model: a VAE, an adapter's encoder and
    bank, and the relations.
    """

    videos: Positional[tuple[Path, ...]]
    """Video files, or folders of them."""
    model: str = "embedded"
    """Whose VAE and text encoder are used: embedded, a folder, or a hub id."""
    adapter: str = "embedded"
    """The adapter whose bank is read; it belongs to that model."""
    caption: str = ""
    """What the videos show. Its categories are the ones that count; without it all eight are."""
    labels: str | None = None
    """Categories that count, separated by commas, in place of the caption's."""
    parser: ParserName = "auto"
    """Who finds the caption's categories, as in pila label."""
    pictures: Path | None = None
    """Folder for a picture of each video: where and when the relations break."""
    html: Path | None = None
    """One page with all reports and their pictures; it opens from a file with no network."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps ..."""
    json: bool = False
    """Print one JSON object instead of text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryReport:
    """One category of one video.

    Attributes:
        score: mean relative residual.
        among_true: share of the simulated world's true clips that score lower, 0 to 1; None
            without a calibration of this adapter.
        worth: area under the ROC curve on the simulated world, with its interval; None likewise.
        near_chance: whether that area says that the score tells nothing.
        terms: each relation's own score.
        worst: seconds into the video at which the category's relations break most, its two ends
            left out: derivatives are one-sided there, and the first latent frame holds one picture
            alone, so that true clips are at their worst there, too.
    """

    score: float
    among_true: float | None
    worth: list[float] | None
    near_chance: bool | None
    terms: dict[str, float]
    worst: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeReport:
    """How steadily one video changes, whatever it shows.

    Attributes:
        measures: drift, unevenness and jerkiness (`pila.evaluate.steadiness`), means over windows.
        score: their weighted sum, the log odds of broken against true clips of the simulated
            world; None without a calibration of this VAE, as the next three.
        among_true: share of true clips that score lower, 0 to 1.
        worth: area under the ROC curve in scenes that the weights had not seen, with its interval.
        near_chance: whether that area says that the score tells nothing.
    """

    measures: dict[str, float]
    score: float | None = None
    among_true: float | None = None
    worth: list[float] | None = None
    near_chance: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoReport:
    """One video.

    Attributes:
        file: its path.
        seconds: of it that were seen.
        windows: of the model's length.
        labels: categories that count; empty for all.
        overall: mean score of those that count, without the ones near chance if others are left.
        categories: all eight.
        change: how steadily it changes; None of a video that is still, or of short windows.
        times: seconds of each value in `by_frame`.
        by_frame: by category, the score over time.
    """

    file: str
    seconds: float
    windows: int
    labels: list[str]
    overall: float
    categories: dict[str, CategoryReport]
    change: ChangeReport | None
    times: list[float]
    by_frame: dict[str, list[float]]


@dataclass(slots=True, kw_only=True)
class _Seen:
    """A video's windows, joined in time."""

    fps: float
    terms: list[dict[str, dict[str, float]]] = field(default_factory=list)
    changes: list[dict[str, float]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    by_frame: dict[str, list[float]] = field(default_factory=dict)
    worst: tuple[float, np.ndarray, np.ndarray] | None = None


def score(request: ScoreRequest) -> dict[str, Any]:
    """Score every video; what cannot be read is listed with its reason.

    Returns:
        `reports` (one `VideoReport` each), `failed` (name to reason), `note`, `adapter`, `model`.

    Raises:
        InputError: no video at all, or a model or adapter that cannot be used.
    """
    files = find_videos(request.videos)
    labels = _labels(request)
    import torch

    from pila.backbones.embedded import find_adapter, find_device, find_model
    from pila.data.records import ClipError, View
    from pila.evaluate.plausibility import load_scorer
    from pila.evaluate.score_worth import read_calibration
    from pila.plan import model_sampling
    from pila.provenance import weights_hash

    only_own_progress()
    folder = find_model(request.model)
    own = model_sampling(folder)
    sizes = {name: own[name] for name in ("height", "width", "num_frames", "fps")}
    view = View(**sizes)
    place = find_adapter(request.adapter)
    identity = None if place is None else weights_hash(place)
    calibration = read_calibration()
    known = calibration.get("categories", {}) if calibration.get("adapter") == identity else {}
    # The steadiness of change is read off the latents, so it is the VAE's and no adapter's.
    same_vae = bool(calibration) and calibration["vae"] == weights_hash(folder / "vae")
    steady = calibration["change"] if same_vae else None
    scorer = load_scorer(request.adapter, request.model, device=find_device(request.device))
    reports: list[VideoReport] = []
    failed: dict[str, str] = {}
    drawn: dict[str, Path] = {}
    pages = request.pictures or (
        request.html and request.html.parent / f"{request.html.stem}-files"
    )
    with torch.inference_mode(), progress_bar(files, unit="video") as bar:
        for path in bar:
            try:
                seen = _Seen(fps=view.fps)
                for frames, start in windows(path, view):
                    _take(seen, scorer, frames, start, request.caption, labels)
            except ClipError as error:
                failed[str(path)] = str(error)
                continue
            reports.append(_report(path, seen, labels, known, steady))
            if pages and seen.worst is not None:
                from pila.diagnose.score_picture import draw

                picture = pages / picture_name(len(drawn), path)
                drawn[str(path)] = draw(reports[-1], seen.worst, picture)
    results = {
        "reports": reports,
        "failed": failed,
        "note": NOTE,
        "adapter": identity,
        "model": request.model,
        "calibrated": bool(known),
        "pictures": {name: str(p) for name, p in drawn.items()},
    }
    if request.html is not None:
        from pila.video import written_whole

        with written_whole(request.html) as part:
            part.write_text(page(results), encoding="utf-8")
    return results


def picture_name(number: int, video: Path) -> str:
    """The name of a video's picture, which file systems take however long the video's own is."""
    stem = video.stem
    if len(os.fsencode(stem)) > STEM_BYTES:
        # Cut in bytes, as file systems count; half a letter at the end is left out.
        stem = os.fsencode(stem)[:STEM_BYTES].decode(errors="ignore")
    return f"{number:03d}-{stem}.png"


def find_videos(places: Sequence[Path]) -> list[Path]:
    """The files that are named, and those in folders that are, sorted; no file twice.

    Raises:
        InputError: a path that is not there, or no video at all.
    """
    found: dict[Path, None] = {}
    for place in places:
        path = place.expanduser()
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES)
            found |= dict.fromkeys(inside)
        elif path.is_file():
            found[path] = None
        else:
            raise InputError(f"there is no video {place}; pass files, or folders of them")
    if not found:
        raise InputError(
            f"no video in {', '.join(map(str, places))}; files end with {', '.join(SUFFIXES)}"
        )
    return list(found)


def windows(path: Path, view: Any) -> Iterator[tuple[np.ndarray, float]]:
    """Windows [t, h, w, 3] uint8 of a video in a view, half of each shared, with their start.

    The last one ends with the video. Yields frames and seconds.

    Raises:
        ClipError: the file is empty, damaged, too slow, or shorter than one window.
    """
    from pila.data.reading import read_frames
    from pila.data.records import ClipError, VideoRecord

    count, step = view.num_frames, view.num_frames // 2
    record = VideoRecord(name=path.name, caption="", categories=(), path=path)
    held: deque[np.ndarray] = deque(maxlen=count)
    seen, given = 0, 0
    for frame in read_frames(record, view):
        held.append(frame)
        seen += 1
        if seen >= count and (seen - count) % step == 0:
            yield np.stack(held), (seen - count) / view.fps
            given = seen
    if seen < count:
        raise ClipError(f"too short: {seen} frames at {view.fps:g} per second, {count} are needed")
    if given < seen:
        yield np.stack(held), (seen - count) / view.fps


def page(results: dict[str, Any]) -> str:
    """All reports as one HTML page, pictures within."""
    import base64

    rows = []
    for report in results["reports"]:
        cells = "".join(
            f"<tr><td>{html.escape(name.replace('_', ' '))}</td><td>{c.score:.3f}</td>"
            f"<td>{'' if c.among_true is None else f'{100 * c.among_true:.0f} %'}</td>"
            f"<td>{_worth(c)}</td><td>{c.worst:.2f} s</td></tr>"
            for name, c in report.categories.items()
        )
        picture = results["pictures"].get(report.file)
        shown = ""
        if picture:
            data = base64.b64encode(Path(picture).read_bytes()).decode()
            shown = f'<img alt="residuals over time and place" src="data:image/png;base64,{data}">'
        steady = f"<p>{html.escape(_said(report.change))}</p>" if report.change else ""
        rows.append(
            f"<section><h2>{html.escape(report.file)}</h2><p>overall {report.overall:.3f}, "
            f"{report.seconds:.1f} s, {html.escape(', '.join(report.labels) or 'all categories')}"
            f"</p>{steady}<table><tr><th>category</th><th>score</th><th>above true clips</th>"
            f"<th>worth (AUC, simulated)</th><th>worst at</th></tr>{cells}</table>{shown}</section>"
        )
    failed = "".join(
        f"<li>{html.escape(name)}: {html.escape(why)}</li>"
        for name, why in results["failed"].items()
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>pila score</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><style>'
        "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
        "table{border-collapse:collapse}td,th{padding:.2rem .8rem;text-align:left;"
        "border-bottom:1px solid #ccc}img{max-width:100%}</style><h1>Physics report</h1>"
        f"<p>{html.escape(results['note'])}</p>{''.join(rows)}"
        + (f"<h2>Not scored</h2><ul>{failed}</ul>" if failed else "")
        + "</html>\n"
    )


def as_json(results: dict[str, Any]) -> str:
    """The results as one JSON object."""
    from dataclasses import asdict

    return json.dumps(results | {"reports": [asdict(r) for r in results["reports"]]})


def _labels(request: ScoreRequest) -> tuple[Category, ...]:
    from pila.plan import check_labels

    if request.labels is not None:
        return check_labels(request.labels)
    if not request.caption:
        return ()
    from pila.labels.parser import make_parser

    return tuple(make_parser(request.parser)(request.caption).categories)


def _take(
    seen: _Seen,
    scorer: Any,
    frames: np.ndarray,
    start: float,
    caption: str,
    labels: Sequence[Category],
) -> None:
    """Score one window; of what two windows share, each gives the half farther from its end."""
    found = scorer.frames(frames, caption=caption, labels=labels)
    seen.terms.append(found.terms)
    if found.change is not None:
        seen.changes.append(found.change)
    count = len(next(iter(found.by_frame.values())))
    # Latent frame 0 holds frame 0 alone, latent frame i the frames 4 i - 3 .. 4 i.
    times = [start + 4 * i / seen.fps for i in range(count)]
    middle = (seen.times[-1] + start) / 2 if seen.times else -1.0
    kept = sum(time <= middle for time in seen.times)
    new = [i for i, time in enumerate(times) if time > middle]
    seen.times[kept:] = [times[i] for i in new]
    for name, values in found.by_frame.items():
        seen.by_frame.setdefault(name, [])[kept:] = values[new].tolist()
    counted = [str(c) for c in labels] or list(found.maps)
    mean = np.mean([found.maps[name] for name in counted], axis=0)
    if seen.worst is None or mean[INNER].max() > seen.worst[1][INNER].max():
        seen.worst = (start, mean, frames)


def _report(
    path: Path,
    seen: _Seen,
    labels: Sequence[Category],
    known: dict[str, Any],
    steady: dict[str, Any] | None,
) -> VideoReport:
    """One video's report, from calibrations of the categories and of the steadiness of change."""
    categories: dict[str, CategoryReport] = {}
    for category in map(str, Category):
        names = seen.terms[0][category]
        terms = {n: float(np.mean([t[category][n] for t in seen.terms])) for n in names}
        value = float(np.mean(list(terms.values())))
        about = known.get(category)
        categories[category] = CategoryReport(
            score=value,
            among_true=_among(value, about) if about else None,
            worth=about["area"] if about else None,
            near_chance=about["near_chance"] if about else None,
            terms=terms,
            worst=seen.times[INNER][int(np.argmax(seen.by_frame[category][INNER]))],
        )
    counted = [str(c) for c in labels] or list(categories)
    telling = [name for name in counted if not categories[name].near_chance] or counted
    return VideoReport(
        file=str(path),
        seconds=seen.times[-1] + 1 / seen.fps,
        windows=len(seen.terms),
        labels=[str(c) for c in labels],
        overall=float(np.mean([categories[name].score for name in telling])),
        categories=categories,
        change=_change(seen.changes, steady),
        times=[round(t, 4) for t in seen.times],
        by_frame=seen.by_frame,
    )


def _change(
    changes: Sequence[dict[str, float]], about: dict[str, Any] | None
) -> ChangeReport | None:
    if not changes:
        return None
    measures = {name: float(np.mean([c[name] for c in changes])) for name in changes[0]}
    if about is None:
        return ChangeReport(measures=measures)
    from pila.evaluate.steadiness import Weighing

    value = float(np.mean([Weighing(**about["weighing"])(change) for change in changes]))
    return ChangeReport(
        measures=measures,
        score=value,
        among_true=_among(value, about),
        worth=about["area"],
        near_chance=about["near_chance"],
    )


def _among(value: float, about: dict[str, Any]) -> float:
    """Share of true clips below a score: between the quantiles that are kept, linearly."""
    from pila.evaluate.score_worth import QUANTILES

    return float(np.interp(value, about["true_quantiles"], QUANTILES, 0.0, 1.0))


def _worth(report: CategoryReport | ChangeReport) -> str:
    if report.worth is None:
        return "not measured"
    value, low, high = report.worth
    chance = ", near chance" if report.near_chance else ""
    return f"{value:.2f} [{low:.2f}, {high:.2f}]{chance}"


def _said(change: ChangeReport) -> str:
    """How steadily a video changes, as a line."""
    parts = [f"change       {'' if change.score is None else f'{change.score:+.2f}'}"]
    if change.among_true is not None:
        parts.append(f"above {100 * change.among_true:3.0f} % of true")
    parts += [f"{name} {value:.2f}" for name, value in change.measures.items()]
    return "  ".join([*parts, f"worth {_worth(change)}"])


def text(results: dict[str, Any]) -> str:
    """The reports as people read them on a terminal."""
    lines = []
    for report in results["reports"]:
        lines.append(f"{report.file}  overall {report.overall:.3f}  {report.seconds:.1f} s")
        for name, c in report.categories.items():
            mark = "*" if name in report.labels else " "
            among = "" if c.among_true is None else f"  above {100 * c.among_true:3.0f} % of true"
            lines.append(
                f" {mark} {name:<13}{c.score:.3f}{among}  worst at {c.worst:5.2f} s"
                f"  worth {_worth(c)}"
            )
        if report.change is not None:
            lines.append(f" = {_said(report.change)}")
    lines += [f"not scored: {name}: {why}" for name, why in results["failed"].items()]
    lines += [f"picture: {p}" for p in results["pictures"].values()]
    return "\n".join([*lines, results["note"]])
