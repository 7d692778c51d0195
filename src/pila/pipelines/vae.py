"""The VAE of Wan's class, loaded so that nothing is computed in vain."""

from pathlib import Path
from types import MethodType
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import WanCausalConv3d
from torch import Tensor, nn

from pila.pipelines.loading import load_model


def load_vae(folder: Path) -> Any:
    """A frozen AutoencoderKLWan for coding in float32, as `skip_past_taps` leaves it."""
    vae = load_model(folder, "AutoencoderKLWan")
    skip_past_taps(vae)
    return vae.requires_grad_(False)


def skip_past_taps(vae: nn.Module) -> int:
    """Let 3 x 3 x 3 convolutions whose past taps are all zero look at the present frame only.

    The embedded VAE has such convolutions and its clips take less than half the time so
    (docs/decisions.md); others are left as they are. No gradient reaches the past taps of a
    convolution that is changed: they stay zero.

    Returns:
        How many convolutions were changed.
    """
    changed = 0
    for module in vae.modules():
        if (
            isinstance(module, WanCausalConv3d)
            and module.kernel_size == (3, 3, 3)
            and module.stride == (1, 1, 1)
            and not module.weight[:, :, :-1].any()
        ):
            module.forward = MethodType(_present_only, module)
            changed += 1
    return changed


def _present_only(conv: WanCausalConv3d, x: Tensor, cache_x: Any = None) -> Tensor:
    # Past frames (`cache_x`) meet zero taps; height and width are padded as the class itself does.
    left, _, top, *_ = map(int, conv._padding)
    b, _, t, _, _ = x.shape
    # Images with channels last: PyTorch's 3-D convolutions are slow for one clip on one thread.
    frames = x.transpose(1, 2).flatten(0, 1).contiguous(memory_format=torch.channels_last)
    out = nn.functional.conv2d(frames, conv.weight[:, :, -1], conv.bias, padding=(top, left))
    return out.unflatten(0, (b, t)).transpose(1, 2)
