"""Convolutions without a past give the same clips, faster, and stay without one."""

from typing import Any

import torch
from diffusers import AutoencoderKLWan

from pila.lab.embedded.vae import build_vae
from pila.pipelines.locate import EMBEDDED_MODEL
from pila.pipelines.vae import load_vae, skip_past_taps
from pila.train.config import VaeConfig


def test_latents_and_clips_are_the_class_own():
    own: Any = AutoencoderKLWan.from_pretrained(EMBEDDED_MODEL / "vae").eval()
    fast = load_vae(EMBEDDED_MODEL / "vae")
    x = torch.rand(1, 3, 9, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        z = own.encode(x).latent_dist.mode()
        assert (fast.encode(x).latent_dist.mode() - z).abs().max() < 1e-4
        assert (fast.decode(z).sample - own.decode(z).sample).abs().max() < 1e-4


def test_a_convolution_with_a_past_is_left_alone():
    vae = build_vae(VaeConfig(base_dim=4, decoder_base_dim=4))
    changed = skip_past_taps(vae)
    with torch.no_grad():
        for module in vae.modules():
            if isinstance(module, torch.nn.Conv3d):
                module.weight += 0.01
                module.__dict__.pop("forward", None)
    assert changed > 10
    assert skip_past_taps(vae) == 0


def test_training_leaves_the_past_taps_at_zero():
    vae: Any = build_vae(VaeConfig(base_dim=4, decoder_base_dim=4))
    x = torch.rand(1, 3, 9, 16, 16, generator=torch.Generator().manual_seed(0))
    vae.decode(vae.encode(x).latent_dist.mode()).sample.square().mean().backward()
    seen = [p.grad for n, p in vae.named_parameters() if p.shape[2:] == (3, 3, 3)]
    assert sum(g is not None and bool(g[:, :, -1].any()) for g in seen) > 10
    assert not any(g[:, :, :-1].any() for g in seen if g is not None)
