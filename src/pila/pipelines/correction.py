"""The correction of one pipeline call: its options, checked, and the adapter's run at each step."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import torch
from torch import Tensor

from pila.errors import InputError
from pila.physics.bank import Category
from pila.pipelines.scheduler_hook import ConditionalVelocity

CategoryNames = Sequence[Category | str] | Sequence[Sequence[Category | str]] | Category | str
"""Categories for all prompts, or one sequence of categories per prompt."""
Record = list[Any] | Callable[[Any], None]
"""Receives each corrected step's AdapterOutput: a list to append to, or a function to call."""

NUM_CATEGORIES = len(Category)


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrectionOptions:
    """How one call is corrected.

    Attributes:
        category_mask: bool [number of prompts, 8] in `Category` order, or None for no prior.
        top_k: number of routed experts, 0..8; None takes the adapter's own.
        scale: factor on dv beside the adapter's own; 0 is the frozen generator.
        step_window: first and last corrected step of the schedule, counted from 1, inclusive.
        velocity_source: the velocity that the adapter reads. "guided" is the one that the scheduler
            gets; "cond" that of the conditional pass, as in training. dv is added to the guided
            velocity either way, once, and guidance does not amplify it.
    """

    category_mask: Tensor | None
    top_k: int | None
    scale: float
    step_window: tuple[int, int]
    velocity_source: Literal["guided", "cond"]

    @classmethod
    def checked(
        cls,
        *,
        categories: CategoryNames | None,
        top_k: int | None,
        adapter_scale: float,
        step_window: tuple[int, int] | None,
        velocity_source: str,
        num_prompts: int,
        num_steps: int,
    ) -> Self:
        """Options from call arguments.

        Raises:
            InputError: a value is out of its bounds.
        """
        if num_steps < 1:
            raise InputError(f"num_inference_steps is {num_steps}; use at least 1")
        if top_k is not None and not 0 <= top_k <= NUM_CATEGORIES:
            raise InputError(f"top_k is {top_k}; there are {NUM_CATEGORIES} experts, so use 0..8")
        if not math.isfinite(adapter_scale):
            raise InputError(f"adapter_scale is {adapter_scale}; use a finite number such as 1.0")
        if velocity_source not in ("guided", "cond"):
            raise InputError(f"velocity_source is {velocity_source!r}; use 'guided' or 'cond'")
        first, last = (1, num_steps) if step_window is None else step_window
        if not 1 <= first <= last <= num_steps:
            raise InputError(
                f"step_window is {first}-{last}, but the steps run from 1 to {num_steps}; use "
                f"first <= last within 1..{num_steps}"
            )
        return cls(
            category_mask=None
            if categories is None
            else category_mask_of(categories, num_prompts=num_prompts),
            top_k=top_k,
            scale=float(adapter_scale),
            step_window=(first, last),
            velocity_source=velocity_source,  # type: ignore[arg-type]
        )

    def with_mask(self, category_mask: Tensor) -> Self:
        """The same for prompts of these categories, bool [number of prompts, 8]."""
        return replace(self, category_mask=category_mask)


def category_mask_of(categories: CategoryNames, *, num_prompts: int) -> Tensor:
    """Categories as a bool matrix [num_prompts, 8] in `Category` order.

    Raises:
        InputError: an unknown category, or as many label lists as do not match the prompts.
    """
    listed: list[Any] = [categories] if isinstance(categories, str) else list(categories)
    per_prompt = bool(listed) and not any(isinstance(label, str) for label in listed)
    rows = listed if per_prompt else [listed] * num_prompts
    if len(rows) != num_prompts:
        raise InputError(
            f"categories has {len(rows)} lists for {num_prompts} prompts; give one list per prompt "
            "or one flat list for all"
        )
    order = list(Category)
    matrix = torch.zeros(num_prompts, NUM_CATEGORIES, dtype=torch.bool)
    for row, names in enumerate(rows):
        for name in names:
            if name not in order:
                raise InputError(f"unknown category {str(name)!r}; use {', '.join(order)}")
            matrix[row, order.index(Category(name))] = True
    return matrix


