"""What a diagnosis looks at: the run's adapter on true clips of the simulated world, checked."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pila.errors import InputError
from pila.lab.diagnose.run_folder import Run
from pila.lab.experiments.clip_jobs import ClipJob
from pila.lab.experiments.pairs import FIRST_SEED
from pila.lab.experiments.sampling import Method, Protocol, own_world
from pila.lab.world import SCENES, Clip
from pila.physics.layout import Category
from pila.pipelines.attachments import check_attachments, inspect_folder
from pila.pipelines.locate import denoiser_configs, find_device, find_model
from pila.pipelines.repository import check_wan_repository

WORLD = "Simulated world, not Wan."


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How a user wants a run to be looked at."""

    model: str | None = None
    """None takes the run's own."""
    clips: int = 2
    """Held-out true clips of each scene."""
    scenes: tuple[str, ...] = ()
    """None named stands for all of the model's."""
    show: tuple[str, ...] = ()
    """Scenes whose clips are drawn; none named leaves the choice."""
    processes: int = 2
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.processes < 1:
            raise InputError(f"processes is {self.processes}; use at least 1")
        if self.clips < 2:
            raise InputError(
                f"clips is {self.clips}; chance and intervals take at least 2 clips of each scene"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A look about to be taken: everything is checked and there."""

    adapter: Path
    protocol: Protocol
    look: Look

    @property
    def processes(self) -> int:
        """Jobs at once."""
        return self.look.processes

    @property
    def clips(self) -> int:
        """Of each scene."""
        return self.look.clips

    @property
    def method(self) -> Method:
        """The adapter as it was trained: told what the parser finds in the caption."""
        return Method(name="labels", adapter=str(self.adapter))

    @property
    def untold(self) -> Method:
        """The same without labels."""
        return Method(name="no labels", adapter=str(self.adapter), labels="none")

    @property
    def about(self) -> str:
        """Which clips, in words."""
        scenes = self.protocol.scenes
        return (
            f"{len(scenes) * self.clips} held-out true clips, {self.clips} of each of "
            f"{len(scenes)} scenes, noised as in training; generator {self.protocol.model}. {WORLD}"
        )

    def jobs(self, scenes: Sequence[str], method: Method | None = None) -> list[ClipJob]:
        """A job for each of some scenes, with all of its clips."""
        seeds = tuple(range(FIRST_SEED, FIRST_SEED + self.clips))
        return [
            ClipJob(protocol=self.protocol, method=method or self.method, scene=s, seeds=seeds)
            for s in scenes
        ]

    def first_clip(self, scene: str, seed: int = FIRST_SEED) -> Clip:
        """A scene's clip that is drawn: the first one, never a chosen one."""
        return self.protocol.true_clips(scene, [seed])[0]

    def shown(self) -> list[tuple[str, Category]]:
        """The scenes that are drawn, each with the category that it stands for.

        Of every category the scene with the fewest others at work, unless scenes are named.
        """
        if self.look.show:
            return [(s, c) for s in self.look.show for c in SCENES[s].categories]
        found = []
        for category in Category:
            own = [s for s in self.protocol.scenes if category in SCENES[s].categories]
            if own:
                found.append((min(own, key=lambda s: len(SCENES[s].categories)), category))
        return found


def prepared(run: Run, look: Look, *classes: str, what: str) -> Setting:
    """Check a run's adapter and the generator against each other and against what is asked.

    Args:
        run: with an adapter.
        look: what is asked.
        classes: of the adapter that can be looked at so.
        what: the part of it that is looked at, for messages.

    Raises:
        InputError: no finished adapter or one of another class, a model that is not of the
            simulated world or that the adapter does not fit, scenes or a device that are not there.
    """
    adapter = run.require(*classes, what=what)
    name = look.model or run.model
    folder = find_model(name)
    index = check_wan_repository(folder)
    own_world(folder, name)
    find_device(look.device)
    check_attachments([inspect_folder(adapter)], denoiser_configs(folder, index))
    # As many prompts as scenes: only true clips are looked at, by their own seeds.
    protocol = Protocol(
        model=name, prompts=len(SCENES), scenes_only=look.scenes, device=look.device
    )
    for scene in look.show:
        if scene not in protocol.scenes:
            raise InputError(
                f"show has {scene!r}, which is not looked at; choose from "
                f"{', '.join(protocol.scenes)}"
            )
    return Setting(adapter=adapter, protocol=protocol, look=look)
