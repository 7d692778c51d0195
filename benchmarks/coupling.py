"""What a coupling step costs over the frozen forward that it cannot do without.

    python -m benchmarks.coupling embedded [--batch 8] [--repeats 5]
    python -m benchmarks.coupling wan2.1-1.3b --device cuda [--batch 1] [--repeats 5]

Builds the generator of that size with random weights, a latent cache of random clips (Wan: 81
frames of 832 x 480) and the recipe's own adapter and task, and prints medians of the wall time of
the frozen forward alone and of whole steps (forward, backward, clip, AdamW), and on a GPU the peaks
of memory of both. Run it on an idle machine.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from benchmarks.random_cache import write_random_cache
from diffusers import WanTransformer3DModel

from pila.backbones.embedded import EMBEDDED_MODEL
from pila.data.records import View
from pila.recipes import RECIPES
from pila.train.couple import CoupleTask
from pila.train.draws import Draws

WAN_21_13B = {
    "patch_size": (1, 2, 2),
    "num_attention_heads": 12,
    "attention_head_dim": 128,
    "in_channels": 16,
    "out_channels": 16,
    "text_dim": 4096,
    "freq_dim": 256,
    "ffn_dim": 8960,
    "num_layers": 30,
    "cross_attn_norm": True,
    "qk_norm": "rms_norm_across_heads",
}
"""transformer/config.json of Wan-AI/Wan2.1-T2V-1.3B-Diffusers."""
SIZES = {
    "embedded": (View(height=96, width=96, num_frames=33, fps=16), "embedded-couple"),
    "wan2.1-1.3b": (View(height=480, width=832, num_frames=81, fps=16), "wan2.1-1.3b"),
}


def main(size: str, device: torch.device, batch: int, repeats: int) -> None:
    """Print both times, their ratio, and on a GPU both peaks of memory."""
    view, recipe = SIZES[size]
    with tempfile.TemporaryDirectory() as place:
        model, cache = Path(place) / "model", Path(place) / "cache"
        cache.mkdir()
        width = _write_model(model, size, device)
        tokens, padded = (32, 32) if size == "embedded" else (160, 512)
        write_random_cache(
            cache,
            2 * batch,
            view=view,
            channels=16,
            text_width=width,
            tokens=tokens,
            padded=padded,
        )
        config: Any = RECIPES[recipe]()
        config = config if not isinstance(config, dict) else config["couple"]
        config = replace(
            config,
            model=str(model),
            data=str(cache),
            held_out=0.0,
            optim=replace(config.optim, batch=batch, micro_batch=None),
        )
        task = CoupleTask(config, device)
    task.module.to(device)
    parameters = sum(p.numel() for p in task.module.parameters())
    optimizer = torch.optim.AdamW(task.groups(), lr=1e-5)
    half = device.type == "cuda"

    def draws(step: int) -> Draws:
        return Draws(seed=0, step=step, batch=batch, rows=range(batch))

    def frozen(step: int) -> None:
        task.predicted(draws(step))

    def coupled(step: int) -> None:
        # Late in the schedule, when nothing is warming up any more.
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            loss, _ = task.loss(draws(config.optim.steps - 1 - step))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(task.module.parameters(), 0.5)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    print(f"{size}, batch {batch}, {device}, adapter of {parameters:,} parameters")
    found = {
        name: _measured(run, device, repeats)
        for name, run in (("frozen", frozen), ("step", coupled))
    }
    for name, (seconds, peak) in found.items():
        memory = f", peak {peak / 2**30:.2f} GiB" if peak else ""
        print(f"{name:8s} {1e3 * seconds:10.1f} ms{memory}")
    print(f"step / frozen: time {found['step'][0] / found['frozen'][0]:.3f}", end="")
    print(f", memory {found['step'][1] / found['frozen'][1]:.3f}" if found["step"][1] else "")


def _write_model(folder: Path, size: str, device: torch.device) -> int:
    """A repository with the denoiser alone, random weights; returns the width of its embeddings."""
    config = WAN_21_13B
    if size == "embedded":
        config = WanTransformer3DModel.load_config(EMBEDDED_MODEL / "transformer")
    torch.manual_seed(0)
    with device:
        model = WanTransformer3DModel.from_config(config)
    model.save_pretrained(folder / "transformer")
    index = {"_class_name": "WanPipeline", "transformer": ["diffusers", "WanTransformer3DModel"]}
    (folder / "model_index.json").write_text(json.dumps(index))
    return int(model.config["text_dim"])


def _measured(run: Callable[[int], None], device: torch.device, repeats: int) -> tuple[float, int]:
    """Median seconds of a run, and the peak of memory on a GPU; the first run warms up."""
    run(0)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    times = []
    for step in range(1, repeats + 1):
        start = time.perf_counter()
        run(step)
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    peak = torch.cuda.max_memory_allocated() if device.type == "cuda" else 0
    return statistics.median(times), peak


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("size", choices=SIZES)
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--batch", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    batch = given.batch or (8 if given.size == "embedded" else 1)
    main(given.size, given.device, batch, given.repeats)
