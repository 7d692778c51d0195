"""`pila.attach`: an adapter on a diffusers pipeline that is already there, without a subclass.

Nothing of the pipeline is replaced. Hooks on its denoisers read what the pipeline gives them (the
prompt's embeddings, which pass is the conditional one, which frames are given), and the step of its
scheduler takes the corrected velocity.
"""

import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from torch import Tensor, nn

from pila.adapter.condition import pool_text
from pila.errors import InputError
from pila.pipelines.backbone import check_fit
from pila.pipelines.correction import (
    CategoryNames,
    Correction,
    CorrectionOptions,
    Record,
    category_mask_of,
)
from pila.pipelines.scheduler_hook import CorrectedVelocity, check_flow

DENOISERS = ("transformer", "transformer_2")
SERVED = (
    *("WanPipeline", "WanImageToVideoPipeline", "WanVideoToVideoPipeline", "WanVACEPipeline"),
    *("SkyReelsV2Pipeline", "SkyReelsV2ImageToVideoPipeline"),
)
"""Pipelines whose scheduler steps latents [b, c, t, h, w] from noise at 1 to a clip at 0, with one
pass of the denoiser for each prompt (docs/backbones.md); classes derived from them are served, too.
"""
_CONDITIONAL = ("cond", "pred_cond", "cond_uncond")
"""Names of the cache context in which pipelines run the conditional pass."""


def attach(
    pipe: Any,
    adapter: "str | Path | nn.Module" = "embedded",
    *,
    scale: float = 1.0,
    categories: CategoryNames | None = None,
    top_k: int | None = None,
    step_window: tuple[int, int] | None = None,
    velocity_source: str = "cond",
    record: Record | None = None,
) -> "Attached":
    """Correct a pipeline's velocity with an adapter, from its next call on.

    The pipeline stays the caller's: its class, quantisation, LoRA, caches and offloading are left
    as they are. An untrained adapter, a scale of 0, and `enabled = False` change no bit of what it
    gives. Several may be attached to one pipeline; the one attached last corrects first.

    Args:
        pipe: a pipeline of one of the families in `SERVED`.
        adapter: a PilaAdapter, or what `pila generate --adapter` takes: "embedded", a folder, a hub
            id.
        scale: factor on the correction, beside the adapter's own `default_scale`.
        categories: physical categories for all prompts, or one list of them for each; None leaves
            the routing without a prior.
        top_k: number of routed experts, 0..8; None takes the adapter's own.
        step_window: first and last scheduler step to correct, counted from 1, inclusive.
        velocity_source: the velocity that the adapter reads: that of the conditional pass ("cond"),
            as in training, or the "guided" one.
        record: a list, or a function, that receives each corrected step's AdapterOutput.

    Returns:
        What is attached. As a context manager it removes itself at the end.

    Raises:
        InputError: a pipeline that is not served, a scheduler that is no flow matching, an adapter
            that does not fit, or a value out of its bounds.
    """
    denoisers = _denoisers(pipe)
    if isinstance(adapter, str | Path):
        from pila.pipelines.locate import find_adapter, load_adapter

        folder = find_adapter(adapter)
        if folder is None:
            raise InputError(f"adapter is {adapter!r}; name one to attach")
        adapter = load_adapter(folder)
    if not isinstance(adapter, nn.Module):
        raise InputError(f"adapter is a {type(adapter).__name__}; give a PilaAdapter or its name")
    for denoiser in denoisers:
        check_fit(adapter, denoiser)
    check_flow(pipe.scheduler)
    made = Attached(pipe, adapter.eval(), scale=scale, categories=categories)
    made.top_k, made.step_window = top_k, step_window
    made.velocity_source, made.record = velocity_source, record
    made.checked(1 if step_window is None else max(step_window))
    for denoiser in denoisers:
        made.watch(denoiser)
    made.hook_scheduler()
    return made


