"""`pila world`: simulated clips made, shown and measured."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg, subcommand


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldMake:
    """Simulate clips with captions, truth and, for a share of them, a broken law."""

    out: Path
    """Folder to fill."""
    clips: int = 16
    """Number of clips."""
    scene: str | None = None
    """Only this scene; all by default."""
    categories: str | None = None
    """Only scenes of these categories, separated by commas."""
    violations: float = 0.5
    """Share of clips that break a law, 0 to 1."""
    seed: int = 0
    """Seed of the first clip."""
    size: int = 128
    """Height and width in pixels, a multiple of 16."""
    processes: int = 2
    """Clips made at once."""
    json: bool = False
    """Print one JSON object instead of text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldShow:
    """Draw a contact sheet: a true clip of each scene and its broken twins, frame by frame."""

    out: Path = Path("out/world.png")
    """The picture, a PNG file."""
    scene: str | None = None
    """Only this scene; all by default."""
    true_only: bool = False
    """Leave the broken twins out."""
    seed: int = 0
    """Seed of the clips."""
    json: bool = False
    """Print one JSON object instead of text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldMeasure:
    """Measure from pixels how far a video is from a scene's laws; 0 is perfect physics."""

    video: Positional[Path]
    """A video file; lossless ones measure best."""
    scene: str
    """The scene that the video should show."""
    json: bool = False
    """Print one JSON object instead of text."""


WorldCommand = (
    Annotated[WorldMake, subcommand("make", prefix_name=False)]
    | Annotated[WorldShow, subcommand("show", prefix_name=False)]
    | Annotated[WorldMeasure, subcommand("measure", prefix_name=False)]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The simulated world: clips whose physics is known."""

    command: Annotated[WorldCommand, arg(name="")]


def _world_make(command: WorldMake) -> None:
    from pila.lab.world import make_clips
    from pila.labels.parser import parse_categories

    make_clips(
        command.out,
        command.clips,
        scenes=None if command.scene is None else [command.scene],
        categories=None if command.categories is None else parse_categories(command.categories),
        violations=command.violations,
        seed=command.seed,
        size=command.size,
        processes=command.processes,
    )
    _print_made(command.clips, command)


def _world_show(command: WorldShow) -> None:
    from pila.lab.world import write_sheet

    rows = write_sheet(
        command.out,
        None if command.scene is None else [command.scene],
        violations=not command.true_only,
        seed=command.seed,
    )
    _print_made(rows, command)


def _print_made(clips: int, command: WorldMake | WorldShow) -> None:
    if command.json:
        print(json.dumps({"clips": clips, "out": str(command.out)}))
    else:
        print(f"{clips} clips in {command.out}")


def _world_measure(command: WorldMeasure) -> None:
    from pila.lab.world import measure, scene_named
    from pila.video import read_video

    scene_named(command.scene)
    laws = measure(command.scene, read_video(command.video))
    if command.json:
        print(json.dumps({"video": str(command.video), "scene": command.scene, "laws": laws}))
        return
    for name, value in laws.items():
        print(f"{name:<24}{value:.4f}")


COMMANDS: dict[type, Callable[[Any], int | None]] = {
    WorldMake: _world_make,
    WorldShow: _world_show,
    WorldMeasure: _world_measure,
}
"""What runs each command."""
