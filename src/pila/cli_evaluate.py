"""`pila evaluate`: the field's benchmarks, step by step. Light until a command runs."""

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg, subcommand

from pila.request import GenerateRequest, ParserName


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompts:
    """Read the official prompts and write the list that the other steps take."""

    source: str | None = None
    """A checkout of the benchmark's repository, its file, or a data set's id. VideoPhy's and
    VideoPhy-2's come from Hugging Face by default."""
    out: Path = Path("prompts.json")
    """The list."""
    dimensions: tuple[str, ...] = ()
    """Of VBench-2.0; Dynamic_Spatial_Relationship, Mechanics, Material and Motion_Rationality by
    default."""
    hard: bool = False
    """VideoPhy-2's hard subset alone."""
    json: bool = False
    """Print one JSON object instead of text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Generate:
    """Make every method's clips from the same noise, under the official names.

    What is there is kept; torchrun spreads it over processes. Sizes, steps and guidance default to
    the model's own.
    """

    prompts: Path
    """The list that the prompts step wrote."""
    output: Path
    """Each method gets a folder below it."""
    model: str = "embedded"
    """embedded, a folder with a diffusers Wan repository, or a hub id (owner/name)."""
    adapters: tuple[str, ...] = ()
    """Adapters, each as name=place."""
    without_frozen: bool = False
    """Leave the generator without an adapter out."""
    seed: int = 0
    """Clips of a prompt and sample have the same noise in all methods."""
    steps: int | None = None
    """Denoising steps."""
    guidance_scale: float | None = None
    """Classifier-free guidance; 1 is none."""
    height: int | None = None
    """Pixels."""
    width: int | None = None
    """Pixels."""
    num_frames: int | None = None
    """Frames, 4 n + 1."""
    negative_prompt: str | None = None
    """What guidance leads away from."""
    adapter_scale: float = 1.0
    """Factor on the correction."""
    step_window: str | None = None
    """First and last denoising step to correct, such as 1-50."""
    top_k: int | None = None
    """Number of routed experts, 0 to 8."""
    parser: ParserName = "offline"
    """Who finds the prompts' categories."""
    reference: Literal["guided", "cond"] = "guided"
    """The velocity that the adapter reads."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1 ...; under torchrun each process takes its own."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Of the denoiser."""
    offload: Literal["none", "model", "group", "sequential"] = "none"
    """Keep what is not at work in main memory; needs CUDA."""
    json: bool = False
    """Print one JSON object instead of text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeStep:
    """Ask a judge about every clip of a method; answers are kept, so the same command goes on.

    Questions are this project's own, so scores are not the official judge's. To use its files,
    go straight to aggregate.
    """

    videos: Positional[Path]
    """The folder with one method's clips."""
    prompts: Path
    """The list that the prompts step wrote."""
    out: Path
    """Folder for files in the official form, each with a record of how it was judged."""
    judge: Literal["server", "local"] = "server"
    """server: any OpenAI-compatible one that takes images. local: a vision-language model here."""
    judge_model: str | None = None
    """The server's name for it (else PILA_JUDGE_MODEL), or a folder or hub id for local."""
    base_url: str | None = None
    """The server's address (else PILA_JUDGE_BASE_URL); its key is PILA_JUDGE_API_KEY."""
    timeout: float = 120.0
    """Seconds that a server may take for an answer."""
    retries: int = 3
    """Further requests after a time-out or an overload."""
    way: Literal["write", "choose"] = "write"
    """local: write an answer, or choose the likeliest of those that fit."""
    device: str = "auto"
    """local: cpu, cuda, cuda:N, or auto."""
    frames: int | None = None
    """Sampled from each clip; the official judge's number by default."""
    tasks: tuple[Literal["sa", "pc", "rule"], ...] = ("sa", "pc", "rule")
    """Of VideoPhy-2."""
    route: Literal["closed", "open"] = "closed"
    """Of PhyGenBench: whose part the judge plays."""
    model_name: str | None = None
    """PhyGenBench's name for the method; the folder's by default."""
    official_parser: bool = False
    """Read answers as VideoPhy-2's and VBench-2.0's own scripts do, loosely."""
    json: bool = False
    """Print one JSON object instead of text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compare:
    """Put results beside each other, with paired differences and the paper's numbers."""

    results: Positional[tuple[Path, ...]]
    """Files that the aggregate step wrote with --out, one for each method."""
    out: Path | None = None
    """Folder for compare.json, compare.md and compare.csv."""
    baseline: str | None = None
    """The method that others are compared with; the first by default."""
    force: bool = False
    """Compare results of different protocols, and mark the table."""
    json: bool = False
    """Print one JSON object instead of the table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Aggregate:
    """Scores with intervals from judged files."""

    method: str | None = None
    """How tables call it."""
    judge_name: str | None = None
    """Who judged, for files without a record."""
    out: Path | None = None
    """Result file for the compare step."""
    json: bool = False
    """Print one JSON object instead of text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregateVideoPhy2(_Aggregate):
    """Joint, SA, PC and rules from the judge's CSV files, joined by the clip's path."""

    sa: Path
    """Columns videopath, caption, score."""
    pc: Path
    """The same."""
    rule: Path | None = None
    """Columns videopath, rule, score."""
    prompts: Path | None = None
    """The list that the prompts step wrote; then every clip of it must be judged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregateVideoPhy(_Aggregate):
    """Shares of clips that adhere, from the judge's CSV files, joined by the clip's path."""

    sa: Path
    """Clip, question, chance of yes; without a header, as officially."""
    pc: Path
    """The same."""
    threshold: float = 0.5
    """Chance from which a clip adheres."""
    prompts: Path | None = None
    """The list that the prompts step wrote; then every clip of it must be judged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregatePhyGenBench(_Aggregate):
    """Closed, open and average scores of an official per-model result file."""

    file: Positional[Path]
    """result/<model>.json; with --stages it is written."""
    model_name: str | None = None
    """Whose routes are read, where a file has several."""
    routes: tuple[Literal["closed", "open", "average"], ...] = ("closed", "open", "average")
    """Which of them."""
    stages: tuple[str, ...] = ()
    """Raw judge files to make FILE from, each as stage=path: single, multi_gpt, multi_llava,
    video_gpt, video_intern."""
    partial: bool = False
    """Count what is there where prompts are missing, and say so."""
    prompts: Path | None = None
    """The list that the prompts step wrote, to check captions against."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregateVBench2(_Aggregate):
    """Dimensions and categories of an official *_eval_results.json."""

    file: Positional[Path]
    """{dimension: [score, [{video_path, video_results}]]}."""
    partial: bool = False
    """Count what is there where clips are missing, and say so."""
    prompts: Path | None = None
    """The list that the prompts step wrote; then every clip of it must be judged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeImaging:
    """Score all frames of a folder's videos with MUSIQ-SPAQ; needs pip install 'pila[imaging]'."""

    videos: Positional[Path]
    """The folder."""
    out: Path = Path("imaging.json")
    """The file, in VBench's form."""
    device: str = "auto"
    """cpu, cuda, cuda:N, or auto."""
    json: bool = False
    """Print one JSON object instead of text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregateImaging(_Aggregate):
    """The mean over videos, over 100."""

    file: Positional[Path]
    """A file of the judge step, or of VBench."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelParser:
    """How a label parser agrees with the laws that other prompts were written for."""

    phygenbench: Path | None = None
    """A checkout of PhyGenBench."""
    wisa: Path | None = None
    """WISA-80K's folder, or its JSON list."""
    most: int | None = None
    """Captions of each WISA law; all by default."""
    parser: ParserName = "offline"
    """Which parser."""
    json: bool = False
    """Print one JSON object instead of the tables."""


