"""Tiny Wan pipelines with random weights, built only from diffusers' and transformers' classes."""

from typing import Any

import torch
from diffusers import (
    AutoencoderKLWan,
    FlowMatchEulerDiscreteScheduler,
    UniPCMultistepScheduler,
    WanTransformer3DModel,
)
from transformers import T5Tokenizer, UMT5Config, UMT5EncoderModel

LATENT_CHANNELS = 16
TEXT_WIDTH = 32
PROMPT = "a red ball falls"
OTHER_PROMPT = "ice melts on a hot plate"
CALL: dict[str, Any] = {
    "height": 32,
    "width": 32,
    "num_frames": 9,
    "num_inference_steps": 3,
    "max_sequence_length": 16,
    "output_type": "latent",
}


def tokenizer() -> T5Tokenizer:
    """Words of the prompts and single characters; trained unigram vocabularies vary by run."""
    words = sorted({*PROMPT.split(), *OTHER_PROMPT.split()})
    vocab = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -8.0)]
    vocab += [(character, -12.0) for character in "abcdefghijklmnopqrstuvwxyz.,"]
    vocab += [("\u2581" + word, -4.0) for word in words]
    return T5Tokenizer(vocab=vocab, extra_ids=0)


def text_encoder(vocab_size: int) -> UMT5EncoderModel:
    config = UMT5Config(
        vocab_size=vocab_size,
        d_model=TEXT_WIDTH,
        d_kv=TEXT_WIDTH // 2,
        d_ff=TEXT_WIDTH,
        num_layers=1,
        num_heads=2,
        dropout_rate=0.0,
        pad_token_id=0,
        eos_token_id=1,
    )
    return UMT5EncoderModel(config).eval()


def vae(channels: int = LATENT_CHANNELS) -> AutoencoderKLWan:
    return AutoencoderKLWan(
        base_dim=4,
        z_dim=channels,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
        latents_mean=[0.0] * channels,
        latents_std=[1.0] * channels,
    ).eval()


def transformer(in_channels: int = LATENT_CHANNELS, layers: int = 1) -> WanTransformer3DModel:
    model = WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=2,
        attention_head_dim=16,
        in_channels=in_channels,
        out_channels=LATENT_CHANNELS,
        text_dim=TEXT_WIDTH,
        freq_dim=32,
        ffn_dim=32,
        num_layers=layers,
        cross_attn_norm=True,
        rope_max_seq_len=32,
    )
    return model.eval()


def scheduler(name: str = "unipc") -> Any:
    if name == "euler":
        return FlowMatchEulerDiscreteScheduler(shift=3.0)
    return UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
    )


def components(*, wan22: bool = False, in_channels: int = LATENT_CHANNELS) -> dict[str, Any]:
    """Constructor arguments of a Wan pipeline, fp32; `wan22` has two denoisers."""
    torch.manual_seed(0)
    words = tokenizer()
    return {
        "tokenizer": words,
        "text_encoder": text_encoder(len(words)),
        "vae": vae(),
        "scheduler": scheduler(),
        "transformer": transformer(in_channels),
        "transformer_2": transformer(in_channels) if wan22 else None,
        # Among three steps with shift 3 the first two have t above 800, the last one below.
        "boundary_ratio": 0.8 if wan22 else None,
    }


def latents(pipeline: Any, prompt: Any = PROMPT, **options: Any) -> torch.Tensor:
    """Latents [b, c, t, h, w] that a pipeline ends with, from one fixed noise."""
    pipeline.set_progress_bar_config(disable=True)
    call = {**CALL, "guidance_scale": 4.0, "negative_prompt": None, **options}
    if isinstance(prompt, torch.Tensor):
        call["prompt_embeds"] = prompt
    else:
        call["prompt"] = prompt
    return pipeline(**call, generator=torch.Generator().manual_seed(1)).frames


def live_adapter() -> Any:
    """A tiny adapter that fits `components` and whose correction is not zero."""
    from pila.adapter import PilaAdapter

    torch.manual_seed(0)
    adapter = PilaAdapter(
        latent_channels=LATENT_CHANNELS,
        text_dim=TEXT_WIDTH,
        hidden_width=8,
        encoder_blocks=1,
        decoder_blocks=1,
    )
    torch.nn.init.normal_(adapter.decoder.out.weight, std=0.2)
    return adapter
