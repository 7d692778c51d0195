"""From a prompt to files: the frozen and the corrected clip from the same noise, and a report."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from pila.backbones.attachments import branches_on, denoisers_of, generator_alone, names_on
from pila.backbones.embedded import load_pipeline
from pila.errors import InputError
from pila.labels.parser import Parse, Parser, make_parser
from pila.plan import Plan, prepare
from pila.progress import only_own_progress, progress_bar
from pila.request import GenerateRequest
from pila.settings import by_hub_ids, settled, write_settings
from pila.threads import sampling_threads
from pila.video import side_by_side, write_video

if TYPE_CHECKING:
    from pila.diagnose.recorder import Recorder

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
    parser: str
    categories: list[str]
    evidence: dict[str, list[str]]
    note: str
    """The parser's: the language model's name, or why another parser answered."""
    routing: dict[str, float]
    """Mean routing weight per category."""
    correction_rms: float
    """Root mean square of g(sigma) dv over the corrected steps; latents have about 1."""
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
    from pila.diagnose.recorder import Recorder

    plan = prepare(request)
    seconds: dict[str, float] = {}
    with _timed(seconds, "parse"):
        parse = _parse(plan, parser)
    if pipeline is None:
        with _timed(seconds, "load"):
            pipeline = load(request)
    recorder = Recorder(first_step=plan.window[0] if plan.window else 1)

    corrected = names_on(pipeline, adapter_scale=request.adapter_scale)
    for branch in branches_on(pipeline):
        branch.inverted = request.invert_experts
        branch.record = [] if request.explain else None  # each pass is copied to the CPU
    clips: dict[str, np.ndarray] = {}
    with _progress(plan.sampling.steps, 1 + request.compare, on_step) as advance:
        if request.compare or not corrected:
            with _timed(seconds, FROZEN), generator_alone(pipeline):
                clips[FROZEN] = _sample(
                    pipeline, plan, adapter_scale=0.0, advance=partial(advance, FROZEN)
                )
        if corrected:
            with _timed(seconds, corrected):
                clips[corrected] = _sample(
                    pipeline,
                    plan,
                    adapter_scale=request.adapter_scale,
                    labels=[str(c) for c in parse.categories] or None,
                    record=recorder,
                    advance=partial(advance, corrected),
                )
        elif request.compare:  # a scale of 0 is the frozen generator, and comparing shows it
            clips[names_on(pipeline)] = clips[FROZEN]

    scene, laws = _laws(plan, clips)
    recorder.passes = [routing for b in branches_on(pipeline) for routing in b.record or ()]
    device = str(pipeline._execution_device)
    # The pipeline's own is that of its first part, and the VAE keeps float32.
    dtype = str(denoisers_of(pipeline)[0].dtype).removeprefix("torch.")
    with _timed(seconds, "write"):
        written = _write(plan, clips, recorder, parse)
        kept = settled(request, plan.sampling, parse.categories, device=device, dtype=dtype)
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
        "reference": request.reference,
        "invert_experts": request.invert_experts,
        "device": device,
        "dtype": dtype,
        "offload": request.offload,
    }
    return Report(
        prompt=plan.prompt,
        **parse.to_dict(),
        routing=recorder.routing,
        correction_rms=recorder.correction_rms,
        scene=scene,
        laws=laws,
        files=written,
        settings=settings,
        seconds={name: round(value, 3) for name, value in seconds.items()},
    )


def _parse(plan: Plan, parser: Parser | None) -> Parse:
    if plan.labels is None:
        return (parser or make_parser(plan.request.parser))(plan.prompt)
    return Parse(refined_prompt=plan.prompt, categories=plan.labels, evidence={}, parser="given")


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
    pipeline: Any, plan: Plan, *, advance: Callable[[int], None], **correction: Any
) -> np.ndarray:
    """Frames [t, h, w, 3] uint8; every call starts from the same noise."""
    import torch

    request, sampling = plan.request, plan.sampling
    if correction["adapter_scale"] != 0:
        correction |= {
            "step_window": plan.window,
            "top_k": request.top_k,
            "reference": request.reference,
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
    try:
        with sampling_threads(pipeline, **size):
            frames = pipeline(
                prompt=plan.prompt,
                negative_prompt=request.negative_prompt,
                num_inference_steps=sampling.steps,
                guidance_scale=sampling.guidance_scale,
                max_sequence_length=sampling.max_sequence_length,
                generator=torch.Generator("cpu").manual_seed(request.seed),
                callback_on_step_end=step_end,
                output_type="np",
                **size,
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
    return (frames.clip(0, 1) * 255).round().astype(np.uint8)


def _laws(plan: Plan, clips: dict[str, np.ndarray]) -> tuple[str | None, dict[str, Any]]:
    """The simulated scene asked for, and each clip's law errors; none for other models."""
    if not plan.scenes:
        return None, {}
    from pila.world import measure, recognise_scene

    scene = recognise_scene(plan.prompt)
    if scene not in plan.scenes:
        return None, {}
    try:
        return scene, {name: measure(scene, frames) for name, frames in clips.items()}
    except InputError as error:  # the clip was asked for in a size that cannot be measured
        logger.warning("laws of %s not measured: %s", scene, error)
        return scene, {}


def _write(
    plan: Plan, clips: dict[str, np.ndarray], recorder: "Recorder", parse: Parse
) -> dict[str, Any]:
    from pila import explain

    files, fps = plan.files, plan.sampling.fps
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
