"""A step of the coupling stage against the frozen forward that it cannot do without.

The recipe's own task on a latent cache of random clips and a denoiser of random weights.
"""

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from pila.data.records import View
from pila.errors import InputError
from pila.lab.profiling.clock import interleaved, peak_gib
from pila.lab.profiling.models import TOKENS, Size, build_denoiser
from pila.lab.profiling.random_cache import write_random_cache

RECIPES_OF = {"embedded": "embedded-couple", "wan2.1-1.3b": "wan2.1-1.3b"}
PROMPT_TOKENS = 160
"""Of a caption as it is kept; a guess for WISA-80K's long ones."""


def measure(
    model: str,
    size: Size,
    *,
    device: torch.device,
    repeats: int,
    layers: int | None = None,
) -> dict[str, Any]:
    """Times of the frozen forward alone and of whole steps, and on a GPU both peaks of memory.

    Args:
        model: "embedded" or "wan2.1-1.3b".
        size: of the clips; its batch is the step's.
        device: where both run; on a GPU in bfloat16 as the recipe has it.
        repeats: steps that count.
        layers: blocks of the denoiser instead of its own number.

    Raises:
        InputError: a model that no recipe trains on.
    """
    if model not in RECIPES_OF:
        raise InputError(
            f"no recipe couples on {model}; --training takes {' or '.join(RECIPES_OF)}"
        )
    from pila.recipes import RECIPES
    from pila.train.couple import CoupleTask
    from pila.train.step_rng import StepRng

    half = device.type == "cuda"
    with tempfile.TemporaryDirectory() as place:
        folder, cache = Path(place) / "model", Path(place) / "cache"
        cache.mkdir()
        width = _write_model(folder, model, device, layers)
        short = model == "embedded"
        write_random_cache(
            cache,
            2 * size.batch,
            view=View(height=size.height, width=size.width, num_frames=size.frames, fps=16),
            channels=16,
            text_width=width,
            tokens=32 if short else PROMPT_TOKENS,
            padded=32 if short else TOKENS,
        )
        recipe: Any = RECIPES[RECIPES_OF[model]]()
        recipe = recipe["couple"] if isinstance(recipe, dict) else recipe
        config = replace(
            recipe,
            model=str(folder),
            data=str(cache),
            held_out=0.0,
            # Predictions that are kept would leave the frozen forward out.
            noise_draws=None,
            optim=replace(recipe.optim, batch=size.batch, micro_batch=None),
        )
        task = CoupleTask(config, device)
        task.module.to(device)
        optimizer = torch.optim.AdamW(task.groups(), lr=1e-5)
        steps = iter(range(10**6))

        def draws() -> StepRng:
            # Late in the schedule, when nothing is warming up any more; in order, as they train.
            step = config.optim.steps - 100 + next(steps) % 100
            return StepRng(seed=0, step=step, batch=size.batch, rows=range(size.batch))

        def coupled() -> None:
            with torch.autocast(device.type, torch.bfloat16, enabled=half):
                loss, _ = task.loss(draws())
            loss.backward()
            torch.nn.utils.clip_grad_norm_(task.module.parameters(), 0.5)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

        runs = {"frozen": lambda: task.predicted(draws()), "step": coupled}
        times = interleaved(runs, device=device, repeats=repeats)
        peaks = {name: peak_gib(run, device) for name, run in runs.items()}
    frozen, step = times["frozen"], times["step"]
    return {
        "model": model,
        "resolution": f"{size.height}x{size.width}",
        "frames": size.frames,
        "batch": size.batch,
        "layers": layers,
        "parameters": sum(p.numel() for p in task.module.parameters()),
        "frozen_ms": frozen.median,
        "step_ms": step.median,
        "step_spread_ms": [step.low, step.median, step.high],
        "ratio": step.median / frozen.median,
        "memory_frozen_gib": peaks["frozen"],
        "memory_gib": peaks["step"],
    }


def _write_model(folder: Path, model: str, device: torch.device, layers: int | None) -> int:
    """A repository with the denoiser alone, random weights; returns the width of its embeddings."""
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    built = build_denoiser(model, device=device, dtype=dtype, layers=layers)
    built.save_pretrained(folder / "transformer")
    index = {"_class_name": "WanPipeline", "transformer": ["diffusers", "WanTransformer3DModel"]}
    (folder / "model_index.json").write_text(json.dumps(index))
    return int(built.config["text_dim"])
