"""The frozen parts of a Wan repository that a latent cache is made with: VAE and text encoder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pila.data.latents import normalise
from pila.data.records import ClipError, View
from pila.errors import InputError
from pila.pipelines.loading import load_model, named
from pila.pipelines.repository import check_wan_repository, model_config, own_settings
from pila.provenance import weights_hash

MAX_TOKENS = 512
"""Tokens of a prompt in Wan 2.1; a model's own `pila.json` overrules it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What a repository's configs say about what its encoders give, without loading them.

    Attributes:
        folder: the repository.
        spatial: pixels along a latent cell.
        temporal: frames in a latent frame.
        channels: of the latents.
        text_width: of a token's embedding.
        max_tokens: a prompt's embedding is padded with zeros to this length.
    """

    folder: Path
    spatial: int
    temporal: int
    channels: int
    text_width: int
    max_tokens: int

    @classmethod
    def of(cls, folder: Path) -> "ModelFacts":
        """Read off a checked repository.

        Raises:
            InputError: it is not a complete Wan repository.
        """
        check_wan_repository(folder)
        vae = model_config(folder / "vae", "AutoencoderKLWan")
        text = model_config(folder / "text_encoder", "UMT5EncoderModel")
        own = own_settings(folder)
        try:
            return cls(
                folder=folder,
                spatial=vae.get("scale_factor_spatial") or 8,
                temporal=vae.get("scale_factor_temporal") or 4,
                channels=vae["z_dim"],
                text_width=text["d_model"],
                max_tokens=own.get("max_sequence_length", MAX_TOKENS),
            )
        except KeyError as error:
            raise InputError(
                f"a config.json in {folder} does not say {error}; pass a repository that "
                "diffusers has saved"
            ) from error

    def latent_shape(self, view: View) -> tuple[int, int, int, int]:
        """Latents' [c, t, h, w] of a clip in a view.

        Raises:
            InputError: the view does not fall into whole cells and frames, or into fewer than 3.
        """
        for name, side in (("height", view.height), ("width", view.width)):
            unit = 2 * self.spatial
            if side % unit or side < 2 * unit:
                near = max(2 * unit, round(side / unit) * unit)
                raise InputError(
                    f"{name} is {side}; for this VAE it must be a multiple of {unit}, at least "
                    f"{2 * unit}: try {near}"
                )
        frames, rest = divmod(view.num_frames - 1, self.temporal)
        if rest or frames < 2:
            raise InputError(
                f"num_frames is {view.num_frames}; for this VAE it must be {self.temporal} n + 1, "
                f"at least {2 * self.temporal + 1}"
            )
        return (
            self.channels,
            frames + 1,
            view.height // self.spatial,
            view.width // self.spatial,
        )

    def hashes(self) -> dict[str, str]:
        """Hashes of the weights of `vae` and `text_encoder`."""
        return {part: weights_hash(self.folder / part) for part in ("vae", "text_encoder")}


class Encoders:
    """Clips to latents and captions to embeddings, frozen.

    The VAE works in float32; the text encoder in float32 on a CPU and in bfloat16 elsewhere.

    Args:
        facts: the repository.
        device: where both run.
    """

    def __init__(self, facts: ModelFacts, device: torch.device) -> None:
        from transformers import AutoTokenizer

        from pila.pipelines.vae import load_vae

        self.facts, self.device = facts, device
        self.vae: Any = load_vae(facts.folder / "vae").to(device)  # pyright: ignore[reportArgumentType]
        with named(facts.folder / "tokenizer"):
            self.tokenizer = AutoTokenizer.from_pretrained(
                facts.folder / "tokenizer", trust_remote_code=False
            )
        dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
        text = load_model(facts.folder / "text_encoder", "UMT5EncoderModel", dtype=dtype)
        self.text_encoder: Any = text.requires_grad_(False).to(device)

    @torch.no_grad()
    def latents(self, frames: np.ndarray) -> Tensor:
        """Frames [t, h, w, 3] uint8 -> latents [c, t', h', w'] float32 on the CPU.

        They are the posterior's mode, normalised as the transformer sees them.

        Raises:
            ClipError: the VAE gives something that is not finite in half precision.
        """
        x = torch.from_numpy(frames).permute(3, 0, 1, 2)[None].to(self.device)
        z = self.vae.encode(x.float() / 127.5 - 1).latent_dist.mode().float().cpu()
        z = normalise(z, self.vae.config.latents_mean, self.vae.config.latents_std)[0]
        if not torch.isfinite(z.half()).all():
            raise ClipError("not finite: its latents")
        return z

    @torch.no_grad()
    def text(self, caption: str) -> Tensor:
        """Embeddings [n, d] float32 on the CPU of a caption's n tokens, at most `max_tokens`.

        The caption is cleaned as WanPipeline does it; zeros behind the last token are left out.

        Raises:
            ClipError: the encoder gives something that is not finite in half precision.
        """
        from diffusers.pipelines.wan.pipeline_wan import prompt_clean

        tokens = self.tokenizer(
            [prompt_clean(caption)],
            max_length=self.facts.max_tokens,
            truncation=True,
            return_tensors="pt",
        ).to(self.device)
        hidden = self.text_encoder(tokens.input_ids, tokens.attention_mask).last_hidden_state
        embedding = hidden[0].float().cpu()
        if not torch.isfinite(embedding.half()).all():
            raise ClipError("not finite: its caption's embedding")
        return embedding

    def padded_text(self, caption: str) -> Tensor:
        """The same with zeros up to [max_tokens, d], as the transformer takes it."""
        text = self.text(caption)
        return torch.nn.functional.pad(text, (0, 0, 0, self.facts.max_tokens - len(text)))
