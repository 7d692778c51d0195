"""What `pila evaluate` can be asked for. Light, since every start of the command reads it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg, subcommand

from pila.generate.request import ParserName


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
    """What to compare with the frozen generator, each as name=place: adapters, ProPhy branches and
    LoRA updates, several joined by +."""
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
    velocity_source: Literal["guided", "cond"] = "cond"
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
    judge: str = "server"
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
class Aggregate:
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
class AggregateVideoPhy2(Aggregate):
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
class AggregateVideoPhy(Aggregate):
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
class AggregatePhyGenBench(Aggregate):
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
class AggregateVBench2(Aggregate):
    """Dimensions and categories of an official *_eval_results.json."""

    file: Positional[Path]
    """{dimension: [score, [{video_path, video_results}]]}."""
    partial: bool = False
    """Count what is there where clips are missing, and say so."""
    prompts: Path | None = None
    """The list that the prompts step wrote; then every clip of it must be judged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeImaging:
    """Score all frames of a folder's videos with MUSIQ-SPAQ; needs the extra imaging."""

    videos: Positional[Path]
    """The folder."""
    out: Path = Path("imaging.json")
    """The file, in VBench's form."""
    device: str = "auto"
    """cpu, cuda, cuda:N, or auto."""
    json: bool = False
    """Print one JSON object instead of text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregateImaging(Aggregate):
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluate:
    """The field's benchmarks: prompts, generate, judge, aggregate, compare."""

    benchmark: Annotated[_Benchmark, arg(name="")]
