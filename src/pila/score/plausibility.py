"""How plausible a video's motion is by the relations themselves: no generator, no truth, no judge.

An adapter reads the video's latents as if they were a clean estimate (sigma = 0). Its bank before
the experts is held against the relations of each category: the score is the mean relative
residual, 0 (balanced) to 1 (nothing to balance it), which does not depend on the size of the
fields. What such a score is worth is measured on the simulated world (`pila experiment score`),
category by category, and stands beside every number. Beside it stands how steadily the latents
change (`pila.score.steadiness`), which needs no adapter and tells more.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pila.adapter import PilaAdapter, pool_text
from pila.data.encoders import Encoders
from pila.physics import TERMS, Calculus, Coefficients, read_fields, residual_maps
from pila.physics.bank import Category, Slot
from pila.score.steadiness import steadiness
from pila.types import AnyField


@dataclass(frozen=True, slots=True, kw_only=True)
class Plausibility:
    """One clip's residuals.

    Attributes:
        categories: all eight, by name: mean relative residual, 0 to about 1.
        terms: by category, each relation's own.
        by_frame: by category [t], the mean over each latent frame.
        maps: by category [t, h, w] on the latent grid; the mean of a map is its category's score.
        routing: the router's weights by category, under the caption.
        change: how steadily the latents change; None of a clip that is short or still.
    """

    categories: dict[str, float]
    terms: dict[str, dict[str, float]]
    by_frame: dict[str, np.ndarray]
    maps: dict[str, np.ndarray]
    routing: dict[str, float]
    change: dict[str, float] | None


class Scorer:
    """An adapter and the encoders that its latents and captions come from.

    Args:
        adapter: in eval mode; its `latent_channels` and `text_dim` are the encoders'.
        encoders: VAE and text encoder.
    """

    def __init__(self, adapter: PilaAdapter, encoders: Encoders) -> None:
        self.adapter: Any = adapter
        self.encoders = encoders
        self.calculus, self.coefficients = Calculus(), Coefficients()

    def frames(
        self, frames: np.ndarray, *, caption: str, labels: Sequence[Category]
    ) -> Plausibility:
        """Score frames [t, h, w, 3] uint8, of sizes that the VAE takes.

        Args:
            frames: the clip.
            caption: what it shows; may be empty. It enters the routing and nothing else.
            labels: categories that the router is told.

        Raises:
            ClipError: latents that are not finite.
        """
        return self.latents(self.encoders.latents(frames)[None], caption=caption, labels=labels)

    @torch.no_grad()
    def latents(
        self, latents: Float[Tensor, "1 c t h w"], *, caption: str, labels: Sequence[Category]
    ) -> Plausibility:
        """The same of clean latents, normalised as the transformer has them."""
        device = next(self.adapter.parameters()).device
        text = self.encoders.padded_text(caption)[None].to(device)
        told = torch.tensor([[c in labels for c in Category]], device=device)
        out, fields = read_clean(self.adapter, latents.to(device), text, told)
        scores: dict[str, float] = {}
        terms: dict[str, dict[str, float]] = {}
        maps: dict[str, np.ndarray] = {}
        for category in Category:
            found = residual_maps(fields, category, self.calculus, self.coefficients)[0].cpu()
            each = found.mean((1, 2, 3)).tolist()
            names = [term.name for term in TERMS[category]]
            terms[category] = dict(zip(names, each, strict=True))
            maps[category] = found.mean(0).numpy()
            scores[category] = float(np.mean(each))
        return Plausibility(
            categories=scores,
            terms=terms,
            by_frame={name: field.mean((1, 2)) for name, field in maps.items()},
            maps=maps,
            routing=dict(zip(map(str, Category), out.route.weights[0].tolist(), strict=True)),
            change=steadiness(latents[0]),
        )


def read_clean(
    adapter: Any, latents: Tensor, text: Tensor, labels: Tensor
) -> tuple[Any, dict[Slot, AnyField]]:
    """What an adapter makes of clean latents: its `AdapterOutput`, and the fields of its bank.

    Args:
        adapter: a `PilaAdapter`.
        latents: [n, c, t, h, w], read as a clean estimate (sigma = 0, v = 0).
        text: token embeddings [n, tokens, d].
        labels: categories that the router is told, bool [n, 8].
    """
    clean = torch.zeros(len(latents), device=latents.device)
    still = torch.zeros_like(latents)
    out = adapter(latents, still, clean, pool_text(text), labels, return_details=True)
    return out, read_fields(out.bank, adapter.fields.velocity)


def load_scorer(adapter: str, model: str, *, device: torch.device) -> Scorer:
    """An adapter and its model's encoders by name.

    Raises:
        InputError: no such adapter or model, one without a bank, or two that do not fit.
    """
    from pila.data.encoders import ModelFacts
    from pila.errors import InputError
    from pila.pipelines.backbone import check_fit
    from pila.pipelines.locate import find_adapter, find_model
    from pila.pipelines.repository import check_model_folder

    folder, repository = find_adapter(adapter), find_model(model)
    config = {} if folder is None else check_model_folder(folder)
    if folder is None or config.get("_class_name") != "PilaAdapter":
        raise InputError(
            f"adapter is {adapter}, a {config.get('_class_name')}; only a PilaAdapter has a bank, "
            "so only a PilaAdapter's bank is scored"
        )
    facts = ModelFacts.of(repository)
    check_fit(config, {"in_channels": facts.channels, "text_dim": facts.text_width})
    loaded: Any = PilaAdapter.from_pretrained(folder)
    return Scorer(loaded.eval().to(device), Encoders(facts, device))
