"""From a prompt to files: the frozen and the corrected clip from the same noise, and a report."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from pila import plugins
from pila.data.corpus import WORLD
from pila.errors import InputError
from pila.files import clear_left_over
from pila.generate.plan import Plan, prepare
from pila.generate.request import GenerateRequest
from pila.generate.settings_file import by_hub_ids, settled, write_settings
from pila.labels.parser import Parse, Parser, make_parser
from pila.physics.layout import Category
from pila.pipelines.attachments import (
    adapters_disabled,
    branches_on,
    denoisers_of,
    describe_attached,
)
from pila.pipelines.known import WAN_NEGATIVE_PROMPT
from pila.pipelines.locate import load_pipeline
from pila.pipelines.noise_shift import shifted_noise
from pila.progress import only_own_progress, progress_bar
from pila.threads import sampling_threads
from pila.video import side_by_side, write_video

if TYPE_CHECKING:
    from pila.generate.recorder import Recorder

logger = logging.getLogger(__name__)

FROZEN = "frozen"
OnStep = Callable[[str, int, int], None]
"""`on_step(clip, step, steps)` after each denoising step, counted from 1, of the clip of that name.
What it raises ends the generation, and nothing is written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was done; `asdict` of it is what --json prints."""

    prompt: str
    refined_prompt: str
    """The prompt as a concise description of its physics."""
    drawn_as: str | None
    """The caption that the prompt was completed to, for a model that knows its scenes."""
    hint: str | None
    """What a model that knows its scenes could draw, where the prompt is about none of them."""
    parser: str
    categories: list[str]
    evidence: dict[str, list[str]]
    note: str
    """The parser's: the language model's name, or why another parser answered."""
    routing: dict[str, float]
    """Mean routing weight per category."""
    correction_rms: float
    """Root mean square of g(sigma) dv over the corrected steps; latents have about 1."""
    attached: list[str] = field(default_factory=list)
    """What is to be said of what was put on the model: how many LoRA keys match it."""
    scene: str | None
    """The simulated scene that the prompt asks for, if any."""
    laws: dict[str, dict[str, float]]
    """Law errors of each clip, where a simulated scene was recognised; 0 is perfect physics."""
    files: dict[str, Any]
    settings: dict[str, Any]
    seconds: dict[str, float]


def generate(
    request: GenerateRequest,
    *,
    pipeline: Any = None,
    parser: Parser | None = None,
    on_step: OnStep | None = None,
) -> Report:
    """Do what a request asks: parse, load, sample, measure, write.

    Files appear whole or not at all, and none before all clips of the request are sampled.

    Args:
        request: what to make.
        pipeline: what `load` gave for a request with the same model, adapter, device, dtype and
            offload; loaded here by default.
        parser: finds the categories; made here as the request names it by default.
        on_step: is told of each denoising step, and may raise to end the work.

    Raises:
        InputError: something about the request, the model or the place to write to is wrong.
        FloatingPointError: the model's or the adapter's output is not finite.
    """
    from pila.generate.recorder import Recorder

    plan = prepare(request)
    seconds: dict[str, float] = {}
    with _timed(seconds, "parse"):
        refined = _refine(plan, parser)
        parse = refined.parse
    if pipeline is None:
        with _timed(seconds, "load"):
            pipeline = load(request)
    recorder = Recorder(first_step=plan.window[0] if plan.window else 1)

    corrected = describe_attached(pipeline, adapter_scale=request.adapter_scale)
    for branch in branches_on(pipeline):
        branch.inverted = request.invert_experts
        branch.record = [] if request.explain else None  # each pass is copied to the CPU
    with _progress(plan.sampling.steps, 1 + request.compare, on_step) as advance:
        clips = _clips(pipeline, plan, refined, corrected, recorder, seconds, advance)
    laws = _laws(plan, refined.scene, clips)
    recorder.passes = [routing for b in branches_on(pipeline) for routing in b.record or ()]
    device = str(pipeline._execution_device)
    # The pipeline's own is that of its first part, and the VAE keeps float32.
    dtype = str(denoisers_of(pipeline)[0].dtype).removeprefix("torch.")
    with _timed(seconds, "write"):
        written = _write(plan, clips, recorder, parse)
        kept = settled(
            replace(request, refined_prompt=refined.text),
            plan.sampling,
            parse.categories,
            device=device,
            dtype=dtype,
        )
        write_settings(plan.files.settings, kept)
        written["settings"] = str(plan.files.settings)
    settings = asdict(plan.sampling) | {
        "model": by_hub_ids(request.model),
        "adapter": by_hub_ids(request.adapter),
        "seed": request.seed,
        "negative_prompt": request.negative_prompt,
        "adapter_scale": request.adapter_scale,
        "step_window": list(plan.window) if plan.window else None,
        "top_k": request.top_k,
        "velocity_source": request.velocity_source,
        "refine": refined.mode,
        "invert_experts": request.invert_experts,
        "device": device,
        "dtype": dtype,
        "offload": request.offload,
    }
    return Report(
        prompt=plan.prompt,
        drawn_as=refined.drawn_as,
        hint=refined.hint,
        **parse.to_dict(),
        routing=recorder.routing,
        correction_rms=recorder.correction_rms,
        attached=list(plan.attached),
        scene=refined.scene,
        laws=laws,
        files=written,
        settings=settings,
        seconds={name: round(value, 3) for name, value in seconds.items()},
    )


def _clips(
    pipeline: Any,
    plan: Plan,
    refined: "_Refined",
    corrected: str,
    recorder: "Recorder",
    seconds: dict[str, float],
    advance: Callable[..., None],
) -> dict[str, np.ndarray]:
    """The clips that are asked for by what acts on them: frames [t, h, w, 3] uint8."""
    request = plan.request
    clips: dict[str, np.ndarray] = {}
    if request.compare or not corrected:
        with _timed(seconds, FROZEN), adapters_disabled(pipeline):
            told = partial(advance, FROZEN)
            clips[FROZEN] = _sample(pipeline, plan, refined, adapter_scale=0.0, advance=told)
    if corrected:
        with _timed(seconds, corrected):
            clips[corrected] = _sample(
                pipeline,
                plan,
                refined,
                adapter_scale=request.adapter_scale,
                categories=[str(c) for c in refined.parse.categories] or None,
                record=recorder,
                advance=partial(advance, corrected),
            )
    elif request.compare:  # a scale of 0 is the frozen generator, and comparing shows it
        clips[describe_attached(pipeline)] = clips[FROZEN]
    return clips


@dataclass(frozen=True, slots=True, kw_only=True)
class _Refined:
    """What became of the prompt before anything is sampled.

    Attributes:
        prompt: what the generator is given.
        condition: what the adapter's condition is encoded from, where that is another text.
        parse: the categories, read off the refined prompt.
        scene: the simulated scene that is asked for, if any.
        drawn_as: the caption that the prompt was completed to, if any.
        hint: what could be drawn instead, where a model that knows its scenes knows none like it.
        text: the refined prompt, if one is in use.
        mode: off, condition or generator: who is given it.
    """

    prompt: str
    condition: str | None
    parse: Parse
    scene: str | None
    drawn_as: str | None
    hint: str | None
    text: str | None
    mode: str


def _refine(plan: Plan, parser: Parser | None) -> _Refined:
    """Complete or refine the prompt as asked, and read its categories off the result."""
    request, book = plan.request, plan.captions
    mode = request.refine
    if mode == "auto":
        mode = "generator" if book is not None else "off"
    scene = hint = text = None
    known: tuple[Category, ...] = ()
    if book is not None:
        if mode == "off":
            scene = book.recognise(plan.prompt).scene
        else:
            done = book.complete(request.refined_prompt or plan.prompt, request.seed)
            scene, text, known = done.scene, done.caption, done.categories
            if scene is None:
                hint = _nothing_like_it(request.model, len(book.scenes), done.examples)
    drawn_as, shown = text, text or plan.prompt
    if plan.categories is not None:
        parse = Parse(refined_prompt=shown, categories=plan.categories, evidence={}, parser="given")
    elif known and request.parser != "llm":
        evidence = dict.fromkeys(known, (f"the scene is {scene}",))
        parse = Parse(refined_prompt=shown, categories=known, evidence=evidence, parser="captions")
    else:
        parse = (parser or make_parser(request.parser))(shown)
    if book is None and mode != "off":
        text = request.refined_prompt or parse.refined_prompt
    return _Refined(
        prompt=text if text and mode == "generator" else plan.prompt,
        condition=text if mode == "condition" else None,
        parse=parse,
        scene=scene,
        drawn_as=drawn_as,
        hint=hint,
        text=text,
        mode=mode,
    )


def _nothing_like_it(model: str, count: int, examples: Sequence[str]) -> str:
    nearest = "; ".join(f'"{caption}"' for caption in examples)
    return (
        f"the {model} model draws {count} simulated scenes, and this is none of them; "
        f"try: {nearest}"
    )


def load(request: GenerateRequest) -> Any:
    """The pipeline that a request names, to be kept for other requests of the same kind.

    Raises:
        InputError: the model or the adapter cannot be found, read, or put together.
    """
    import torch

    only_own_progress()
    return load_pipeline(
        request.model,
        request.adapter,
        device=request.device,
        dtype=None if request.dtype == "auto" else getattr(torch, request.dtype),
        offload=request.offload,
    )


def _sample(
    pipeline: Any,
    plan: Plan,
    refined: _Refined,
    *,
    advance: Callable[[int], None],
    **correction: Any,
) -> np.ndarray:
    """Frames [t, h, w, 3] uint8; every call starts from the same noise."""
    import torch

    request, sampling = plan.request, plan.sampling
    if correction["adapter_scale"] != 0:
        correction |= {
            "step_window": plan.window,
            "top_k": request.top_k,
            "velocity_source": request.velocity_source,
            "condition_prompt": refined.condition,
        }

    def step_end(pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        advance(step + 1)
        return tensors

    pipeline.set_progress_bar_config(disable=True)
    size = {
        "height": sampling.height,
        "width": sampling.width,
        "num_frames": sampling.num_frames,
    }
    negative = request.negative_prompt
    two = {} if request.guidance_scale_2 is None else {"guidance_scale_2": request.guidance_scale_2}
    try:
        with sampling_threads(pipeline, **size), shifted_noise(pipeline, request.flow_shift):
            frames = pipeline(
                prompt=refined.prompt,
                negative_prompt=WAN_NEGATIVE_PROMPT if negative == "wan" else negative,
                num_inference_steps=sampling.steps,
                guidance_scale=sampling.guidance_scale,
                max_sequence_length=sampling.max_sequence_length,
                generator=torch.Generator("cpu").manual_seed(request.seed),
                callback_on_step_end=step_end,
                output_type="np",
                **size,
                **two,
                **correction,
            ).frames[0]
    except BaseException as error:
        pipeline.maybe_free_model_hooks()  # else offloaded parts stay on the device
        if isinstance(error, torch.OutOfMemoryError):
            raise InputError(
                f"the device's memory is too small for {sampling.num_frames} frames of "
                f"{sampling.width} x {sampling.height}; try --offload model, or a smaller clip"
            ) from None
        raise
    if not np.isfinite(frames).all():
        bad = np.isfinite(frames).all((1, 2, 3)).argmin()
        raise FloatingPointError(
            f"the decoded frames are not finite, from frame {bad + 1} on, so nothing is written; "
            "the VAE's weights or the latents are broken: try --dtype float32, or load the model "
            "again"
        )
    return (frames.clip(0, 1) * 255).round().astype(np.uint8)


def _laws(plan: Plan, scene: str | None, clips: dict[str, np.ndarray]) -> dict[str, Any]:
    """Each clip's law errors, where one of the model's simulated scenes is asked for."""
    if scene not in plan.scenes:
        return {}
    try:
        measure = plugins.load("pila.law_measures", WORLD)
        return {name: measure(scene, frames) for name, frames in clips.items()}
    except InputError as error:  # the clip was asked for in a size that cannot be measured
        logger.warning("laws of %s not measured: %s", scene, error)
        return {}


def _write(
    plan: Plan, clips: dict[str, np.ndarray], recorder: "Recorder", parse: Parse
) -> dict[str, Any]:
    from pila.generate import pictures as explain

    files, fps = plan.files, plan.sampling.fps
    for folder in {files.output.parent, files.explain or files.output.parent}:
        clear_left_over(folder)
    # The corrected clip comes last, after the frozen one where both were made.
    name, result = list(clips.items())[-1]
    written: dict[str, Any] = {"output": str(files.output)}
    if files.frozen and files.comparison:
        both = side_by_side([clips[FROZEN], result], [FROZEN, name])
        write_video(files.frozen, clips[FROZEN], fps=fps)
        write_video(files.comparison, both, fps=fps)
        written |= {"frozen": str(files.frozen), "comparison": str(files.comparison)}
    if files.explain:
        labels = [str(c) for c in parse.categories]
        pictures = explain.draw(recorder, files.explain, labels=labels)
        if len(clips) > 1:
            pictures.append(explain.draw_strip(clips, files.explain / "strip.png"))
        written["explain"] = [str(p) for p in pictures]
    write_video(files.output, result, fps=fps)
    return written


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - start


@contextmanager
def _progress(
    steps: int, clips: int, on_step: OnStep | None
) -> Iterator[Callable[[str, int], None]]:
    """One bar over all denoising steps, on a terminal only; `on_step` hears of each of them."""
    total = steps * clips
    with progress_bar(total=total, desc="denoising", unit="step") as bar:

        def advance(clip: str, step: int) -> None:
            bar.update()
            if on_step is not None:
                on_step(clip, step, steps)

        yield advance
