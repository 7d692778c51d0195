"""What a web user asks for, checked at the boundary before it may wait in the queue."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from pila.errors import InputError
from pila.generate.request import GenerateRequest
from pila.web.models import ServedModel

PROMPT_LIMIT = 2_000
"""Characters; about what the text encoder reads."""
SCALE_LIMIT = 10.0
GUIDANCE_LIMIT = 30.0


class GenerateBody(BaseModel):
    """The types of a request's values; the bounds depend on the model, see `to_request`.

    None leaves a value to the model. An unknown key is an error.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    prompt: str
    categories: list[str] | None = None
    model: str | None = None
    adapter: str | None = None
    seed: int = 0
    steps: int | None = None
    guidance_scale: float | None = None
    adapter_scale: float = 1.0
    step_window: str | None = None
    top_k: int | None = None
    height: int | None = None
    width: int | None = None
    num_frames: int | None = None
    negative_prompt: str | None = None


def asked(values: Mapping[str, Any]) -> GenerateBody:
    """Check the types of values that came over the network.

    Raises:
        InputError: a key is unknown, or a value has the wrong type.
    """
    try:
        return GenerateBody.model_validate(dict(values))
    except ValidationError as error:
        wrong = error.errors()[0]
        name = str(wrong["loc"][0]) if wrong["loc"] else "the request"
        given = repr(wrong["input"])
        given = given if len(given) <= 60 else given[:60] + "..."
        raise InputError(f"{name} is {given}: {wrong['msg']}") from None


def check_length(what: str, text: str) -> None:
    """Refuse a text that is longer than the page takes.

    Raises:
        InputError: says how long it is and may be.
    """
    if len(text) > PROMPT_LIMIT:
        raise InputError(f"the {what} has {len(text):,} characters; use at most {PROMPT_LIMIT:,}")


def to_request(
    ask: GenerateBody,
    models: Mapping[str, ServedModel],
    *,
    output: Path,
    device: str,
    dtype: Any = "auto",
    offload: Any = "none",
    parser: str = "auto",
) -> GenerateRequest:
    """The request to generate, within the limits of the model that it names.

    The other bounds are those of `pila.generate.plan.prepare`, which every request passes as well.

    Raises:
        InputError: a model or an adapter that is not on offer, or a value over its limit.
    """
    name = next(iter(models)) if ask.model is None else ask.model
    if name not in models:
        raise InputError(f"model {name[:80]!r} is not on offer here; use {', '.join(models)}")
    model = models[name]
    adapter = next(iter(model.adapters)) if ask.adapter is None else ask.adapter
    if adapter not in model.adapters:
        raise InputError(
            f"adapter {adapter[:80]!r} is not on offer for model {name}; use "
            f"{', '.join(model.adapters)}"
        )
    for what, text in (("prompt", ask.prompt), ("negative_prompt", ask.negative_prompt or "")):
        check_length(what, text)
    limits = model.limits
    for what, value, most in (
        ("steps", ask.steps, limits.steps),
        ("height", ask.height, limits.side),
        ("width", ask.width, limits.side),
        ("num_frames", ask.num_frames, limits.frames),
        ("guidance_scale", ask.guidance_scale, GUIDANCE_LIMIT),
        ("adapter_scale", abs(ask.adapter_scale), SCALE_LIMIT),
    ):
        if value is not None and most is not None and value > most:
            raise InputError(f"{what} is {value}, over this page's limit; use at most {most}")
    return GenerateRequest(
        prompt=ask.prompt,
        model=model.place,
        adapter=model.adapters[adapter],
        output=output,
        seed=ask.seed,
        steps=model.own.steps if ask.steps is None else ask.steps,
        guidance_scale=ask.guidance_scale,
        height=ask.height,
        width=ask.width,
        num_frames=ask.num_frames,
        negative_prompt=ask.negative_prompt or None,
        adapter_scale=ask.adapter_scale,
        step_window=(ask.step_window or "").strip() or None,
        top_k=ask.top_k,
        categories=None if ask.categories is None else ",".join(ask.categories) or "none",
        parser=parser,
        compare=True,
        explain=output.parent / "explain",
        device=device,
        dtype=dtype,
        offload=offload,
    )
