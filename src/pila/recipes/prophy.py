"""Recipes of ProPhy on Wan, and the control that learns inside the generator.

The constants are ProPhy's where it names them, and ours otherwise.
"""

from dataclasses import replace

from pila.recipes.wan import BATCH, MODEL, SHIFT
from pila.train.config import GeneratorConfig, OptimConfig, TrainConfig

CLIPS = 20_000
"""Of WISA-80K, drawn at random, as ProPhy was trained on; the epochs are ours."""


def wan_prophy() -> TrainConfig:
    """ProPhy on Wan 2.1-1.3B; `--data` is a latent cache with token maps (`pila data maps`)."""
    return TrainConfig(
        task="prophy",
        model=MODEL,
        recompute=True,
        optim=OptimConfig(
            lr=1e-5,
            final_lr=1.0,
            warmup=100,
            clip=1.0,
            ema=0.0,
            batch=BATCH,
            micro_batch=1,
            steps=2 * CLIPS // BATCH,
            precision="bf16",
        ),
        generator=GeneratorConfig(shift=SHIFT),
    )


def wan_lora() -> TrainConfig:
    """Control: LoRA of the same size on Wan 2.1-1.3B."""
    recipe = wan_prophy()
    return replace(recipe, task="lora", optim=replace(recipe.optim, lr=1e-4))


RECIPES = {"wan2.1-1.3b-prophy": wan_prophy, "wan2.1-1.3b-lora": wan_lora}
