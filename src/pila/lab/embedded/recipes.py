"""Recipes of the embedded model: VAE, text encoder, generator, adapters. CPU minutes each."""

from dataclasses import replace
from typing import Any

from pila.data.corpus import CorpusConfig
from pila.train.config import (
    AdapterConfig,
    CoupleConfig,
    GeneratorConfig,
    OptimConfig,
    Stages,
    TrainConfig,
    VaeConfig,
)

WORLD = CorpusConfig(size=64)
"""What the embedded model knows."""

LAGGING_SCENES = (
    "freezing_front",
    "melting_disc",
    "boiling_pot",
    "hot_spot",
    "contact_bodies",
    "ripples",
    "refraction",
    "mirror",
)
"""Scenes of the three categories whose clips passed least often (development prompts)."""

COUPLE_CORPUS = replace(WORLD, clips=16_384, violated=0.0)
"""What stage C learns from. Clips that break a law are not made where they would be left out."""

COMPARISON_STEPS, COMPARISON_BATCH = 300, 96
"""Steps and batch of stage C where methods are compared: many of them, with several seeds."""

SHIPPED_ADAPTER = {"hidden_width": 96, "encoder_blocks": 6}
"""Of what ships: as many blocks as its plain control has. Runs that are compared are smaller."""

SHIPPED_SCALE, COMPARISON_SCALE = 3.0, 4.0
"""Factors on corrections in sampling, chosen on development prompts (results/LOG.md): of what
ships, and of the short runs that are compared, which know less of the direction."""

BANK_ALONE: dict[str, Any] = {
    "field_estimator": "anchored-filled",
    "decoder_blocks": 4,
    "experts_see_feature": False,
    "decoder_sees_feature": False,
    "decoder_scales_bank": True,
}
"""The bank as the only way from the estimate to the correction, as in the paper, and what makes it
carry (results/LOG.md): operators and decoder do not read the encoder's feature; channels that the
fields leave free are filled, and the decoder, twice as deep, scales them."""

SLOT_ANCHOR_WEIGHT = 0.02
"""Weight of each other slot's anchor while coupling, where they are kept on."""


def embedded_vae() -> TrainConfig:
    """The embedded VAE on 32 px crops of nine frames of 96 px clips."""
    return TrainConfig(
        task="vae",
        world=CorpusConfig(size=96),
        # No averaging: the encoder stops before the decoder does, and must stay as it was.
        optim=OptimConfig(
            lr=2.5e-3, steps=6500, batch=6, warmup=100, clip=0.5, ema=0.0, final_lr=0.02
        ),
    )


def embedded_vae_small() -> TrainConfig:
    """The embedded VAE goes on at the size of the embedded model, whose things are smaller."""
    return TrainConfig(
        task="vae",
        world=WORLD,
        start="embedded",
        vae=VaeConfig(image_steps=0, encoder_steps=2500),
        optim=OptimConfig(
            lr=1.5e-3, steps=3200, batch=16, warmup=50, clip=0.5, ema=0.0, final_lr=0.02
        ),
    )


def embedded_text() -> TrainConfig:
    """The embedded text encoder on the world's captions."""
    return TrainConfig(
        task="text",
        world=WORLD,
        optim=OptimConfig(lr=2e-3, steps=5000, batch=96, warmup=50, ema=0.0),
    )


def embedded_generator() -> TrainConfig:
    """The embedded generator on the mixed corpus, half of it violated; needs a C++ compiler."""
    return TrainConfig(
        task="generator",
        world=replace(WORLD, clips=16_384),
        generator=GeneratorConfig(compiled=True),
        optim=OptimConfig(
            optimizer="muon",
            lr=1.5e-3,
            decay="tail",
            steps=9_000,
            batch=32,
            warmup=100,
            ema=0.998,
            final_lr=0.01,
            precision="bf16",
        ),
    )


def embedded_generator_fine() -> TrainConfig:
    """The embedded generator goes on: three times the clips, more of the middle noise levels."""
    recipe = embedded_generator()
    return replace(
        recipe,
        start="embedded",
        world=replace(recipe.world, clips=49_152),
        generator=replace(recipe.generator, trained_shift=1.5, pixels=0.5),
        optim=replace(recipe.optim, lr=1.2e-3, decay="cosine", steps=8_500),
    )


def embedded_generator_deep() -> TrainConfig:
    """And on, two blocks deeper: errors of moving things count most. Minutes on a GPU."""
    recipe = embedded_generator_fine()
    return replace(
        recipe,
        world=replace(recipe.world, clips=98_304),
        # One level a sample, as in sampling: reading one frame off another is learned by now.
        generator=replace(recipe.generator, layers=8, moving=0.75, frame_noise_every=0),
        optim=replace(recipe.optim, lr=2e-3, steps=750, batch=256),
    )


def embedded_generator_even() -> TrainConfig:
    """And on, half the way, with more clips of the scenes that are behind. An hour of two cores."""
    recipe = embedded_generator_deep()
    return replace(
        recipe,
        world=replace(recipe.world, clips=49_152),
        generator=replace(recipe.generator, favoured=LAGGING_SCENES, blend=0.5),
        optim=replace(recipe.optim, lr=1e-3, steps=6_500, batch=32),
    )


