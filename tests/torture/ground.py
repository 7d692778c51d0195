"""What commands of the torture read: a tiny model, an adapter, clips, lists; made once a run."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.torture.process import preload

PROMPT = "a red ball falls"
SAMPLING = {"height": 32, "width": 32, "num_frames": 9, "fps": 8, "steps": 2}
LEFT = (".part", ".partial", ".old")


@dataclass(frozen=True, slots=True)
class Ground:
    """Sound input, and a folder for what is made of it.

    Attributes:
        folder: of everything.
        model: a Wan repository with tiny random weights.
        adapter: a tiny adapter that fits it.
        source: WISA-80K's form is not needed: clips and `list.csv`.
        prompts: a benchmark's list.
        settings: of a clip that was made.
    """

    folder: Path
    model: Path
    adapter: Path
    source: Path
    prompts: Path

    @property
    def generate(self) -> list[str]:
        """Options of a small clip, behind its prompt."""
        return [
            *("--model", str(self.model), "--adapter", str(self.adapter), "--steps", "1"),
            *("--device", "cpu", "--parser", "offline"),
        ]

    @contextmanager
    def room(self, name: str) -> Iterator[Path]:
        """A folder for one case; it goes at the end."""
        place = self.folder / "cases" / name
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        try:
            yield place
        finally:
            shutil.rmtree(place, ignore_errors=True)


def make_ground(folder: Path, *, model: Path | None = None, adapter: Path | None = None) -> Ground:
    """Make what is not there yet; a model and an adapter may be given."""
    preload()
    ground = Ground(
        folder=folder,
        model=model or folder / "model",
        adapter=adapter or folder / "adapter",
        source=folder / "source",
        prompts=folder / "prompts.json",
    )
    if not ground.model.exists():
        _make_model(ground.model)
    if not ground.adapter.exists():
        _make_adapter(ground.adapter)
    if not ground.prompts.exists():
        from pila.lab.benchmarks.prompt_list import Item, PromptList, write_prompts

        items = tuple(
            Item(key=f"x: {p}", prompt=p, files=(f"{p}-0.mp4", f"{p}-1.mp4"))
            for p in (PROMPT, "two balls collide")
        )
        listed = PromptList(benchmark="vbench2", source="here", items=items)
        write_prompts(ground.prompts, listed)
    if not (ground.source / "list.csv").exists():
        _make_clips(ground.source)
    return ground


def _make_model(folder: Path) -> None:
    import torch
    from diffusers import WanPipeline
    from tests.pipelines import tiny

    torch.manual_seed(0)
    WanPipeline(**tiny.components()).save_pretrained(folder)
    own = SAMPLING | {"guidance_scale": 2.0, "max_sequence_length": 16, "scenes": ["thrown_ball"]}
    (folder / "pila.json").write_text(json.dumps(own))


def _make_adapter(folder: Path) -> None:
    from tests.pipelines import tiny

    tiny.live_adapter().save_pretrained(folder)


def _make_clips(folder: Path) -> None:
    from pila.lab.world import Canvas, simulate
    from pila.video import write_video

    lines = ["file,caption,categories"]
    for i in range(3):
        frames = simulate("thrown_ball", i, canvas=Canvas(size=32)).frames
        write_video(folder / f"{i}.mp4", frames, fps=16)
        lines.append(f"{i}.mp4,a ball is thrown and falls,rigid_body")
    (folder / "list.csv").write_text("\n".join(lines) + "\n")


def digests(folder: Path) -> dict[str, str]:
    """Every visible file's hash by its place."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


def left_in(folder: Path) -> list[str]:
    """Parts of files and folders that are still there."""
    return [p.name for p in folder.rglob(".*") if p.name.endswith(LEFT)]


def half_in(folder: Path, sound: dict[str, str]) -> str | None:
    """A visible file that is neither that of an unbroken run nor whole by itself.

    Args:
        folder: of a command that was ended.
        sound: `digests` of an unbroken run's folder.
    """
    found = digests(folder)
    for place in found:
        path = folder / place
        if any(part.startswith(".") for part in Path(place).parts):
            continue  # a folder that is being written beside its place
        if found[place] != sound.get(place) and not _is_whole(path):
            return place
    return None


def _is_whole(path: Path) -> bool:
    from safetensors import safe_open

    from pila.video import read_video

    try:
        if path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".jsonl":
            # A run adds lines to it, and mends the last one when it goes on.
            for line in path.read_text().splitlines()[:-1]:
                json.loads(line)
        elif path.suffix == ".safetensors":
            with safe_open(path, framework="numpy") as file:
                for name in file.keys():  # noqa: SIM118  it is no mapping
                    file.get_tensor(name)
        elif path.suffix == ".mp4":
            read_video(path)
        else:
            return path.stat().st_size > 0
    except Exception:
        return False
    return True