_Prompts = Annotated[Prompts, subcommand("prompts", prefix_name=False)]
_Generate = Annotated[Generate, subcommand("generate", prefix_name=False)]
_Judge = Annotated[JudgeStep, subcommand("judge", prefix_name=False)]
_Compare = Annotated[Compare, subcommand("compare", prefix_name=False)]


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoPhy2:
    """VideoPhy-2: 590 prompts; semantics, physics and rules, judged 1 to 5."""

    command: Annotated[
        _Prompts
        | _Generate
        | _Judge
        | Annotated[AggregateVideoPhy2, subcommand("aggregate", prefix_name=False)]
        | _Compare,
        arg(name=""),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoPhy:
    """VideoPhy: 344 public prompts; semantics and physics, yes or no."""

    command: Annotated[
        _Prompts
        | _Generate
        | _Judge
        | Annotated[AggregateVideoPhy, subcommand("aggregate", prefix_name=False)]
        | _Compare,
        arg(name=""),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class PhyGenBench:
    """PhyGenBench: 160 prompts of 27 laws in four domains, three stages of 0 to 3."""

    command: Annotated[
        _Prompts
        | _Generate
        | _Judge
        | Annotated[AggregatePhyGenBench, subcommand("aggregate", prefix_name=False)]
        | _Compare,
        arg(name=""),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class VBench2:
    """VBench-2.0: four dimensions by yes-or-no questions, three clips of each prompt."""

    command: Annotated[
        _Prompts
        | _Generate
        | _Judge
        | Annotated[AggregateVBench2, subcommand("aggregate", prefix_name=False)]
        | _Compare,
        arg(name=""),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Imaging:
    """VBench's imaging quality of any folder of videos."""

    command: Annotated[
        Annotated[JudgeImaging, subcommand("judge", prefix_name=False)]
        | Annotated[AggregateImaging, subcommand("aggregate", prefix_name=False)]
        | _Compare,
        arg(name=""),
    ]


_Benchmark = (
    Annotated[VideoPhy2, subcommand("videophy2", prefix_name=False)]
    | Annotated[VideoPhy, subcommand("videophy", prefix_name=False)]
    | Annotated[PhyGenBench, subcommand("phygenbench", prefix_name=False)]
    | Annotated[VBench2, subcommand("vbench2", prefix_name=False)]
    | Annotated[Imaging, subcommand("imaging", prefix_name=False)]
    | Annotated[LabelParser, subcommand("labels", prefix_name=False)]
)
_NAMES: dict[type, str] = {
    VideoPhy2: "videophy2",
    VideoPhy: "videophy",
    PhyGenBench: "phygenbench",
    VBench2: "vbench2",
    Imaging: "imaging",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluate:
    """The field's benchmarks: prompts, generate, judge, aggregate, compare."""

    benchmark: Annotated[_Benchmark, arg(name="")]


def evaluate(command: Evaluate) -> None:
    """Run one step of one benchmark."""
    benchmark: Any = command.benchmark
    if isinstance(benchmark, LabelParser):
        _labels(benchmark)
        return
    _STEPS[type(benchmark.command)](_NAMES[type(benchmark)], benchmark.command)


def _prompts(benchmark: str, command: Prompts) -> None:
    from pila.benchmark import make_prompts

    made = make_prompts(
        benchmark, command.source, command.out, part=command.dimensions, hard=command.hard
    )
    about = {"prompts": len(made.items), "clips": len(made.files), "digest": made.digest}
    if command.json:
        print(json.dumps({"benchmark": benchmark, "file": str(command.out), **about}))
    else:
        print(f"{about['prompts']} prompts, {about['clips']} clips each method: {command.out}")


def _generate(benchmark: str, command: Generate) -> None:
    from pila.benchmark import make_clips

    given = asdict(command)
    own = {name: given.pop(name) for name in ("prompts", "output", "adapters", "without_frozen")}
    made = make_clips(
        benchmark,
        own["prompts"],
        own["output"],
        GenerateRequest(prompt=benchmark, **given),
        adapters=own["adapters"],
        frozen=not own["without_frozen"],
    )
    if int(os.environ.get("RANK", "0")):
        return
    if command.json:
        print(json.dumps([asdict(one) for one in made]))
        return
    for one in made:
        print(f"{one.folder}: {one.made} clips made here, {one.kept} were there, of {one.total}")


def _judge(benchmark: str, command: JudgeStep) -> None:
    from pila.benchmark import judge_clips

    written = judge_clips(
        benchmark,
        command.prompts,
        command.videos,
        command.out,
        _make_judge(command),
        frames=command.frames,
        tasks=command.tasks,
        route=command.route,
        model_name=command.model_name,
        official_parser=command.official_parser,
    )
    names = [str(path) for path in written]
    print(
        json.dumps({"benchmark": benchmark, "files": names}) if command.json else "\n".join(names)
    )


def _make_judge(command: JudgeStep) -> Any:
    if command.judge == "server":
        from pila.evaluate.judges.server import ServerConfig, ServerJudge

        options = {"timeout": command.timeout, "retries": command.retries}
        return ServerJudge(ServerConfig.resolve(command.base_url, command.judge_model, **options))
    from pila.errors import InputError
    from pila.evaluate.judges.local import LocalJudge

    if command.judge_model is None:
        raise InputError("no judge model is named (0 of 1); give --judge-model, a folder or hub id")
    return LocalJudge(command.judge_model, device=command.device, way=command.way)


def _judge_imaging(benchmark: str, command: JudgeImaging) -> None:
    from tqdm import tqdm

    from pila.evaluate.benchmarks import imaging
    from pila.plan import check_writable

    check_writable(command.out.parent)
    imaging.videos_in(command.videos)
    content = imaging.judge(
        command.videos,
        command.out,
        imaging.Musiq(command.device),
        progress=lambda paths: tqdm(paths, unit="video", disable=None),
    )
    mean, videos = content[imaging.DIMENSION]
    print(json.dumps(content) if command.json else f"{mean:.4f} over {len(videos)} videos")


def _aggregate_videophy2(benchmark: str, command: AggregateVideoPhy2) -> None:
    from pila.benchmark import listed_prompts
    from pila.evaluate.benchmarks import videophy2

    result = videophy2.aggregate(
        sa=command.sa,
        pc=command.pc,
        rule=command.rule,
        method=command.method,
        prompts=listed_prompts(command.prompts, benchmark),
        judge=command.judge_name,
    )
    _finish(benchmark, command, result)


def _aggregate_videophy(benchmark: str, command: AggregateVideoPhy) -> None:
    from pila.benchmark import listed_prompts
    from pila.evaluate.benchmarks import videophy

    result = videophy.aggregate(
        sa=command.sa,
        pc=command.pc,
        threshold=command.threshold,
        method=command.method,
        prompts=listed_prompts(command.prompts, benchmark),
        judge=command.judge_name,
    )
    _finish(benchmark, command, result)


def _aggregate_phygenbench(benchmark: str, command: AggregatePhyGenBench) -> None:
    from pila.benchmark import combine_stages, listed_prompts
    from pila.evaluate.benchmarks import phygenbench

    if command.stages:
        files = {
            stage: Path(path) for stage, _, path in (pair.partition("=") for pair in command.stages)
        }
        for note in combine_stages(files, command.model_name or "model", command.file):
            _say(note)
    result = phygenbench.aggregate(
        command.file,
        method=command.method,
        model_name=command.model_name,
        routes=command.routes,
        partial=command.partial,
        prompts=listed_prompts(command.prompts, benchmark),
        judge=command.judge_name,
    )
    _finish(benchmark, command, result)


def _aggregate_vbench2(benchmark: str, command: AggregateVBench2) -> None:
    from pila.benchmark import listed_prompts
    from pila.evaluate.benchmarks import vbench2

    result = vbench2.aggregate(
        command.file,
        method=command.method,
        partial=command.partial,
        prompts=listed_prompts(command.prompts, benchmark),
        judge=command.judge_name,
    )
    _finish(benchmark, command, result)


def _aggregate_imaging(benchmark: str, command: AggregateImaging) -> None:
    from pila.evaluate.benchmarks import imaging

    result = imaging.aggregate(command.file, method=command.method, judge=command.judge_name)
    _finish(benchmark, command, result)


def _finish(benchmark: str, command: _Aggregate, result: Any) -> None:
    """Write and print a result; notes go to the error stream where stdout has no place."""
    from pila.benchmark import AS_JSON, keep_result

    keep_result(result, command.out)
    if command.json:
        print(json.dumps(AS_JSON[benchmark](result)))
    else:
        for name in result.names:
            print(f"{name:<32}{result.estimate(name)}")
    for note in result.notes:
        _say(note)


def _say(note: str) -> None:
    import sys

    print("note:", note, file=sys.stderr)


def _compare(benchmark: str, command: Compare) -> None:
    from pila.benchmark import compare_results
    from pila.evaluate.benchmarks.compare import markdown

    table = compare_results(
        benchmark, command.results, command.out, baseline=command.baseline, force=command.force
    )
    print(json.dumps(table) if command.json else markdown(table).rstrip())


def _labels(command: LabelParser) -> None:
    from pila.errors import InputError
    from pila.evaluate.label_parser import agreement, phygenbench_cases, table, wisa_cases
    from pila.labels.parser import make_parser

    if command.phygenbench is None and command.wisa is None:
        raise InputError("labels has 0 sets of prompts; give --phygenbench or --wisa")
    if command.most is not None and command.most < 1:
        raise InputError(f"most is {command.most}; take at least 1")
    cases = {}
    if command.phygenbench is not None:
        cases["phygenbench"] = phygenbench_cases(command.phygenbench)
    if command.wisa is not None:
        cases["wisa"] = wisa_cases(command.wisa, most=command.most)
    parser = make_parser(command.parser)
    reports = {name: agreement(some, parser) for name, some in cases.items()}
    if command.json:
        print(json.dumps({"parser": command.parser, **reports}))
        return
    for name, report in reports.items():
        print(f"{name}, {command.parser} parser: {table(report)}\n")


_STEPS: dict[type, Callable[[str, Any], None]] = {
    Prompts: _prompts,
    Generate: _generate,
    JudgeStep: _judge,
    JudgeImaging: _judge_imaging,
    AggregateVideoPhy2: _aggregate_videophy2,
    AggregateVideoPhy: _aggregate_videophy,
    AggregatePhyGenBench: _aggregate_phygenbench,
    AggregateVBench2: _aggregate_vbench2,
    AggregateImaging: _aggregate_imaging,
    Compare: _compare,
}
