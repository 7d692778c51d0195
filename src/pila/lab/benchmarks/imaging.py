"""Imaging quality as VBench measures it: MUSIQ trained on SPAQ, over all frames, over 100.

Frames whose longer side is above 512 are made smaller first. The network comes from the optional
package pyiqa (`pip install -c constraints.txt '.[imaging]'`), which fetches its weights by itself.
"""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from pila.errors import InputError
from pila.lab.benchmarks.prompt_list import SUFFIXES, damage
from pila.lab.benchmarks.reading import own_names, read_entries, refuse, repeated
from pila.lab.benchmarks.records import digest_of, sha256, write_json, write_record
from pila.lab.benchmarks.results import Result, Rows, origin

NAME = "imaging"
DIMENSION = "imaging_quality"
METRIC = "musiq-spaq"
LONGEST = 512
TOP = 100.0
_CLOSE = 1e-4


class FrameScorer(Protocol):
    """Quality of single frames."""

    def describe(self) -> dict[str, Any]:
        """What decides the scores."""
        ...

    def __call__(self, frame: np.ndarray) -> float:
        """0 to 100 for a frame [h, w, 3] float32 of 0 to 255."""
        ...


class Musiq:
    """MUSIQ-SPAQ of pyiqa.

    Raises:
        InputError: pyiqa is not installed, or cannot get its weights.
    """

    def __init__(self, device: str = "auto") -> None:
        if find_spec("pyiqa") is None:
            raise InputError(
                f"imaging needs the package pyiqa for {METRIC}, which is not installed; run "
                "pip install -c constraints.txt '.[imaging]' in pila's folder, or aggregate a file "
                "that VBench wrote"
            )
        import pyiqa  # pyright: ignore[reportMissingImports]

        from pila.pipelines.locate import find_device

        self._device = find_device(device)
        try:
            self._network = pyiqa.create_metric(METRIC, device=self._device)
        except (OSError, RuntimeError, ValueError) as error:
            raise InputError(
                f"pyiqa could not build {METRIC} ({' '.join(str(error).split())[:200]}); connect "
                "to the network once, so that it can fetch the weights"
            ) from error

    def describe(self) -> dict[str, Any]:
        """The metric and its weights."""
        import torch

        state = self._network.state_dict()
        sums = {k: float(v.double().abs().sum()) for k, v in state.items() if torch.is_tensor(v)}
        return {"metric": METRIC, "weights": digest_of(sums), "longest_side": LONGEST}

    def __call__(self, frame: np.ndarray) -> float:
        """0 to 100 for a frame [h, w, 3] float32 of 0 to 255."""
        import torch

        pixels = torch.from_numpy(frame).permute(2, 0, 1)[None] / 255
        with torch.no_grad():
            return float(self._network(pixels.to(self._device)))


def shrunk(frame: np.ndarray) -> np.ndarray:
    """A frame [h, w, 3] uint8 as float32, its longer side `LONGEST` at most.

    Bilinear without smoothing and sides rounded down, as VBench does it.
    """
    longest = max(frame.shape[:2])
    pixels = frame.astype(np.float32)
    if longest <= LONGEST:
        return pixels
    import torch

    height, width = (max(1, int(side * LONGEST / longest)) for side in frame.shape[:2])
    x = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    x = torch.nn.functional.interpolate(x, (height, width), mode="bilinear", align_corners=False)
    return x[0].permute(1, 2, 0).numpy()


def videos_in(folder: Path) -> list[Path]:
    """The videos of a folder by name, each opened.

    Raises:
        InputError: no folder, none in it, or some are empty or damaged; they are named.
    """
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}; give the folder with the clips")
    found = [p for p in sorted(folder.iterdir()) if p.suffix.lower() in SUFFIXES]
    if not found:
        raise InputError(f"{folder} has 0 videos; give the folder with the clips")
    faults = [f"{p.name} {why}" for p in found if (why := damage(p))]
    refuse(faults, folder, "delete these files and make them again")
    return found


def judge(
    folder: Path,
    out: Path,
    scorer: FrameScorer,
    *,
    progress: Callable[[Sequence[Path]], Any] = iter,
) -> dict[str, Any]:
    """Score every video of a folder and write VBench's form; kept scores are not made again.

    Args:
        folder: with the videos.
        out: the JSON file, `{imaging_quality: [mean / 100, [{video_path, video_results}]]}`, the
            videos' own results in 0 to 100.
        scorer: of frames.
        progress: wraps the list of videos.

    Raises:
        InputError: videos that cannot be read, or a place that cannot be written.
    """
    from pila.files import cache_root
    from pila.lab.benchmarks.generating import read_sampling
    from pila.video import video_frames

    paths = videos_in(folder)
    protocol = scorer.describe()
    rows = []
    for path in progress(paths):
        key = digest_of([protocol, sha256(path)])
        kept = cache_root() / "imaging" / f"{key}.json"
        if not kept.is_file():
            scores = [scorer(shrunk(frame)) for frame in video_frames(path)]
            write_json(kept, float(np.mean(scores)))
        rows.append({"video_path": str(path), "video_results": read_entries(kept, float)})
    mean = float(np.mean([row["video_results"] for row in rows]))
    content = {DIMENSION: [mean / TOP, rows]}
    write_json(out, content)
    write_record(out, {"protocol": protocol, "sampling": read_sampling(folder)})
    return content


def aggregate(path: Path, *, method: str | None = None, judge: str | None = None) -> Result:
    """The mean over videos of a file of `judge` or of VBench, over 100.

    Raises:
        InputError: another file, videos that are repeated or out of range, or a score that is
            not that of its videos.
    """
    content = read_entries(path, dict)
    if DIMENSION not in content:
        raise InputError(f"{path} has no {DIMENSION}; give the file of the judge step or of VBench")
    try:
        stated, videos = content[DIMENSION]
        scores = {str(v["video_path"]): v["video_results"] for v in videos}
        faults = [f"{n} twice" for n in repeated(str(v["video_path"]) for v in videos)]
    except (TypeError, ValueError, KeyError):
        raise InputError(
            f"{path}: {DIMENSION} is not [score, [{{video_path, video_results}}]]"
        ) from None
    if not scores:
        raise InputError(f"{path} has 0 videos; judge them again")
    faults += [
        f"{name} has {value!r}"
        for name, value in scores.items()
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= TOP
    ]
    refuse(faults, path, "judge these videos again; scores are 0 to 100")
    names = own_names(scores)
    rows: Rows = {names[path]: (float(v) / TOP, 1.0) for path, v in scores.items()}
    mean = sum(a for a, _ in rows.values()) / len(rows)
    if (
        isinstance(stated, int | float)
        and min(abs(stated - mean), abs(stated / TOP - mean)) > _CLOSE
    ):
        raise InputError(f"{path} says {stated}, its videos give {mean:.6f}; restore the file")
    traced = origin({"frames": path}, "imaging, mean over videos / 100", judge)
    return Result(benchmark=NAME, method=method or path.stem, measures={"imaging": rows}, **traced)


def as_json(result: Result) -> dict[str, Any]:
    """The score, the number of videos, and what a reader must know."""
    rows = result.measures["imaging"]
    return {"imaging": result.value("imaging"), "videos": len(rows), "notes": result.notes}
