"""Wan's published text-to-video repositories, as far as their configurations say what they are."""

from dataclasses import dataclass
from typing import Any

WAN_NEGATIVE_PROMPT = (
    "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，低质量，"
    "JPEG压缩残留，丑陋的，残缺的，多余的手指，画得不好的手部，画得不好的脸部，畸形的，毁容的，形态畸形的肢体，"
    "手指融合，静止不动的画面，杂乱的背景，三条腿，背景人很多，倒着走"
)
"""What Wan's authors lead away from unless told otherwise."""

_WAN: dict[str, Any] = {
    "patch_size": (1, 2, 2),
    "attention_head_dim": 128,
    "in_channels": 16,
    "out_channels": 16,
    "text_dim": 4096,
    "freq_dim": 256,
    "cross_attn_norm": True,
    "qk_norm": "rms_norm_across_heads",
}
_SMALL = _WAN | {"num_attention_heads": 12, "ffn_dim": 8960, "num_layers": 30}
_LARGE = _WAN | {"num_attention_heads": 40, "ffn_dim": 13824, "num_layers": 40}
_TI2V = _WAN | {"num_attention_heads": 24, "ffn_dim": 14336, "num_layers": 30}
_TI2V |= {"in_channels": 48, "out_channels": 48}


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownModel:
    """A repository.

    Attributes:
        denoisers: `config.json` of its transformer, or of both.
        latents: [c, t, h, w] of a clip at its authors' size: 81 frames of 480 x 832, or 121 of
            704 x 1280 through the VAE of Wan 2.2.
    """

    denoisers: tuple[dict[str, Any], ...]
    latents: tuple[int, int, int, int] = (16, 21, 60, 104)


KNOWN: dict[str, KnownModel] = {
    "Wan-AI/Wan2.1-T2V-1.3B-Diffusers": KnownModel(denoisers=(_SMALL,)),
    "Wan-AI/Wan2.1-T2V-14B-Diffusers": KnownModel(denoisers=(_LARGE,)),
    "Wan-AI/Wan2.2-T2V-A14B-Diffusers": KnownModel(denoisers=(_LARGE, _LARGE)),
    "Wan-AI/Wan2.2-TI2V-5B-Diffusers": KnownModel(denoisers=(_TI2V,), latents=(48, 31, 44, 80)),
}
"""By hub id; from each repository's `transformer/config.json`."""
