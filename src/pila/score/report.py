"""`pila score`: a physics report for any video file, generated or filmed, without a generator.

A video is seen through windows of the model's own size, rate and length, one after the other with
half of each shared; every window in which something moves is encoded, read by the adapter's bank
and held against the relations. What is shorter or slower is seen as well as it goes, and that is
said.
"""

import os
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from tyro.conf import Positional

from pila.errors import InputError
from pila.generate.request import ParserName
from pila.physics.layout import Category
from pila.progress import only_own_progress, progress_bar
from pila.score.records import CategoryReport, ChangeReport, VideoReport

INNER = slice(1, -1)
"""Latent frames but the first and the last, where relations rest on one-sided differences."""
SUFFIXES = (
    *(".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".mpeg", ".ts", ".ogv", ".wmv"),
    *(".gif", ".webp", ".apng", ".avif"),
)
"""Of videos in folders; a file that is named itself may have any, such as .png of an animation."""
FEWEST = 13
"""Frames; four latent ones, of which the first stands apart and the others have a second
difference."""
SLOWEST = 0.5
"""Least rate of a video over the model's; between slower ones motion is too large to follow."""
ALIKE = 0.1
"""Relative difference of rates up to which a calibration is taken to hold."""
NOTHING_MOVES = "nothing moves"
STEM_BYTES = 200
"""Of a video's name in that of its picture: names have at most 255 bytes, and while a picture is
written its name is longer by a process's number."""
NOTE = (
    "Steadiness says how evenly the picture changes, whatever it shows. Residuals say how far "
    "field proxies in latent units are from the relations: 0 balances, 1 does not. Both compare "
    "clips of like content. They measure no physical quantity, and how well they tell true from "
    "broken motion was measured on a simulated world alone."
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
    categories: str | None = None
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
    """Print JSON instead of text: an object for one video, a list for several."""


@dataclass(slots=True, kw_only=True)
class _Seen:
    """A video's windows in which something moves, joined in time."""

    view: Any
    end: float = 0.0
    looked_at: int = 0
    terms: list[dict[str, dict[str, float]]] = field(default_factory=list)
    changes: list[dict[str, float]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    by_frame: dict[str, list[float]] = field(default_factory=dict)
    worst: tuple[float, np.ndarray, np.ndarray] | None = None


def score(request: ScoreRequest) -> dict[str, Any]:
    """Score every video; what cannot be read is listed with its reason.

    Returns:
        `reports` (a `VideoReport` of each that could be read), `failed` (name to reason), `note`,
        `adapter`, `model`, `calibrated`, `pictures` (name to path).

    Raises:
        InputError: no video at all, or a model or adapter that cannot be used.
    """
    files = find_videos(request.videos)
    labels = _labels(request)
    import torch

    from pila.data.records import ClipError, View
    from pila.generate.plan import model_sampling
    from pila.pipelines.locate import find_adapter, find_device, find_model
    from pila.provenance import weights_hash
    from pila.score.calibration import read_calibration
    from pila.score.plausibility import load_scorer

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
                seen = _Seen(view=view_of(path, view))
                for frames, start in windows(path, seen.view):
                    _take(seen, scorer, frames, start, request.caption, labels)
            except ClipError as error:
                failed[str(path)] = str(error)
                continue
            same = seen.view.num_frames == view.num_frames
            same = same and abs(seen.view.fps / view.fps - 1) <= ALIKE
            reports.append(_report(path, seen, labels, known if same else {}, steady, same))
            if pages and seen.worst is not None:
                from pila.score.picture import draw

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
        from pila.files import atomic_write
        from pila.score.page import page

        with atomic_write(request.html) as part:
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


def view_of(path: Path, own: Any) -> Any:
    """The `View` in which a video is seen: the model's own where it is long and fast enough.

    A shorter one is seen at a higher rate, as far as it has frames, and through a shorter window; a
    slower one at its own rate.

    Args:
        path: the video.
        own: the model's.

    Raises:
        ClipError: too little of it can be seen; or it cannot be read.
    """
    from pila.data.reading import read_extent
    from pila.data.records import ClipError

    count, seconds = read_extent(_record(path))
    rate = (count - 1) / seconds if seconds > 0 else 0.0
    if count < FEWEST:
        raise ClipError(f"too short: {count} frames; at least {FEWEST} are needed")
    if rate < SLOWEST * own.fps:
        raise ClipError(
            f"too slow: {rate:.4g} frames per second; at least {SLOWEST * own.fps:.4g} are needed: "
            "film or generate it at a higher rate"
        )
    fps = min(rate, max(own.fps, (own.num_frames - 1) / seconds))
    # The file's last frame is shown until the next one would come.
    frames = min(own.num_frames, int(seconds * fps + 1e-6) + 1)
    return replace(own, fps=fps, num_frames=(frames - 1) // 4 * 4 + 1)


def _record(path: Path) -> Any:
    from pila.data.records import VideoRecord

    return VideoRecord(name=path.name, caption="", categories=(), path=path)


def windows(path: Path, view: Any) -> Iterator[tuple[np.ndarray, float]]:
    """Windows [t, h, w, 3] uint8 of a video in a view, half of each shared, with their start.

    The last one ends with the video. Yields frames and seconds.

    Raises:
        ClipError: the file is empty, damaged, too slow, or shorter than one window.
    """
    from pila.data.reading import read_frames
    from pila.data.records import ClipError

    count, step = view.num_frames, view.num_frames // 2
    held: deque[np.ndarray] = deque(maxlen=count)
    seen, given = 0, 0
    for frame in read_frames(_record(path), view):
        held.append(frame)
        seen += 1
        if seen >= count and (seen - count) % step == 0:
            yield np.stack(held), (seen - count) / view.fps
            given = seen
    if seen < count:
        raise ClipError(f"too short: {seen} frames at {view.fps:g} per second, {count} are needed")
    if given < seen:
        yield np.stack(held), (seen - count) / view.fps


def _labels(request: ScoreRequest) -> tuple[Category, ...]:
    from pila.generate.plan import check_categories

    if request.categories is not None:
        return check_categories(request.categories)
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
    from pila.score.stillness import moves

    seen.looked_at += 1
    seen.end = start + len(frames) / seen.view.fps
    if not moves(frames):
        return
    found = scorer.frames(frames, caption=caption, labels=labels)
    seen.terms.append(found.terms)
    if found.change is not None:
        seen.changes.append(found.change)
    count = len(next(iter(found.by_frame.values())))
    # Latent frame 0 holds frame 0 alone, latent frame i the frames 4 i - 3 .. 4 i.
    times = [start + 4 * i / seen.view.fps for i in range(count)]
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
    as_calibrated: bool,
) -> VideoReport:
    """One video's report, from calibrations of the categories and of the steadiness of change."""
    facts: dict[str, Any] = {
        "file": str(path),
        "seconds": seen.end,
        "still": _still_seconds(seen),
        "fps": seen.view.fps,
        "frames": seen.view.num_frames,
        "windows": len(seen.terms),
        "as_calibrated": as_calibrated,
        "labels": [str(c) for c in labels],
    }
    if not seen.terms:
        return VideoReport(why_not=NOTHING_MOVES, **facts)
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
        change=_change(seen.changes, steady, as_calibrated),
        overall=float(np.mean([categories[name].score for name in telling])),
        categories=categories,
        times=[round(t, 4) for t in seen.times],
        by_frame=seen.by_frame,
        **facts,
    )


def _still_seconds(seen: _Seen) -> float:
    """Of a video, in which nothing moves: by its windows' share, as they overlap."""
    return seen.end * (1 - len(seen.terms) / seen.looked_at)


def _change(
    changes: Sequence[dict[str, float]], about: dict[str, Any] | None, as_calibrated: bool
) -> ChangeReport | None:
    if not changes:
        return None
    measures = {name: float(np.mean([c[name] for c in changes])) for name in changes[0]}
    if about is None:
        return ChangeReport(measures=measures)
    from pila.score.steadiness import Weighing

    value = float(np.mean([Weighing(**about["weighing"])(change) for change in changes]))
    return ChangeReport(
        measures=measures,
        score=value,
        among_true=_among(value, about) if as_calibrated else None,
        worth=about["area"] if as_calibrated else None,
        near_chance=about["near_chance"] if as_calibrated else None,
    )


def _among(value: float, about: dict[str, Any]) -> float:
    """Share of true clips below a score: between the quantiles that are kept, linearly."""
    from pila.score.calibration import QUANTILES

    return float(np.interp(value, about["true_quantiles"], QUANTILES, 0.0, 1.0))
