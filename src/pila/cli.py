"""The command line: subcommands, their printing and their exit codes; nothing else.

0 is success, 2 a user's mistake (`error: ...`, one line), 130 an interrupt, 1 anything else.
"""

import json
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from tyro.conf import Positional, arg, subcommand

from pila import __version__
from pila.errors import InputError
from pila.request import GenerateRequest, ParserName


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """Show the physical categories that a prompt is about, and the words that decided."""

    prompt: Positional[str]
    """What a clip would show."""
    parser: ParserName = "auto"
    """Who finds the categories. llm asks model PILA_LLM_MODEL (else OPENAI_MODEL) at
    PILA_LLM_BASE_URL (else OPENAI_BASE_URL, else OpenAI's own) with PILA_LLM_API_KEY (else
    OPENAI_API_KEY); auto does so where a model is named, and answers offline otherwise."""
    json: bool = False
    """Print one JSON object instead of text."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldMeasure:
    """Measure from pixels how far a video is from a scene's laws; 0 is perfect physics."""

    video: Positional[Path]
    """A video file; lossless ones measure best."""
    scene: str
    """The scene that the video should show."""
    json: bool = False
    """Print one JSON object instead of text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Train:
    """Train a recipe; the same command again resumes it."""

    recipe: Positional[str]
    """The recipe's name; an unknown one lists them."""
    output: Path = Path("runs/train")
    """The run's folder: config, metrics, checkpoints, and what was trained."""
    max_steps: int | None = None
    """Stop after this many steps of the recipe's schedule, with a checkpoint."""
    checkpoint_every: int = 500
    """Steps between checkpoints."""
    seed: int = 0
    """Seed of the start and of the order of the data."""
    dry_run: bool = False
    """Print the whole configuration and train nothing."""
    json: bool = False
    """Print one JSON object instead of text."""


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
    """Adapters to compare with the frozen generator, each as name=place."""
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


