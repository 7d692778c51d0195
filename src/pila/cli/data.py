"""`pila data`: data sets read, relabelled and encoded."""

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg, subcommand

from pila.errors import InputError
from pila.generate.request import ParserName

_ODD_SHOWN = 10
"""Odd strings of a data set that are printed."""


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
    json: bool = False
    """Print one JSON object instead of text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataCache:
    """Make a data set's latent cache; the same command again goes on.

    torchrun and accelerate spread it over processes and machines (docs/latents.md).
    """

    source: Positional[str]
    """A list of videos (CSV or .jsonl), a folder with metadata.jsonl, metadata.csv or a .txt beside
    each video, a folder in WISA-80K's form, or `world`."""
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
    """The folder with a list's videos; its own by default."""
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
    json: bool = False
    """Print one JSON object instead of text."""


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
    """The folder with a list's videos; its own by default."""
    device: str = "auto"
    """cpu, cuda, cuda:N, or auto; each process on a machine takes its own accelerator."""
    processes: int = 2
    """Processes that simulate, where true fields are taken."""
    json: bool = False
    """Print one JSON object instead of text."""


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
    from pila.lab.world.replica import write_replica

    replica = write_replica(
        command.folder,
        command.clips,
        seed=command.seed,
        size=command.size,
        archives=command.archives,
    )
    faults = len(replica.faulty)
    if command.json:
        sound = len(replica.sound)
        print(json.dumps({"folder": str(command.folder), "sound": sound, "faults": faults}))
        return
    print(f"{len(replica.sound)} sound clips and {faults} faults in {command.folder}")


def _data_cache(command: DataCache) -> None:
    from pila.data.encoders import ModelFacts
    from pila.data.records import View
    from pila.data.shards import estimate, write_shards
    from pila.data.sources import WORLD, find_source
    from pila.generate.plan import model_sampling
    from pila.pipelines.locate import find_model
    from pila.pipelines.repository import own_settings

    folder = find_model(command.model)
    facts = ModelFacts.of(folder)
    own = model_sampling(folder)
    sizes = {name: own[name] for name in ("height", "width", "num_frames", "fps")}
    asked = {name: getattr(command, name) for name in sizes}
    view = View(**sizes | {name: value for name, value in asked.items() if value is not None})
    known = tuple(own_settings(folder).get("scenes", ())) if command.source == WORLD else ()
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

    wrong = verify(command.folder)
    if command.json:
        clips = len(Shards(command.folder))
        print(json.dumps({"folder": str(command.folder), "clips": clips, "faults": wrong}))
    if wrong:
        for line in () if command.json else wrong:
            print(line)
        raise InputError(
            f"{command.folder} has {len(wrong)} faults; delete the shards that are named, each "
            "with its .json, and make the cache again"
        )
    if not command.json:
        print(f"{len(Shards(command.folder))} clips in {command.folder}, all as they were written")


def _data_maps(command: DataMaps) -> None:
    from pila.prophy.maps import write_maps

    if command.vlm is None:
        from pila.lab.world.activity_maps import ActiveMaps

        if command.source is not None:
            raise InputError(
                f"source is {command.source}, but without --vlm the maps come from true fields; "
                "name a model, or leave the source out"
            )
        maker: Any = ActiveMaps(processes=command.processes)
    else:
        from pila.data.shard_files import read_header
        from pila.data.sources import find_videos
        from pila.pipelines.locate import find_device, find_model
        from pila.prophy.attention import AttentionMaps, VideoAttention

        if command.source is None:
            raise InputError(
                "--vlm looks at the videos that the cache was made of; name them with --source"
            )
        source = find_videos(command.source, root=command.root)
        made_of = read_header(command.folder).source
        if source.identity != made_of:
            raise InputError(
                f"{command.source} is {source.identity}, and {command.folder} was made of "
                f"{made_of}; give the source, --root and labels that the cache was made with"
            )
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


COMMANDS: dict[type, Callable[[Any], int | None]] = {
    DataWisa: _data_wisa,
    DataReplica: _data_replica,
    DataCache: _data_cache,
    DataVerify: _data_verify,
    DataMaps: _data_maps,
}
"""What runs each command."""
