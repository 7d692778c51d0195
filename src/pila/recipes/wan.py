"""Recipes for the real generators, at the paper's constants where it names them (App. B).

Origins, value by value: docs/decisions.md. The latent cache is made by `pila data cache` and named
by `--data`; 8 GPUs are `accelerate launch --num_processes 8 -m pila.cli train wan2.1-1.3b ...`.
"""

from dataclasses import replace

from pila.train.config import (
    AdapterConfig,
    CoupleConfig,
    GeneratorConfig,
    ObserveConfig,
    OptimConfig,
    RecoverConfig,
    Stages,
    TrainConfig,
)

MODEL = "Wan-AI/Wan2.1-T2V-1.3B-Diffusers"
CLIPS = 80_000
"""Of WISA-80K; three epochs of them are the coupling stage."""
BATCH = 8
SHIFT = 3.0
"""Of noise levels: that of the repositories at 480 lines, with which users sample."""
PAPER_SHIFT = 5.0


def wan_21_13b() -> Stages:
    """All three stages on Wan 2.1-1.3B: the paper's constants, our forms of loss and bank."""
    optim = OptimConfig(
        lr=1e-5,
        final_lr=1.0,  # constant after the warm-up
        warmup=100,
        clip=0.5,
        ema=0.0,
        batch=BATCH,
        precision="bf16",
    )
    adapter = AdapterConfig(
        hidden_width=128,
        expert_width=None,
        top_k=4,
        label_prior=2.0,
        router_temperature=2.0,
        gate="quadratic",
        decoder_sees_feature=False,
    )
    couple = CoupleConfig(
        adapter=adapter,
        residual_weight=0.30,
        residual_warmup=2000,
        condition_warmup=1000,
        mask_warmup=300,
        encoder_freeze=1000,
        encoder_lr_scale=0.3,
    )
    common = TrainConfig(
        task="couple",
        model=MODEL,
        optim=replace(optim, steps=3 * CLIPS // BATCH),
        generator=GeneratorConfig(shift=SHIFT),
        couple=couple,
    )
    return {
        "observe": replace(
            common, task="observe", optim=replace(optim, steps=9000), observe=ObserveConfig()
        ),
        "recover": replace(
            common, task="recover", optim=replace(optim, steps=2600), recover=RecoverConfig()
        ),
        "couple": common,
    }


def wan_21_13b_paper() -> Stages:
    """The same with the paper's form of L_phys, plain mean squares that reach the bank, and shift.

    Sample with `flow_shift=5.0` in the scheduler's config, too.
    """
    stages = {
        name: replace(c, generator=replace(c.generator, shift=PAPER_SHIFT))
        for name, c in wan_21_13b().items()
    }
    last = stages["couple"]
    plain = replace(last.couple, residual_form="plain", detach_bank=False)
    return stages | {"couple": replace(last, couple=plain)}


RECIPES = {"wan2.1-1.3b": wan_21_13b, "wan2.1-1.3b-paper": wan_21_13b_paper}