WorldCommand = (
    Annotated[WorldMake, subcommand("make", prefix_name=False)]
    | Annotated[WorldShow, subcommand("show", prefix_name=False)]
    | Annotated[WorldMeasure, subcommand("measure", prefix_name=False)]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The simulated world: clips whose physics is known."""

    command: Annotated[WorldCommand, arg(name="")]


ExperimentCommand = (
    Annotated[ExperimentLaws, subcommand("laws", prefix_name=False)]
    | Annotated[ExperimentMeasures, subcommand("measures", prefix_name=False)]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """Run a benchmark on the simulated world."""

    command: Annotated[ExperimentCommand, arg(name="")]


Command = (
    Annotated[GenerateRequest, subcommand("generate", prefix_name=False)]
    | Annotated[Label, subcommand("label", prefix_name=False)]
    | Annotated[World, subcommand("world", prefix_name=False)]
    | Annotated[Train, subcommand("train", prefix_name=False)]
    | Annotated[Experiment, subcommand("experiment", prefix_name=False)]
)

CONFIG = (tyro.conf.FlagCreatePairsOff, tyro.conf.OmitSubcommandPrefixes)
"""How tyro reads `Command`: --flag without --no-flag, and plain option names everywhere."""


def main() -> None:
    """Entry point of the console script."""
    sys.exit(run(sys.argv[1:]))


def run(args: Sequence[str]) -> int:
    """Run one command and return its exit code; argument errors and --help exit by themselves."""
    if list(args) == ["--version"]:
        print(f"pila {__version__}")
        return 0
    command: Any = tyro.cli(
        Command,  # pyright: ignore[reportArgumentType]
        prog="pila",
        description="Physics for frozen Wan video generators.",
        args=list(args),
        config=CONFIG,
    )
    if isinstance(command, World | Experiment):
        command = command.command
    logging.basicConfig(stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("pila").setLevel(
        logging.INFO
        if isinstance(command, Train | WorldMake | ExperimentLaws | ExperimentMeasures)
        else logging.WARNING
    )
    try:
        _COMMANDS[type(command)](command)
    except InputError as error:
        print("error:", " ".join(str(error).split()), file=sys.stderr)
        return 2
    except FloatingPointError as error:
        print("error:", error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; nothing half-written is left", file=sys.stderr)
        return 130
    return 0


def _generate(request: GenerateRequest) -> None:
    from pila.generate import generate

    report = generate(request)
    if request.json:
        print(json.dumps(asdict(report)))
        return
    settings, seconds = report.settings, report.seconds
    print(f"prompt      {report.prompt}")
    _print_parse(asdict(report))
    routed = sorted(report.routing.items(), key=lambda item: -item[1])
    if routed:
        print("routing     " + ", ".join(f"{name} {w:.2f}" for name, w in routed if w > 0))
    print(f"correction  {report.correction_rms:.4f} RMS (latents have about 1)")
    for clip, laws in report.laws.items():
        print(f"laws        {clip:<7}" + ", ".join(f"{k} {v:.3f}" for k, v in laws.items()))
    if report.laws:
        print(f"            errors of scene {report.scene}, measured on the frames; 0 is perfect")
    print(
        f"sampled     {settings['num_frames']} frames of {settings['width']} x "
        f"{settings['height']}, {settings['steps']} steps, guidance {settings['guidance_scale']}, "
        f"seed {settings['seed']}, {settings['device']} {settings['dtype']}"
    )
    print("seconds     " + ", ".join(f"{name} {value:.1f}" for name, value in seconds.items()))
    for name, value in report.files.items():
        for path in [value] if isinstance(value, str) else value:
            print(f"{name:<11} {path}")


def _print_parse(parse: dict[str, Any]) -> None:
    note = f" ({parse['note']})" if parse["note"] else ""
    print(f"refined     {parse['refined_prompt']}")
    print(f"parser      {parse['parser']}{note}")
    for name in parse["categories"]:
        words = ", ".join(parse["evidence"].get(name, []))
        print(f"category    {name}" + (f": {words}" if words else ""))
    if not parse["categories"]:
        print("category    none found; routing goes without a label prior")


def _label(command: Label) -> None:
    from pila.labels.parser import make_parser

    parse = make_parser(command.parser)(command.prompt).to_dict()
    if command.json:
        print(json.dumps({"prompt": command.prompt, **parse}))
    else:
        _print_parse(parse)


def _world_make(command: WorldMake) -> None:
    from pila.labels.parser import parse_categories
    from pila.world import make_clips

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
    print(f"{command.clips} clips in {command.out}")


def _world_show(command: WorldShow) -> None:
    from pila.world import write_sheet

    rows = write_sheet(
        command.out,
        None if command.scene is None else [command.scene],
        violations=not command.true_only,
        seed=command.seed,
    )
    print(f"{rows} clips in {command.out}")


def _world_measure(command: WorldMeasure) -> None:
    from pila.video import read_video
    from pila.world import measure, scene_named

    scene_named(command.scene)
    laws = measure(command.scene, read_video(command.video))
    if command.json:
        print(json.dumps({"video": str(command.video), "scene": command.scene, "laws": laws}))
        return
    for name, value in laws.items():
        print(f"{name:<24}{value:.4f}")


def _train(command: Train) -> None:
    from pila.train import run as train

    trained = train(
        command.recipe,
        command.output,
        max_steps=command.max_steps,
        checkpoint_every=command.checkpoint_every,
        seed=command.seed,
        dry_run=command.dry_run,
        json=command.json,
    )
    if command.dry_run:
        return
    if command.json:
        print(json.dumps({"recipe": command.recipe, "trained": trained and str(trained)}))
    else:
        print(f"trained: {trained}" if trained else f"stopped early; {command.output} resumes")


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


_COMMANDS: dict[type, Callable[[Any], None]] = {
    GenerateRequest: _generate,
    Label: _label,
    WorldMake: _world_make,
    WorldShow: _world_show,
    WorldMeasure: _world_measure,
    Train: _train,
    ExperimentLaws: _experiment_laws,
    ExperimentMeasures: _experiment_measures,
}
