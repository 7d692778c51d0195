"""How fast a VAE encodes clips for a latent cache, and what all of WISA-80K comes to."""

from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from pila.lab.profiling.clock import interleaved, peak_gib
from pila.lab.profiling.models import Size

CLIPS = 80_000
"""Of WISA-80K."""


@torch.inference_mode()
def measure(size: Size, *, device: torch.device, repeats: int) -> dict[str, Any]:
    """Encoding by Wan 2.1's VAE at its real configuration with random weights, in float32."""
    from diffusers import AutoencoderKLWan

    torch.manual_seed(0)
    vae: Any = AutoencoderKLWan()
    vae = vae.eval().requires_grad_(False).to(device)
    x = torch.zeros(size.batch, 3, size.frames, size.height, size.width, device=device)

    def encode() -> Any:
        return vae.encode(x)

    with FlopCounterMode(display=False) as counter:
        encode()
    times = interleaved({"encode": encode}, device=device, repeats=repeats)["encode"]
    each = times.median / size.batch
    return {
        "model": "wan2.1 vae",
        "resolution": f"{size.height}x{size.width}",
        "frames": size.frames,
        "batch": size.batch,
        "encode_ms": each,
        "encode_spread_ms": [times.low, times.median, times.high],
        "clips_per_hour": 3.6e6 / each,
        "hours_for_wisa_80k": CLIPS * each / 3.6e6,
        "flops": counter.get_total_flops() // size.batch,
        "memory_gib": peak_gib(encode, device),
    }
