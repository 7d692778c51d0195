"""What `pila generate` can be asked for. Light, since every start of the command reads it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from pila import plugins

if TYPE_CHECKING:
    ParserName = str
else:  # so that a mistype is noticed, and a shell completes it
    ParserName = Literal[("auto", "offline", "llm", *plugins.names("pila.label_parsers"))]
Refinement = Literal["auto", "off", "condition", "generator"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateRequest:
    """Generate a clip from a prompt, its physics corrected by an adapter.

    Sizes, steps and guidance default to the model's own.
    """

    prompt: Positional[str] = ""
    """What the clip shows; needed unless --from gives it."""
    settings_file: Annotated[Path | None, arg(name="from", metavar="FILE")] = None
    """Repeat the clip of a settings file, as every clip gets one beside it. Options that are given
    too take the place of the file's."""
    model: str = "embedded"
    """embedded, a folder with a diffusers Wan repository, or a hub id (owner/name)."""
    adapter: str = "embedded"
    """embedded, a folder, a hub id, or none for the frozen generator alone. The folder of a ProPhy
    branch or of LoRA updates too; several of different kinds joined by +."""
    output: Path = Path("out.mp4")
    """Where the clip goes, and beside it -settings.json, which --from repeats; with --compare
    -frozen.mp4 and -compare.mp4 too."""
    seed: int = 0
    """Seed of the noise; the same one is used for the frozen and the corrected clip."""
    steps: int | None = None
    """Denoising steps."""
    guidance_scale: float | None = None
    """Classifier-free guidance; 1 is none."""
    guidance_scale_2: float | None = None
    """The same of the low-noise denoiser, where a model has two (Wan 2.2 A14B); --guidance-scale by
    default."""
    flow_shift: float | None = None
    """Shift of the noise levels towards noise; the scheduler's own by default. Wan's authors take 5
    at 720 lines and 3 at 480."""
    height: int | None = None
    """Pixels."""
    width: int | None = None
    """Pixels."""
    num_frames: int | None = None
    """Frames, 4 n + 1."""
    fps: float | None = None
    """Frames per second that the file is played at; the model's own by default."""
    negative_prompt: str | None = None
    """What guidance leads away from; wan stands for the text that Wan's authors use."""
    adapter_scale: float = 1.0
    """Factor on the correction; 0 is the frozen generator."""
    step_window: str | None = None
    """First and last denoising step to correct, such as 1-50; all by default."""
    top_k: int | None = None
    """Number of routed experts, 0 to 8; the adapter's own by default."""
    categories: str | None = None
    """Categories, separated by commas, in place of the parser's; none for no prior."""
    parser: ParserName = "auto"
    """Who finds the prompt's categories. llm asks model PILA_LLM_MODEL (else OPENAI_MODEL) at
    PILA_LLM_BASE_URL (else OPENAI_BASE_URL, else OpenAI's own) with PILA_LLM_API_KEY (else
    OPENAI_API_KEY); auto does so where a model is named, and answers offline otherwise."""
    refine: Refinement = "auto"
    """What becomes of a refined prompt: off makes none, condition gives it to the adapter,
    generator to the generator as well. A model that knows its scenes has free prompts completed to
    captions of them; for others the parser refines. auto is generator for the former, off for the
    latter."""
    refined_prompt: str | None = None
    """The refined prompt, in place of one that is made; settings files keep it."""
    velocity_source: Literal["guided", "cond"] = "cond"
    """The velocity that the adapter reads: of the conditional pass, as in training, or guided."""
    invert_experts: bool = False
    """Route ProPhy's experts by the opposite of what their routers say: a diagnostic."""
    compare: bool = False
    """Also write the frozen generator's clip from the same noise, and both beside each other."""
    explain: Path | None = None
    """Folder for pictures of the routing, the bank and where the correction acts."""
    json: bool = False
    """Print one JSON object instead of text."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps ..."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Of the denoiser; auto is bfloat16 on CUDA and float32 elsewhere."""
    offload: Literal["none", "model", "group", "sequential"] = "none"
    """Keep what is not at work in main memory; needs CUDA."""
