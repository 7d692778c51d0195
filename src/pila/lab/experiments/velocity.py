"""What a model predicts at noised latents, with whatever is attached to it: no sampling."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pila.lab.experiments.sampling import Method
from pila.physics.layout import Category
from pila.pipelines.correction import category_mask_of


def frozen_velocity(pipe: Any, x_t: Tensor, sigma: Tensor, text: Tensor) -> Tensor:
    """The conditional velocity [b, c, t, h, w], branch and LoRA at work where they are attached.

    Args:
        pipe: a Wan pipeline of one denoiser or two.
        x_t: noisy latents [b, c, t, h, w].
        sigma: noise levels [b].
        text: token embeddings [b, n, d].
    """
    parts = [pipe.transformer, pipe.transformer_2]
    two = all(part is not None for part in parts)
    # The first denoiser is for high noise, the second for low, as in Wan 2.2.
    high = sigma >= pipe.config.boundary_ratio if two else torch.ones_like(sigma, dtype=torch.bool)
    v = torch.zeros_like(x_t)
    for part, mine in zip(parts, (high, ~high), strict=True):
        if part is not None and mine.any():
            given = (x_t[mine].to(part.dtype), sigma[mine] * 1000, text[mine].to(part.dtype))
            v[mine] = part(*given, return_dict=False)[0].to(v.dtype)
    return v


def adapter_output(
    pipe: Any,
    method: Method,
    x_t: Tensor,
    v: Tensor,
    sigma: Tensor,
    text: Tensor,
    labels: Sequence[Sequence[Category]],
    *,
    details: bool = False,
) -> Any:
    """What the pipeline's adapter says of a prediction; see `PilaAdapter.forward`.

    Args:
        pipe: a pipeline with an adapter.
        method: for its number of experts.
        x_t, v, sigma, text: as in `frozen_velocity`.
        labels: categories that the router is told, for each row.
        details: return the whole `AdapterOutput`.
    """
    from pila.adapter import pool_text

    told = category_mask_of([list(row) for row in labels], num_prompts=len(x_t)).to(x_t.device)
    return pipe.adapter(
        x_t,
        v,
        sigma,
        pool_text(text.float()),
        told,
        top_k=method.top_k,
        return_details=details,
    )


def corrected_velocity(
    pipe: Any,
    method: Method,
    x_t: Tensor,
    sigma: Tensor,
    text: Tensor,
    labels: Sequence[Sequence[Category]],
) -> Tensor:
    """The conditional velocity with everything that is attached, an adapter's part as learnt.

    Guidance and an adapter's own `default_scale` are ways to sample: what a model thinks likely
    is asked of what it was trained to predict.
    """
    v = frozen_velocity(pipe, x_t, sigma, text)
    if pipe.adapter is None:
        return v
    dv = adapter_output(pipe, method, x_t, v, sigma, text, labels)
    return v + method.adapter_scale * dv.to(v)


def text_of(pipe: Any, captions: Sequence[str], max_tokens: int) -> Tensor:
    """Token embeddings [b, n, d] as the pipeline makes them."""
    embeds, _ = pipe.encode_prompt(
        prompt=list(captions),
        do_classifier_free_guidance=False,
        max_sequence_length=max_tokens,
    )
    return embeds.float()
