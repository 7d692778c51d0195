"""Recipes of ProPhy on the embedded model, its ablations, and the controls inside the generator.

They have the steps, batches and clips of stage C of `embedded`, so that methods can be compared.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pila.lab.embedded.recipes import COUPLE_CORPUS, WORLD, compared, embedded_couple
from pila.train.config import TrainConfig


def embedded_prophy() -> TrainConfig:
    """ProPhy on the embedded generator; token maps from true fields, not from a language model."""
    recipe = compared(embedded_couple())
    # Less than PILA's: the copied blocks are trained already.
    return replace(
        recipe,
        task="prophy",
        # Its maps are those of few clips, the ones that stages A and B of PILA have.
        world=WORLD,
        backbone_precision="no",
        optim=replace(recipe.optim, optimizer="adamw", lr=1e-3, muon_scale=1.0, precision="bf16"),
    )


def embedded_lora() -> TrainConfig:
    """Control: LoRA with as many parameters as ProPhy's branch."""
    return replace(embedded_prophy(), task="lora", world=COUPLE_CORPUS)


def embedded_fine_tune() -> TrainConfig:
    """Control: the whole generator goes on learning, on plausible clips; the ceiling."""
    recipe = embedded_prophy()
    optim = replace(recipe.optim, optimizer="muon", lr=3e-4, muon_scale=3.0)
    return replace(recipe, task="fine-tune", world=COUPLE_CORPUS, optim=optim)


def _changed(**prophy: Any) -> TrainConfig:
    recipe = embedded_prophy()
    return replace(recipe, prophy=replace(recipe.prophy, **prophy))


def prophy_semantic_only() -> TrainConfig:
    """Without refinement experts."""
    return _changed(num_refinement=0)


def prophy_refinement_only() -> TrainConfig:
    """Without semantic experts."""
    return _changed(num_semantic=0)


def prophy_no_alignment() -> TrainConfig:
    """Without L_coarse and L_fine."""
    return _changed(coarse_weight=0.0, fine_weight=0.0)


def prophy_no_balance() -> TrainConfig:
    """Without L_balance."""
    return _changed(balance_weight=0.0)


def prophy_absolute() -> TrainConfig:
    """L_coarse as cross-entropy against the labels, instead of similarities within the batch."""
    return _changed(coarse="absolute")


ABLATIONS: tuple[Callable[[], TrainConfig], ...] = (
    prophy_semantic_only,
    prophy_refinement_only,
    prophy_no_alignment,
    prophy_no_balance,
    prophy_absolute,
)


RECIPES = (embedded_prophy, embedded_lora, embedded_fine_tune)