class Correction:
    """Runs an adapter at the seam (`velocity_correction`) for the length of one pipeline call.

    The pipeline sets `text` once its prompts are encoded, and `frozen_frames` where some latent
    frames are given rather than generated.
    """

    def __init__(
        self, adapter: Any, options: CorrectionOptions, record: Record | None = None
    ) -> None:
        self._adapter = adapter
        self.options = options
        self._record = record.append if isinstance(record, list) else record
        self._finite: list[tuple[int, float, Tensor]] = []
        self.conditional = ConditionalVelocity()
        self.prompt: str | list[str] | None = None
        """What the condition is encoded from, where that is not the generator's prompt."""
        self.text: Tensor | None = None
        """Pooled prompt embeddings [number of prompts or of videos, d]."""
        self.frozen_frames: tuple[Tensor, Tensor] | None = None
        """Clean latents, and a mask that is 0 on them and 1 where frames are generated; both
        broadcast to [b, c, t, h, w]. The generator never denoises frozen frames (their x_t and v
        are noise), so the adapter reads the clean latents there and may not write."""

    @torch.no_grad()
    def __call__(self, x_t: Tensor, v: Tensor, sigma: float, index: int) -> Tensor | None:
        """dv at one step, in fp32, or None outside the step window."""
        options = self.options
        # Taken at every step: one left over would stand for the next step's velocity.
        seen = self.conditional.take() if options.velocity_source == "cond" else v
        first, last = options.step_window
        if not first <= index + 1 <= last:
            return None
        if self.text is None:
            raise RuntimeError("the pipeline encoded no prompt before its first step")
        batch = x_t.shape[0]
        x_t, seen = x_t.float(), seen.float()
        if self.frozen_frames is not None:
            clean, generated = self.frozen_frames
            x_t = (1 - generated) * clean + generated * x_t
            seen = generated * seen
        mask = None if options.category_mask is None else _per_video(options.category_mask, batch)
        output = self._adapter(
            x_t,
            seen,
            torch.full((batch,), sigma, device=x_t.device),
            _per_video(self.text, batch),
            None if mask is None else mask.to(x_t.device),
            top_k=options.top_k,
            return_details=self._record is not None,
        )
        raw = output if self._record is None else output.correction
        # Any callable of this form may stand for an adapter; not each has a factor of its own.
        dv = options.scale * getattr(self._adapter, "default_scale", 1.0) * raw.float()
        if self.frozen_frames is not None:
            dv = self.frozen_frames[1] * dv
        if self._record is not None:
            self._record(replace(output, correction=dv))
        self._note_finite(index + 1, sigma, v, dv)
        return dv

    def _note_finite(self, step: int, sigma: float, v: Tensor, dv: Tensor) -> None:
        flags = torch.stack([torch.isfinite(v).all(), torch.isfinite(dv).all()])
        self._finite.append((step, sigma, flags))
        if flags.device.type == "cpu":  # elsewhere a look would stall every step
            self.raise_if_not_finite()

    def raise_if_not_finite(self) -> None:
        """Report the first step at which the velocity or its correction was not finite.

        Raises:
            FloatingPointError: with the culprit, the step and sigma.
        """
        noted, self._finite = self._finite, []
        if not noted:
            return
        for (step, sigma, _), (v_ok, dv_ok) in zip(
            noted, torch.stack([flags for *_, flags in noted]).tolist(), strict=True
        ):
            if not (v_ok and dv_ok):
                culprit = "adapter's correction" if v_ok else "generator's velocity"
                part = "adapter" if v_ok else "generator"
                raise FloatingPointError(
                    f"the {culprit} is not finite at step {step} (sigma {sigma:.4f}); compute in "
                    f"float32 (--dtype float32), or download the {part}'s weights again"
                )


def _per_video(rows: Tensor, batch: int) -> Tensor:
    """Repeat each prompt's row for its videos; diffusers keeps a prompt's videos adjacent."""
    if batch % rows.shape[0]:
        raise InputError(f"{rows.shape[0]} prompts cannot share {batch} videos evenly")
    return rows.repeat_interleave(batch // rows.shape[0], dim=0)