def embedded_large() -> TrainConfig:
    """Wan 2.2's layout: two denoisers, each half as deep again as the shipped one; not shipped.

    Both go on from the shipped one, so that two cores can train them: an hour.
    """
    recipe = embedded_generator_deep()
    return replace(
        recipe,
        world=replace(recipe.world, clips=16_384),
        # Its tokens know their places; a fresh head would teach them anew what they know.
        generator=replace(recipe.generator, layers=12, boundary=0.875, whereabouts=0.0),
        # A rate of 1e-3 unlearns more within 200 steps than so few can mend (results/LOG.md).
        optim=replace(recipe.optim, lr=4e-4, steps=1_200, batch=32, warmup=50),
    )


def embedded_observe() -> TrainConfig:
    """Stage A on the embedded generator: u follows optical flow."""
    return TrainConfig(
        task="observe",
        world=WORLD,
        optim=OptimConfig(lr=2e-3, steps=900, batch=8, warmup=20, clip=0.5, ema=0.99),
    )


def embedded_recover() -> TrainConfig:
    """Stage B on the embedded generator: the slots beside u wake one after another."""
    return TrainConfig(
        task="recover",
        world=WORLD,
        optim=OptimConfig(lr=2e-3, steps=600, batch=8, warmup=20, clip=0.5, ema=0.99),
    )


def embedded_couple() -> TrainConfig:
    """Stage C on the embedded generator: plausible clips only, backbone frozen."""
    return TrainConfig(
        task="couple",
        world=COUPLE_CORPUS,
        couple=CoupleConfig(
            moving=0.75,
            adapter=replace(AdapterConfig(default_scale=SHIPPED_SCALE), **SHIPPED_ADAPTER),
        ),
        # As the generator is sampled; the adapter in float32, since the gradient of the plain one,
        # with its many channels, is NaN in bfloat16 now and then (results/LOG.md).
        backbone_precision="bf16",
        optim=OptimConfig(
            optimizer="muon",
            lr=2e-3,
            muon_scale=3.0,
            steps=500,
            batch=256,
            warmup=30,
            clip=0.5,
            ema=0.99,
            final_lr=0.02,
        ),
    )


def embedded_couple_plain() -> TrainConfig:
    """Control: a plain adapter of equal size, trained on the same clips."""
    couple = embedded_couple()
    return replace(couple, couple=replace(couple.couple, kind="plain"))


def embedded_couple_mix() -> TrainConfig:
    """Control: PILA's adapter trained on the generator's own mix, for mere extra denoising."""
    couple = embedded_couple()
    mixed = replace(couple.couple, plausible_only=False)
    return replace(couple, couple=mixed, world=replace(COUPLE_CORPUS, violated=WORLD.violated))


def with_adapter(config: TrainConfig, **adapter: Any) -> TrainConfig:
    """The same, with some of the adapter's options changed."""
    couple = config.couple
    return replace(config, couple=replace(couple, adapter=replace(couple.adapter, **adapter)))


def compared(recipe: TrainConfig) -> TrainConfig:
    """The same, as wide and as long as the runs that are compared."""
    adapter = AdapterConfig(default_scale=COMPARISON_SCALE)
    return replace(
        recipe,
        couple=replace(recipe.couple, adapter=adapter),
        optim=replace(recipe.optim, lr=1.5e-3, steps=COMPARISON_STEPS, batch=COMPARISON_BATCH),
    )


def embedded() -> Stages:
    """All three stages in a row."""
    # While coupling the encoder neither rests nor learns more slowly (App. B), which costs more
    # than it keeps, and is not held to motion: few clips have targets, and few are learnt by heart.
    return {
        "observe": embedded_observe(),
        "recover": embedded_recover(),
        "couple": compared(embedded_couple()),
    }


def embedded_long() -> Stages:
    """All three stages in a row, a larger adapter, the last one longer. What ships."""
    stages = {name: with_adapter(config, **SHIPPED_ADAPTER) for name, config in embedded().items()}
    return stages | {"couple": embedded_couple()}


def embedded_bank() -> Stages:
    """As `embedded`, with the bank as the only way to the correction."""
    return {name: with_adapter(config, **BANK_ALONE) for name, config in embedded().items()}


def embedded_bank_long() -> Stages:
    """The same with the long stage C of `embedded-long`, as wide as `embedded`."""
    long = with_adapter(embedded_couple(), hidden_width=64, encoder_blocks=4, **BANK_ALONE)
    return embedded_bank() | {"couple": long}


def embedded_calibrated() -> Stages:
    """All three stages, A and B held against the simulator's true fields: beyond the paper."""
    stages = embedded()
    observe, recover = stages["observe"], stages["recover"]
    return stages | {
        "observe": replace(observe, observe=replace(observe.observe, targets="true")),
        "recover": replace(
            recover, recover=replace(recover.recover, calibrated=True, observable_weight=1.0)
        ),
    }


def embedded_held() -> Stages:
    """As `embedded-calibrated`, and the slots are held to their fields while coupling, too."""
    stages = embedded_calibrated()
    couple = stages["couple"]
    return stages | {
        "couple": replace(
            couple,
            recover=stages["recover"].recover,
            # True fields are those of few clips, the ones that stages A and B have.
            world=WORLD,
            couple=replace(couple.couple, slot_weight=SLOT_ANCHOR_WEIGHT),
        )
    }


RECIPES = (
    embedded_vae,
    embedded_vae_small,
    embedded_text,
    embedded_generator,
    embedded_generator_fine,
    embedded_generator_deep,
    embedded_generator_even,
    embedded_large,
    embedded,
    embedded_long,
    embedded_bank,
    embedded_bank_long,
    embedded_calibrated,
    embedded_held,
    embedded_observe,
    embedded_recover,
    embedded_couple,
    embedded_couple_plain,
    embedded_couple_mix,
)
