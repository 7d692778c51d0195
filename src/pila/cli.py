"""The command line: subcommands, their printing and their exit codes; nothing else.

0 is success, 2 a user's mistake (`error: ...`, one line), 130 an interrupt, 1 anything else.
"""

import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from tyro.conf import Positional, arg, subcommand

from pila import __version__
from pila.cli_experiment import COMMANDS as EXPERIMENT_COMMANDS
from pila.cli_experiment import Experiment
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
    model: str | None = None
    """The generator to train an adapter for, a folder or a hub id; the recipe's own by default."""
    data: Path | None = None
    """A latent cache made with that model (`pila data cache`); the recipe's clips by default."""
    start: str | None = None
    """The adapter to go on from, a folder or a hub id; untrained by default."""
    dry_run: bool = False
    """Print the whole configuration and train nothing."""
    json: bool = False
    """Print one JSON object instead of text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataWisa:
    """Read WISA-80K as published: filter it, relabel it, and report what it holds."""

    folder: Positional[Path]
    """The data set's folder, with data/wisa-80k.json and archives or videos below."""
    out: Path | None = None
    """Write the usable clips as CSV: name, file, member, caption, categories."""
    annotations: Path | None = None
    """The JSON list, if it lies elsewhere."""
    mapping: Path | None = None
    """JSON or CSV file that overrules what laws mean in categories; see docs/wisa.md."""
    parser: ParserName = "offline"
    """Who reads the captions' categories; llm asks a language model for every caption, as
    `pila label` does."""
    duration: tuple[float, float] = (2.0, 10.0)
    """Shortest and longest clip in seconds."""
    width: tuple[float, float] = (720.0, 3000.0)
    """Narrowest and widest clip in pixels, as the records state it."""
    text_boxes: int = 1
    """Most boxes of text in the picture."""
    still_below: float = 0.1
    """Motion score under which a clip gets no category of motion; 0 never."""
    processes: int = 2
    """Captions parsed at once."""
    json: bool = False
    """Print one JSON object instead of text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataReplica:
    """Write a small replica of WISA-80K's format from the simulated world, faults included."""

    folder: Positional[Path]
    """A folder that does not exist, or is empty."""
    clips: int = 44
    """Sound clips; about a dozen faulty ones are added."""
    seed: int = 0
    """Another seed gives other clips."""
    size: int = 96
    """Height and width of the clips in pixels, a multiple of 16."""
    archives: int = 4
    """Zip archives that can be read; one more is broken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataCache:
    """Make a data set's latent cache; the same command again goes on.

    torchrun and accelerate spread it over processes and machines (docs/latents.md).
    """

    source: Positional[str]
    """A folder in WISA-80K's form, a CSV that lists videos, or `world`."""
    out: Path
    """The cache's folder."""
    model: str = "embedded"
    """Whose VAE and text encoder are used: embedded, a folder, or a hub id."""
    height: int | None = None
    """In pixels; the model's own by default."""
    width: int | None = None
    """In pixels; the model's own by default."""
    num_frames: int | None = None
    """4 n + 1; the model's own by default."""
    fps: float | None = None
    """Frames per second; the model's own by default."""
    root: Path | None = None
    """The folder with a CSV's videos; its own by default."""
    clips: int | None = None
    """Clips of the world."""
    scenes: tuple[str, ...] = ()
    """Scenes of the world; those that the model knows by default."""
    violations: float | None = None
    """Share of the world's clips that break a law, 0 to 1."""
    processes: int = 2
    """Processes that read clips and estimate flow, beside the one that encodes."""
    shard_clips: int = 64
    """Clips in a shard."""
    device: str = "auto"
    """cpu, cuda, cuda:N, or auto; each process on a machine takes its own accelerator."""
    dry_run: bool = False
    """Measure the first clips, state the size and time of all, and write nothing."""
    json: bool = False
    """Print one JSON object instead of text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataVerify:
    """Compute the checksum of every clip in a latent cache anew."""

    folder: Positional[Path]
    """The cache's folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataMaps:
    """Make the token maps that ProPhy is trained on, beside a latent cache; again, it goes on.

    Where a vision-language model looks while it describes each annotated phenomenon; or, for clips
    of the simulated world alone, where the true fields are active.
    """

    folder: Positional[Path]
    """The cache's folder."""
    vlm: str | None = None
    """Folder or hub id of a Qwen2.5-VL model; without it the true fields are taken."""
    source: str | None = None
    """What the cache was made of, as `pila data cache` was told; the model looks at its videos."""
    root: Path | None = None
    """The folder with a CSV's videos; its own by default."""
    device: str = "auto"
    """cpu, cuda, cuda:N, or auto; each process on a machine takes its own accelerator."""
    processes: int = 2
    """Processes that simulate, where true fields are taken."""
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


