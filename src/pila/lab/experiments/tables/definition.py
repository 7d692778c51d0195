"""What an experiment is: rows of a table, and what is measured of each. Data, and light to read."""

from dataclasses import dataclass
from typing import Literal

from pila.errors import InputError

Measure = Literal["laws", "preference", "phyworld", "physics-iq", "probe", "maps", "bank"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """A row of the table: what is trained for it, and how the generator is called with it."""

    name: str
    recipes: tuple[str, ...] = ()
    """What acts together on the generator, each trained by its recipe; none is the frozen one."""
    scorer: str | None = None
    """The recipe of the adapter that chooses among `best_of` noises."""
    best_of: int = 1
    adapter_scale: float = 1.0
    window: tuple[float, float] | None = None
    """First and last corrected step, as shares of the schedule; the paper's 41-50 is (0.8, 1)."""
    velocity_source: str = "guided"
    """What all rows but those of `reference` read, though pipelines read the conditional velocity:
    tables were begun before development prompts had told which is better."""
    top_k: int | None = None
    labels: str = "parsed"
    """What the router is told: parsed, none or random."""
    x: float | None = None
    """Where the row stands on the axis of a plot."""

    @property
    def trained(self) -> tuple[str, ...]:
        """Recipes that must have been trained."""
        return self.recipes if self.scorer is None else (*self.recipes, self.scorer)


FROZEN = Arm(name="frozen")


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """One table: its question, its rows, its measure."""

    name: str
    question: str
    paper: str
    """The paper's table or figure that it answers to; empty where it has none."""
    arms: tuple[Arm, ...]
    measures: tuple[Measure, ...] = ("laws",)
    """The first is the table of `results.json`; others are written beside it under their names."""
    against: tuple[str, ...] = ()
    """Arms that every other one is compared with, prompt by prompt."""
    axis: str = ""
    """What `Arm.x` counts, where rows are points of a curve."""
    model_recipe: str | None = None
    """The generator, trained by this recipe, where it is not the embedded one."""
    given_frames: int = 0
    """Latent frames of the true clip that each clip goes on from."""
    scenes: tuple[str, ...] = ()
    """Only these of the model's scenes; none named stands for all."""
    prompts: int = 264
    noise_seeds: int = 1
    clips: int = 8
    """True clips of each scene (and violation) that probes look at."""

    def __post_init__(self) -> None:
        names = [arm.name for arm in self.arms]
        if len(set(names)) < len(names) or set(self.against) - set(names):
            raise InputError(
                f"experiment {self.name} compares {', '.join(names)} against "
                f"{', '.join(self.against)}; name each arm once, and only these"
            )

    @property
    def recipes(self) -> tuple[str, ...]:
        """Every recipe that must have been trained, the generator's left out, each once."""
        return tuple(dict.fromkeys(r for arm in self.arms for r in arm.trained))