class Attached:
    """An adapter on a pipeline; see `attach`.

    Attributes:
        scale: factor on the correction; 0 is the pipeline alone.
        categories: for all prompts, or a list for each; None is no prior.
        enabled: False leaves the pipeline alone until it is True again.
        top_k, step_window, velocity_source, record: as `attach` takes them.
    """

    def __init__(
        self, pipe: Any, adapter: nn.Module, *, scale: float, categories: CategoryNames | None
    ) -> None:
        self.pipe, self.adapter = pipe, adapter
        self.scale, self.categories, self.enabled = scale, categories, True
        self.top_k: int | None = None
        self.step_window: tuple[int, int] | None = None
        self.velocity_source = "cond"
        self.record: Record | None = None
        self._undo: list[Callable[[], None]] = []
        self._scheduler: Any = None
        self._unhook_scheduler: Callable[[], None] | None = None
        self._seen: _Pass | None = None
        self._sampling: _Sampling | None = None
        self.removed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()

    def remove(self) -> None:
        """Take the adapter off, and leave the pipeline as it was; a second call does nothing."""
        self.removed = True
        for undo in reversed(self._undo):
            undo()
        self._undo.clear()
        if self._unhook_scheduler is not None:
            self._unhook_scheduler()
        self._scheduler = self._unhook_scheduler = self._seen = self._sampling = None

    def checked(self, num_steps: int) -> CorrectionOptions:
        """The options in force, for a schedule of so many steps.

        Raises:
            InputError: a value out of its bounds.
        """
        return CorrectionOptions.checked(
            categories=None,
            top_k=self.top_k,
            adapter_scale=self.scale,
            step_window=self.step_window,
            velocity_source=self.velocity_source,
            num_prompts=1,
            num_steps=num_steps,
        )

    def watch(self, denoiser: nn.Module) -> None:
        """Read what the pipeline gives this denoiser, and what that answers."""
        target: Any = denoiser
        before = target.register_forward_pre_hook(self._before, with_kwargs=True)
        after = target.register_forward_hook(self._after, with_kwargs=True)
        self._undo += [before.remove, after.remove]
        self._undo.append(_name_contexts(target))

    def hook_scheduler(self) -> None:
        """Have the pipeline's present scheduler step with the corrected velocity.

        Its deep copies, which some pipelines make for other signals, drive themselves.
        """
        scheduler = self.pipe.scheduler
        if scheduler is self._scheduler:
            return
        check_flow(scheduler)
        if self._unhook_scheduler is not None:
            self._unhook_scheduler()
        original, own = scheduler.step, vars(scheduler).get("step")
        attached = self

        def step(this: Any, model_output: Tensor, timestep: Any, sample: Tensor, *a: Any, **k: Any):
            if this is not scheduler:  # a deep copy of it
                return type(this).step(this, model_output, timestep, sample, *a, **k)
            v = attached.corrected(model_output, timestep, sample)
            return original(v, timestep, sample, *a, **k)

        vars(step).update(__signature__=_signature_of(original), attached=self, before=own)
        mine = scheduler.step = types.MethodType(step, scheduler)
        self._scheduler = scheduler

        def unhook() -> None:
            if vars(scheduler).get("step") is not mine:
                return  # another one was attached since; through this one it hands all on as it is
            left = own
            while left is not None and getattr(
                vars(left.__func__).get("attached"), "removed", False
            ):
                left = vars(left.__func__)["before"]
            if left is None:
                del scheduler.step
            else:
                scheduler.step = left

        self._unhook_scheduler = unhook

    def corrected(self, v: Tensor, timestep: Any, x_t: Tensor) -> Tensor:
        """The velocity [b, c, t, h, w] that the scheduler steps with."""
        seen, self._seen = self._seen, None
        if seen is None or not self.enabled or self.scale == 0:
            return v
        if self._sampling is None or self._sampling.is_over(self._scheduler):
            self._sampling = _Sampling(self, seen)
        return self._sampling(v, timestep, x_t, seen)

    def _before(self, denoiser: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.hook_scheduler()  # the caller may have put another one in its place
        conditional = vars(denoiser).get(_CONTEXT) in _CONDITIONAL
        # By its name where passes have one, else the first pass of a step.
        if self._seen is None or (conditional and not self._seen.conditional):
            self._seen = _Pass.of(args, kwargs, conditional=conditional)

    def _after(
        self, denoiser: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
    ) -> None:
        if self._seen is not None and self._seen.velocity is None:
            self._seen.velocity = output[0] if isinstance(output, tuple) else output.sample


_CONTEXT, _USERS = "_pila_context", "_pila_context_users"


def _name_contexts(denoiser: Any) -> Callable[[], None]:
    """Have a denoiser know the name of the cache context it runs in; returns what undoes it."""
    kept = vars(denoiser)
    if not hasattr(denoiser, "cache_context"):
        return lambda: None
    if not kept.get(_USERS):
        named = denoiser.cache_context

        @contextmanager
        def cache_context(name: str, *args: Any, **kwargs: Any) -> Iterator[None]:
            outer = kept.get(_CONTEXT)
            kept[_CONTEXT] = name
            try:
                with named(name, *args, **kwargs):
                    yield
            finally:
                kept[_CONTEXT] = outer

        kept.update({"cache_context": cache_context, _USERS: 0})
    kept[_USERS] += 1

    def undo() -> None:
        kept[_USERS] -= 1
        if not kept[_USERS]:
            for name in ("cache_context", _CONTEXT, _USERS):
                kept.pop(name, None)

    return undo


class _Pass:
    """One pass of a denoiser, as the pipeline asked for it."""

    def __init__(
        self, text: Tensor, hidden: Tensor, timestep: Tensor, *, conditional: bool
    ) -> None:
        self.text, self.hidden, self.timestep = text, hidden, timestep
        self.conditional = conditional
        self.velocity: Tensor | None = None

    @classmethod
    def of(cls, args: tuple[Any, ...], kwargs: dict[str, Any], *, conditional: bool) -> Self:
        names = ("hidden_states", "timestep", "encoder_hidden_states")
        given = dict(zip(names, args, strict=False)) | kwargs
        told = (given["encoder_hidden_states"], given["hidden_states"], given["timestep"])
        return cls(*told, conditional=conditional)

    def given_frames(self, x_t: Tensor) -> tuple[Tensor, Tensor] | None:
        """Clean latents and the mask of generated frames; None where all are generated.

        Where frames are given, each token has a noise level of its own, and theirs is 0.
        """
        if self.timestep.ndim < 2 or bool((self.timestep != 0).all()):
            return None
        b, c, t, _, _ = x_t.shape
        generated = (self.timestep.reshape(self.timestep.shape[0], t, -1) != 0).any(-1)
        mask = generated.to(x_t.dtype)[:, None, :, None, None]
        return self.hidden[:b, :c].float(), mask.expand(b, 1, t, 1, 1).float()


class _Sampling:
    """The corrections of one call of the pipeline."""

    def __init__(self, attached: Attached, seen: _Pass) -> None:
        scheduler = attached.pipe.scheduler
        self._sigmas, self._attached = scheduler.sigmas, attached
        self._last = len(scheduler.timesteps) - 1
        options = attached.checked(len(scheduler.timesteps))
        self._correction = Correction(attached.adapter, options, attached.record)
        self._velocity = CorrectedVelocity(scheduler, self._correct)
        self._index = -1

    def is_over(self, scheduler: Any) -> bool:
        """Whether the scheduler has begun another schedule, or this one is done."""
        return self._index >= self._last or scheduler.sigmas is not self._sigmas

    def __call__(self, v: Tensor, timestep: Any, x_t: Tensor, seen: _Pass) -> Tensor:
        batch = x_t.shape[0]
        assert seen.velocity is not None
        if seen.text.shape[0] != batch:
            raise InputError(
                f"the denoiser took {seen.text.shape[0]} prompts for {batch} clips in one pass; "
                "this pipeline's batches of both passes are not served"
            )
        self._correction.conditional.keep(seen.velocity)
        self._correction.text = pool_text(seen.text.float())
        self._correction.frozen_frames = seen.given_frames(x_t)
        self._correction.options = self._options(batch)
        corrected = self._velocity(x_t, v, timestep)
        if self._index >= self._last:
            self._correction.raise_if_not_finite()
        return corrected

    def _options(self, batch: int) -> CorrectionOptions:
        """The options as they are now: they may be changed between two steps."""
        options, categories = self._attached.checked(self._last + 1), self._attached.categories
        if categories is None:
            return options
        listed: Any = [categories] if isinstance(categories, str) else list(categories)
        prompts = 1 if not listed or isinstance(listed[0], str) else len(listed)
        return options.with_mask(category_mask_of(listed, num_prompts=prompts))

    def _correct(self, x_t: Tensor, v: Tensor, sigma: float, index: int) -> Tensor | None:
        self._index = index
        parameter = next(self._attached.adapter.parameters(), None)
        if parameter is not None and parameter.device != x_t.device:
            self._attached.adapter.to(x_t.device)
        return self._correction(x_t, v, sigma, index)


def _denoisers(pipe: Any) -> list[Any]:
    """The pipeline's denoisers.

    Raises:
        InputError: a pipeline of another family.
    """
    kinds = {cls.__name__ for cls in type(pipe).__mro__}
    if not kinds & set(SERVED):
        raise InputError(
            f"pipe is a {type(pipe).__name__}; pila.attach serves {', '.join(SERVED)}, and classes "
            "derived from them (docs/backbones.md)"
        )
    found = [part for name in DENOISERS if (part := getattr(pipe, name, None)) is not None]
    if not found or getattr(pipe, "scheduler", None) is None:
        raise InputError(
            f"this {type(pipe).__name__} has no transformer or no scheduler; load them first"
        )
    return found


def _in_force(step: Any) -> Any:
    """A scheduler's own step, or that of an adapter which is still attached; None for neither."""
    while step is not None:
        known = vars(getattr(step, "__func__", step))
        if "attached" not in known or not known["attached"].removed:
            return step
        step = known["before"]
    return None


def _signature_of(function: Any) -> Any:
    """Pipelines look for options in the signature of `step`."""
    import inspect

    given = inspect.signature(function)
    first = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    return given.replace(parameters=[first, *given.parameters.values()])