DataCommand = (
    Annotated[DataWisa, subcommand("wisa", prefix_name=False)]
    | Annotated[DataReplica, subcommand("replica", prefix_name=False)]
    | Annotated[DataCache, subcommand("cache", prefix_name=False)]
    | Annotated[DataVerify, subcommand("verify", prefix_name=False)]
    | Annotated[DataMaps, subcommand("maps", prefix_name=False)]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """Data sets of videos to train on."""

    command: Annotated[DataCommand, arg(name="")]


Command = (
    Annotated[GenerateRequest, subcommand("generate", prefix_name=False)]
    | Annotated[Label, subcommand("label", prefix_name=False)]
    | Annotated[World, subcommand("world", prefix_name=False)]
    | Annotated[Data, subcommand("data", prefix_name=False)]
    | Annotated[Train, subcommand("train", prefix_name=False)]
    | Annotated[Experiment, subcommand("experiment", prefix_name=False)]
)

CONFIG = (tyro.conf.FlagCreatePairsOff, tyro.conf.OmitSubcommandPrefixes)
"""How tyro reads `Command`: --flag without --no-flag, and plain option names everywhere."""


_ODD_SHOWN = 10
"""Odd strings of a data set that are printed."""


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
    if isinstance(command, World | Data | Experiment):
        command = command.command
    logging.basicConfig(stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("pila").setLevel(
        logging.INFO
        if isinstance(command, Train | WorldMake) or type(command) in EXPERIMENT_COMMANDS
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


def _data_wisa(command: DataWisa) -> None:
    from pila.data.listing import write_csv
    from pila.data.wisa import Filters, WisaSource
    from pila.labels.parser import make_parser

    source = WisaSource(
        command.folder,
        annotations=command.annotations,
        mapping=command.mapping,
        parser=make_parser(command.parser),
        filters=Filters(
            duration=command.duration, width=command.width, text_boxes=command.text_boxes
        ),
        still_below=command.still_below,
        processes=command.processes,
    )
    report = source.report
    if command.out is not None:
        write_csv(command.out, source.records(), source.root)
    if command.json:
        print(json.dumps({**asdict(report), "identity": source.identity}))
        return
    print(f"records     {report.records} in {source.annotations}")
    print(
        f"videos      {report.archives} archives read, {report.copies} further copies, "
        f"{report.unlisted} without a record"
    )
    for place, why in report.broken.items():
        print(f"broken      {place} {why}")
    print(f"usable      {report.usable}")
    for why, count in report.excluded.items():
        print(f"excluded    {count} {why}")
    for name, count in report.categories.items():
        print(f"category    {name} {count}")
    for name, count in report.laws.items():
        print(f"law         {name}: label {count['label']}, annotation {count['annotation']}")
    for title, odd in (("repaired", report.repaired), ("unread", report.unread)):
        for text, count in list(odd.items())[:_ODD_SHOWN]:
            print(f"{title:<11} {text} {count}")
        if len(odd) > _ODD_SHOWN:
            print(f"{title:<11} and {len(odd) - _ODD_SHOWN} other strings; --json has them all")
    if command.out is not None:
        print(f"list        {command.out}")


def _data_replica(command: DataReplica) -> None:
    from pila.data.replica import write_replica

    replica = write_replica(
        command.folder,
        command.clips,
        seed=command.seed,
        size=command.size,
        archives=command.archives,
    )
    faults = len(replica.faulty)
    print(f"{len(replica.sound)} sound clips and {faults} faults in {command.folder}")


def _data_cache(command: DataCache) -> None:
    from pila.backbones.embedded import find_model
    from pila.backbones.repository import read_json
    from pila.data.encoders import ModelFacts
    from pila.data.records import View
    from pila.data.shards import estimate, write_shards
    from pila.data.sources import WORLD, find_source
    from pila.plan import WAN_SAMPLING

    folder = find_model(command.model)
    facts = ModelFacts.of(folder)
    own = read_json(folder / "pila.json") if (folder / "pila.json").is_file() else {}
    sizes = {name: WAN_SAMPLING[name] for name in ("height", "width", "num_frames", "fps")}
    sizes |= {name: own[name] for name in sizes if name in own}
    asked = {name: getattr(command, name) for name in sizes}
    view = View(**sizes | {name: value for name, value in asked.items() if value is not None})
    known = tuple(own.get("scenes", ())) if command.source == WORLD else ()
    source = find_source(
        command.source,
        facts=facts,
        view=view,
        root=command.root,
        clips=command.clips,
        scenes=command.scenes or known,
        violations=command.violations,
    )
    how: Any = {
        "model": folder,
        "view": view,
        "processes": command.processes,
        "device": command.device,
    }
    if command.dry_run:
        cost = estimate(source, **how)
        if command.json:
            print(json.dumps(asdict(cost)))
            return
        each = ", ".join(f"{what} {seconds:.2f}" for what, seconds in cost.seconds.items())
        print(f"measured    {cost.measured} clips of {cost.records}, {cost.excluded} unusable")
        print(f"a clip      {cost.bytes_per_clip:,.0f} bytes; seconds: {each}")
        print(f"all clips   {cost.bytes / 1e9:.2f} GB, {cost.hours:.2f} h")
        return
    done = write_shards(source, command.out, shard_clips=command.shard_clips, **how)
    if int(os.environ.get("RANK", "0")):
        return
    if command.json:
        print(json.dumps(asdict(done)))
        return
    left_out = sum(done.excluded.values())
    why = ", ".join(f"{count} {reason}" for reason, count in done.excluded.items())
    rate = f"{done.made / done.seconds:.2f} clips a second" if done.made else "nothing was missing"
    print(
        f"{done.clips} clips in {command.out}, {left_out} excluded{f' ({why})' if why else ''}, "
        f"{done.bytes / max(1, done.clips):,.0f} bytes a clip, {rate}"
    )


def _data_verify(command: DataVerify) -> None:
    from pila.data.shards import Shards, verify

    if wrong := verify(command.folder):
        for line in wrong:
            print(line)
        raise InputError(
            f"{command.folder} has {len(wrong)} faults; delete the shards that are named, each "
            "with its .json, and make the cache again"
        )
    print(f"{len(Shards(command.folder))} clips in {command.folder}, all as they were written")


def _data_maps(command: DataMaps) -> None:
    from pila.prophy.maps import write_maps

    if command.vlm is None:
        from pila.prophy.active import ActiveMaps

        if command.source is not None:
            raise InputError(
                f"source is {command.source}, but without --vlm the maps come from true fields; "
                "name a model, or leave the source out"
            )
        maker: Any = ActiveMaps(processes=command.processes)
    else:
        from pila.backbones.embedded import find_device, find_model
        from pila.data.sources import find_videos
        from pila.prophy.attention import AttentionMaps, VideoAttention

        if command.source is None:
            raise InputError(
                "--vlm looks at the videos that the cache was made of; name them with --source"
            )
        source = find_videos(command.source, root=command.root)
        reader = VideoAttention.load(find_model(command.vlm), device=find_device(command.device))
        maker = AttentionMaps(reader, source)
    done = write_maps(command.folder, maker)
    if command.json:
        print(json.dumps(asdict(done)))
        return
    left_out = sum(done.excluded.values())
    why = ", ".join(f"{count} {reason}" for reason, count in done.excluded.items())
    print(
        f"maps of {done.clips} clips in {command.folder}, {left_out} excluded"
        f"{f' ({why})' if why else ''}, {done.missing} shards left to other processes"
    )


def _train(command: Train) -> None:
    from pila.train import run as train

    trained = train(
        command.recipe,
        command.output,
        max_steps=command.max_steps,
        checkpoint_every=command.checkpoint_every,
        seed=command.seed,
        model=command.model,
        data=command.data,
        start=command.start,
        dry_run=command.dry_run,
        json=command.json,
    )
    if command.dry_run:
        return
    if command.json:
        print(json.dumps({"recipe": command.recipe, "trained": trained and str(trained)}))
    else:
        print(f"trained: {trained}" if trained else f"stopped early; {command.output} resumes")


_COMMANDS: dict[type, Callable[[Any], None]] = {
    GenerateRequest: _generate,
    Label: _label,
    WorldMake: _world_make,
    WorldShow: _world_show,
    WorldMeasure: _world_measure,
    DataWisa: _data_wisa,
    DataReplica: _data_replica,
    DataCache: _data_cache,
    DataVerify: _data_verify,
    DataMaps: _data_maps,
    Train: _train,
    **EXPERIMENT_COMMANDS,
}

if __name__ == "__main__":  # for launchers: torchrun ... -m pila.cli data cache ...
    main()
