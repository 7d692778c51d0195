"""The embedded VAE: a small AutoencoderKLWan trained on crops of simulated clips."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import WanCausalConv3d
from torch import Tensor

from pila.files import whole_folder
from pila.lab.world.corpus import frames_of
from pila.pipelines.loading import load_model
from pila.pipelines.locate import find_model
from pila.pipelines.vae import skip_past_taps
from pila.train.config import TrainConfig, VaeConfig
from pila.train.step_rng import StepRng

POOL = 900
"""Clips held in memory; crops in space and time make many more samples of them."""


def build_vae(config: VaeConfig) -> AutoencoderKLWan:
    """An untrained embedded VAE: pixels packed 2 x 2 and blocks with shortcuts, as Wan 2.2's own.

    Its block convolutions look at the present frame only: their past taps are zero and stay so
    (`skip_past_taps`). Trained on nine frames with all taps, a first VAE drifted into colours
    after the ninth frame (results/LOG.md); with these only the time-resampling layers mix
    frames, over a few of them, so that short crops teach all that long clips need.
    """
    vae = AutoencoderKLWan(
        base_dim=config.base_dim,
        decoder_base_dim=config.decoder_base_dim,
        z_dim=16,
        dim_mult=[1, 2, 2],
        num_res_blocks=1,
        attn_scales=[],
        temperal_downsample=[True, True],
        latents_mean=[0.0] * 16,
        latents_std=[1.0] * 16,
        is_residual=True,
        patch_size=2,
        in_channels=12,
        out_channels=12,
        scale_factor_spatial=8,
        scale_factor_temporal=4,
    )
    with torch.no_grad():
        for module in vae.modules():
            if isinstance(module, WanCausalConv3d):
                module.weight[:, :, :-1] = 0  # an image VAE at first: every frame alike
        # At diffusers' start the posterior's spread is about 1 and hides the means: learning then
        # waits for the encoder's gain to grow. A narrow start skips that.
        vae.quant_conv.weight[16:] *= 0.1
        vae.quant_conv.bias[16:] = -5.0  # pyright: ignore[reportOptionalSubscript]
    skip_past_taps(vae)
    return vae


class VaeTask:
    """Weighted absolute error of the reconstruction plus a small divergence from a unit normal."""

    def __init__(self, config: TrainConfig, device: torch.device | str = "cpu") -> None:
        self.config = config
        torch.manual_seed(config.seed)
        self.module: Any = self._begin()
        # Train crops tell nothing about captions: a part of the corpus is enough.
        self.pool = np.stack(list(frames_of(config.world, POOL)))

    def _begin(self) -> AutoencoderKLWan:
        """An untrained VAE, or that of the model that the recipe starts from."""
        if self.config.start is None:
            return build_vae(self.config.vae)
        vae: AutoencoderKLWan = load_model(find_model(self.config.start) / "vae")
        skip_past_taps(vae)
        return vae

    def groups(self) -> list[dict]:
        """One group: the whole VAE."""
        return [{"params": self.module.parameters()}]

    def loss(self, draws: StepRng) -> tuple[Tensor, Mapping[str, float]]:
        """Weighted absolute error plus the small divergence [], with PSNR [dB] and divergence."""
        rng = draws.own()
        learning = draws.step < self.config.vae.encoder_steps
        self.module.encoder.requires_grad_(learning)
        self.module.quant_conv.requires_grad_(learning)
        x = self._crops(draws, rng)
        with torch.set_grad_enabled(learning):
            posterior = self.module.encode(x).latent_dist
        out = self.module.decode(posterior.sample(rng)).sample
        colour = x.amax(1, keepdim=True) - x.amin(1, keepdim=True)
        weight = 1 + self.config.vae.object_weight * (colour > 0.25)
        error = (out - x).abs()
        fit = (weight * error).mean()
        kl = 0.5 * (posterior.mean**2 + posterior.var - 1 - posterior.logvar).mean()
        psnr = -10 * torch.log10(((out - x) / 2).square().mean())
        return fit + self.config.vae.kl * kl, {"psnr": psnr.item(), "kl": kl.item()}

    def _crops(self, draws: StepRng, rng: torch.Generator) -> Tensor:
        """Random crops in [-1, 1], [b, 3, t, crop, crop]; single frames at first."""
        vae, (n, t, *_) = self.config.vae, self.pool.shape
        images = draws.step < vae.image_steps
        frames = 1 if images else vae.frames
        count = len(draws.rows) * (vae.images_each if images else 1)

        def draw(high: int, count: int = 1) -> list[int]:
            return torch.randint(0, high, (count,), generator=rng).tolist()

        batch = []
        for index in draw(n, count):
            (f,) = draw(t - frames + 1)
            y, x = self._corner(self.pool[index, f + frames // 2], rng)
            batch.append(self.pool[index, f : f + frames, y : y + vae.crop, x : x + vae.crop])
        return self._pixels(np.stack(batch))

    def _pixels(self, frames: np.ndarray) -> Tensor:
        """Frames [b, t, h, w, 3] uint8 as the VAE takes them, [b, 3, t, h, w], where it is."""
        x = torch.from_numpy(frames).permute(0, 4, 1, 2, 3).to(self.module.device)
        return x.float() / 127.5 - 1

    def _corner(self, frame: np.ndarray, rng: torch.Generator) -> tuple[int, int]:
        """Upper left corner of a crop; mostly one that holds a coloured pixel of the frame."""
        vae = self.config.vae
        room = frame.shape[0] - vae.crop
        anywhere, shift_y, shift_x, pick = torch.rand(4, generator=rng).tolist()
        corner = np.array([shift_y, shift_x]) * room
        if anywhere < vae.object_share:
            coloured = np.argwhere(np.ptp(frame, axis=-1) > 40)
            if len(coloured):
                shift = np.array([shift_y, shift_x]) * vae.crop
                corner = coloured[int(pick * len(coloured))] - shift
        y, x = np.clip(corner, 0, room).astype(int).tolist()
        return y, x

    def validate(self) -> None:
        """None: the last VAE is the one to keep, since latents are cached with its encoder."""

    @torch.no_grad()
    def export(self, folder: Path) -> Path:
        """Save the VAE with the mean and spread of its own latents in its config."""
        self.module.eval()
        x = self._pixels(self.pool[:96])
        z = torch.cat([self.module.encode(part).latent_dist.mode() for part in x.split(8)])
        mean, std = z.mean((0, 2, 3, 4)), z.std((0, 2, 3, 4))
        self.module.register_to_config(
            latents_mean=[round(v, 5) for v in mean.tolist()],
            latents_std=[round(v, 5) for v in std.tolist()],
            # Else it names the folder that it began from, on this machine.
            _name_or_path="",
        )
        back = torch.cat([self.module.decode(part).sample for part in z[:24].split(8)])
        psnr = -10 * torch.log10(((back.clamp(-1, 1) - x[:24]) / 2).square().mean((1, 2, 3, 4)))
        with whole_folder(folder / "vae") as beside:
            self.module.save_pretrained(beside)
            (folder / "result.json").write_text(
                json.dumps({"psnr_mean": psnr.mean().item(), "psnr_min": psnr.min().item()})
            )
        return folder / "vae"
