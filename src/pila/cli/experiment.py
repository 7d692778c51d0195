"""`pila experiment ...`: a subcommand for each table, made from the registry; printing."""

import json
from collections.abc import Callable
from dataclasses import dataclass, fields, make_dataclass
from dataclasses import field as dataclass_field
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Union

from tyro.conf import Positional, arg, subcommand

from pila.lab.experiments.tables import EXPERIMENTS, RESULTS

_WHAT_ALL = "every table that follows from trainings (not laws, measures and bank)"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentLaws:
    """Errors of physical laws: frozen, with each adapter, and true clips through the VAE.

    Held-out prompts, the same noise for every method. What was generated before under the same
    settings is kept.
    """

    output: Path = RESULTS / "laws"
    """Folder for results.json, results.md and clips.parquet."""
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

    output: Path = RESULTS / "measures"
    """Folder for measures.json and measures.md."""
    model: str = "embedded"
    """Whose VAE, scenes and size are taken; `none` measures pixels of all scenes at 128 px."""
    clips: int = 200
    """Clips of each scene and kind."""
    vae_clips: int | None = None
    """How many of the broken ones are measured through the VAE, too, a multiple of 20; all by
    default. Of true ones at least 200 are."""
    processes: int = 2
    """Kinds of clips measured at once, one thread each."""
    json: bool = False
    """Print the results as one JSON object instead of the table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentScore:
    """What `pila score` is worth: areas under the ROC curve of true against broken clips.

    What was scored before under the same settings is kept.
    """

    output: Path = RESULTS / "score"
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentBank:
    """How much of the simulated world's true fields an adapter's bank holds, slot by slot.

    What was read before under the same settings is kept.
    """

    output: Path = RESULTS / "bank"
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
class ExperimentPrompts:
    """Whether free prompts reach the scene that they are about, and others none.

    What was generated before under the same settings is kept.
    """

    output: Path = RESULTS / "prompts"
    """Folder for results.json and results.md."""
    half: Literal["both", "development", "held_out"] = "both"
    """Which half of the two lists; settings are chosen on development alone."""
    seed: int = 0
    """Seed of the noise, and of what a prompt leaves open."""
    processes: int = 2
    """Prompts drawn at once, one thread each."""
    json: bool = False
    """Print the results as one JSON object instead of the table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentTabulate:
    """Compute a table of law errors anew from the figures of its clips; nothing is generated.

    Today's measures and intervals, from clips.parquet.
    """

    folder: Annotated[Positional[Path], arg(metavar="FOLDER")]
    """The table's folder, such as results/main."""
    json: bool = False
    """Print the results as one JSON object instead of the table."""


@dataclass(frozen=True, kw_only=True)
class ExperimentTable:
    """What every table of the registry takes."""

    name: ClassVar[str] = ""
    output: Path | None = None
    """Folder for results.json, .md, .csv, pictures, the clips' manifest; out/experiments/NAME."""
    runs: Path = Path("runs")
    """Where finished trainings lie, as RECIPE-SEED."""
    train: bool = False
    """Train what is missing there first; stopped trainings go on."""
    available: bool = False
    """Leave out rows and training seeds that are missing there; the table tells each row's."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Training seeds."""
    only: tuple[str, ...] = ()
    """Only these rows."""
    model: str | None = None
    """The generator: embedded, or a folder; the experiment's own by default."""
    prompts: int | None = None
    """Held-out prompts, shared evenly among the scenes; the experiment's own number by default."""
    noise_seeds: int | None = None
    """Clips of each prompt; the experiment's own number by default."""
    clips: int | None = None
    """True clips of each scene that probes look at; the experiment's own number by default."""
    scenes: tuple[str, ...] = ()
    """Only these scenes of the model's."""
    development: bool = False
    """Prompts for choosing settings on, not those that figures are reported on; into
    out/experiments/NAME-development."""
    steps: int | None = None
    """Denoising steps; the model's own by default."""
    guidance_scale: float | None = None
    """Classifier-free guidance; the model's own by default."""
    device: str = "cpu"
    """Where generators run: cpu, cuda, cuda:N, or auto."""
    precision: str = "no"
    """Of their weights as clips are made: no is float32; bf16 costs two thirds on CPUs that compute
    in it."""
    processes: int = 2
    """Jobs at once, one thread each; on an accelerator they share it."""
    json: bool = False
    """Print the results as one JSON object instead of the table."""


