"""The command line: subcommands, their printing and their exit codes; nothing else.

0 is success, 2 a user's mistake (`error: ...`, one line), 130 an interrupt, 1 anything else.
"""

import json
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

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
class Experiment:
    """Run a benchmark on the simulated world: frozen, with each adapter, and true clips.

    laws: errors of physical laws on held-out prompts, the same noise for every method. What was
    generated before under the same settings is kept.
    """

    name: Positional[Literal["laws"]]
    """Which one."""
    output: Path = Path("experiments/laws")
    """Folder for results.json, results.md and clips.jsonl."""
    model: str = "embedded"
    """embedded, or a folder of a model trained on the simulated world."""
    adapters: tuple[str, ...] = ("pila=embedded",)
    """Adapters to compare with the frozen generator, each as name=place."""
    prompts: int = 102
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


WorldCommand = (
    Annotated[WorldMake, subcommand("make", prefix_name=False)]
    | Annotated[WorldMeasure, subcommand("measure", prefix_name=False)]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The simulated world: clips whose physics is known."""

    command: Annotated[WorldCommand, arg(name="")]


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
    if isinstance(command, World):
        command = command.command
    logging.basicConfig(stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("pila").setLevel(
        logging.INFO if isinstance(command, Train | WorldMake | Experiment) else logging.WARNING
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
    )
    print(f"{command.clips} clips in {command.out}")


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


def _experiment(command: Experiment) -> None:
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
    WorldMeasure: _world_measure,
    Train: _train,
    Experiment: _experiment,
}
