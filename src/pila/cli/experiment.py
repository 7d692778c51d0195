"""`pila experiment`: benchmarks on the simulated world."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import arg, subcommand


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentLaws:
    """Errors of physical laws: frozen, with each adapter, and true clips through the VAE.

    Held-out prompts, the same noise for every method. What was generated before under the same
    settings is kept.
    """

    output: Path = Path("experiments/laws")
    """Folder for results.json, results.md and clips.jsonl."""
    model: str = "embedded"
    """embedded, or a folder of a model trained on the simulated world."""
    adapters: tuple[str, ...] = ("pila=embedded",)
    """What to compare with the frozen generator, each as name=place: adapters, ProPhy branches and
    LoRA updates, several joined by +, or the folder of a fine-tuned generator."""
    prompts: int = 96
    """Held-out prompts, shared evenly among the scenes."""
    noise_seeds: int = 3
    """Clips of each prompt."""
    steps: int | None = None
    """Denoising steps; the model's own by default."""
    guidance_scale: float | None = None
    """Classifier-free guidance; the model's own by default."""
    processes: int = 2
    """Clips are made in this many processes of one thread each."""
    json: bool = False
    """Print the results as one JSON object instead of the table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentMeasures:
    """How well the law measures tell true clips from broken ones, in pixels and through a VAE.

    What was measured before under the same settings is kept.
    """

    output: Path = Path("experiments/measures")
    """Folder for measures.json and measures.md."""
    model: str = "embedded"
    """Whose VAE, scenes and size are taken; `none` measures pixels of all scenes at 128 px."""
    clips: int = 200
    """Clips of each scene and kind."""
    vae_clips: int | None = None
    """How many of the broken ones are measured through the VAE, too, a multiple of 20; all by
    default. Of true ones at least 40 are."""
    processes: int = 2
    """Kinds of clips measured at once, one thread each."""
    json: bool = False
    """Print the results as one JSON object instead of the table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentBank:
    """How much of the simulated world's true fields an adapter's bank holds, slot by slot.

    What was read before under the same settings is kept.
    """

    output: Path = Path("experiments/bank")
    """Folder for bank.json and bank.md."""
    model: str = "embedded"
    """embedded, or a folder of a model trained on the simulated world."""
    adapters: tuple[str, ...] = ("pila=embedded",)
    """Adapters to read, each as name=place."""
    clips: int = 8
    """Held-out true clips of each scene."""
    processes: int = 2
    """Scenes read at once, one thread each."""
    json: bool = False
    """Print the results as one JSON object instead of the table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentScore:
    """What `pila score` is worth: areas under the ROC curve of true against broken clips.

    What was scored before under the same settings is kept.
    """

    output: Path = Path("experiments/score")
    """Folder for score.json and score.md."""
    model: str = "embedded"
    """embedded, or a folder of a model trained on the simulated world."""
    adapter: str = "embedded"
    """The PILA adapter whose bank is scored."""
    clips: int = 20
    """Clips of each scene and kind."""
    processes: int = 2
    """Kinds scored at once, one thread each."""
    json: bool = False
    """Print the results as one JSON object instead of the table."""


ExperimentCommand = (
    Annotated[ExperimentLaws, subcommand("laws", prefix_name=False)]
    | Annotated[ExperimentMeasures, subcommand("measures", prefix_name=False)]
    | Annotated[ExperimentBank, subcommand("bank", prefix_name=False)]
    | Annotated[ExperimentScore, subcommand("score", prefix_name=False)]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """Run a benchmark on the simulated world."""

    command: Annotated[ExperimentCommand, arg(name="")]


def _experiment_laws(command: ExperimentLaws) -> None:
    from pila.evaluate.laws import markdown
    from pila.experiment import run_laws

    results = run_laws(
        output=command.output,
        model=command.model,
        adapters=command.adapters,
        prompts=command.prompts,
        noise_seeds=command.noise_seeds,
        steps=command.steps,
        guidance_scale=command.guidance_scale,
        processes=command.processes,
    )
    print(json.dumps(results) if command.json else markdown(results).rstrip())


def _experiment_measures(command: ExperimentMeasures) -> None:
    from pila.evaluate.measures import markdown
    from pila.experiment import run_measures

    results = run_measures(
        output=command.output,
        model=command.model,
        clips=command.clips,
        vae_clips=command.vae_clips,
        processes=command.processes,
    )
    print(json.dumps(results) if command.json else markdown(results).rstrip())


def _experiment_bank(command: ExperimentBank) -> None:
    from pila.evaluate.bank import markdown
    from pila.experiment import run_bank

    results = run_bank(
        output=command.output,
        model=command.model,
        adapters=command.adapters,
        clips=command.clips,
        processes=command.processes,
    )
    print(json.dumps(results) if command.json else markdown(results).rstrip())


def _experiment_score(command: ExperimentScore) -> None:
    from pila.evaluate.calibration import markdown
    from pila.experiment import run_score

    results = run_score(
        output=command.output,
        model=command.model,
        adapter=command.adapter,
        clips=command.clips,
        processes=command.processes,
    )
    print(json.dumps(results) if command.json else markdown(results).rstrip())


COMMANDS: dict[type, Callable[[Any], int | None]] = {
    ExperimentLaws: _experiment_laws,
    ExperimentMeasures: _experiment_measures,
    ExperimentBank: _experiment_bank,
    ExperimentScore: _experiment_score,
}
"""What runs each command."""