def _table_type(name: str) -> type[ExperimentTable]:
    words = "".join(part.capitalize() for part in name.split("-"))
    made: Any = make_dataclass(
        f"Experiment{words}",
        [("name", ClassVar[str], dataclass_field(default=name))],
        bases=(ExperimentTable,),
        frozen=True,
        kw_only=True,
    )
    return made


TABLES: dict[str, type[ExperimentTable]] = {
    name: _table_type(name) for name in (*EXPERIMENTS, "all")
}


def _described(name: str) -> str:
    if name == "all":
        return f"Run {_WHAT_ALL}."
    experiment = EXPERIMENTS[name]
    paper = f" ({experiment.paper})" if experiment.paper else ""
    return f"{experiment.question}{paper}"


_Subcommands: Any = [
    Annotated[ExperimentLaws, subcommand("laws", prefix_name=False)],
    Annotated[ExperimentMeasures, subcommand("measures", prefix_name=False)],
    Annotated[ExperimentBank, subcommand("bank", prefix_name=False)],
    Annotated[ExperimentScore, subcommand("score", prefix_name=False)],
    Annotated[ExperimentPrompts, subcommand("prompts", prefix_name=False)],
    Annotated[ExperimentTabulate, subcommand("tabulate", prefix_name=False)],
    *(
        Annotated[made, subcommand(name, description=_described(name), prefix_name=False)]
        for name, made in TABLES.items()
    ),
]
_Subcommand: Any = Union[tuple(_Subcommands)]  # noqa: UP007


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """Run a benchmark on the simulated world."""

    command: Annotated[_Subcommand, arg(name="")]  # pyright: ignore[reportInvalidTypeForm]


_ALONE: dict[type, tuple[str, str]] = {
    ExperimentLaws: ("run_laws", "laws"),
    ExperimentMeasures: ("run_measures", "measures"),
    ExperimentBank: ("run_bank", "bank"),
    ExperimentScore: ("run_score", "score_worth"),
}
"""Functions of `lab.experiments.run` that run a table of their own, and who writes its Markdown."""


def _alone(command: Any) -> None:
    function, module = _ALONE[type(command)]
    results = getattr(import_module("pila.lab.experiments.run"), function)(**_options(command))
    markdown = import_module(f"pila.lab.experiments.{module}").markdown
    print(json.dumps(results) if command.json else markdown(results).rstrip())


def _prompts(command: ExperimentPrompts) -> None:
    from pila.lab.experiments.free_prompts import markdown
    from pila.lab.experiments.run import run_prompts

    results = run_prompts(**_options(command))
    print(json.dumps(results) if command.json else markdown(results).rstrip())


def _tabulate(command: ExperimentTabulate) -> None:
    from pila.lab.experiments.tables.law_table import markdown, retabulate

    results = retabulate(command.folder)
    print(json.dumps(results) if command.json else markdown(results).rstrip())


def _table(command: ExperimentTable) -> None:
    from pila.lab.experiments.run import run_every_table, run_table

    options = _options(command)
    if command.name == "all":
        found = run_every_table(**options)
    else:
        found = {command.name: run_table(command.name, **options)}
    for name, (results, text) in found.items():
        print(json.dumps({"experiment": name} | results) if command.json else text.rstrip())


def _options(command: Any) -> dict[str, Any]:
    return {f.name: getattr(command, f.name) for f in fields(command) if f.name != "json"}


COMMANDS: dict[type, Callable[[Any], int | None]] = {
    **dict.fromkeys(_ALONE, _alone),
    ExperimentPrompts: _prompts,
    ExperimentTabulate: _tabulate,
    **dict.fromkeys(TABLES.values(), _table),
}
"""What runs each subcommand."""
