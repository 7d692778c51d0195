"""The paper's ablations (Tables 4, 9, 10, 11) on the embedded model, and choices that it fixes.

Each swaps one component of `embedded`.

Two of the paper's rows are no recipes. Without the flow correction the clips are the frozen
generator's. Without prompt refinement the condition comes from the raw prompt, as it does in the
simulated world anyway: its captions are physics descriptions already.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pila.lab.embedded.recipes import (
    compared,
    embedded,
    embedded_bank,
    embedded_couple,
    embedded_couple_mix,
    embedded_couple_plain,
    with_adapter,
)
from pila.physics.residual import Family
from pila.train.config import Stages, TrainConfig


def _coupled(**couple: Any) -> Stages:
    """All stages, with some of the coupling's options changed."""
    stages = embedded()
    last = stages["couple"]
    return stages | {"couple": replace(last, couple=replace(last.couple, **couple))}


def _adapted(**adapter: Any) -> Stages:
    """All stages, with some of the adapter's options changed that only the last one uses."""
    stages = embedded()
    return stages | {"couple": with_adapter(stages["couple"], **adapter)}


def _without(family: Family) -> Stages:
    return _coupled(families=tuple(f for f in Family if f is not family))


def no_fields() -> Stages:
    """Without AFE: the scaffold is the bank; no slot answers to another, so stage B has no part."""
    stages = {n: with_adapter(c, field_estimator="scaffold") for n, c in embedded().items()}
    return {name: config for name, config in stages.items() if name != "recover"}


def bank_unfilled() -> Stages:
    """`embedded-bank` as the paper has it: fields alone, read as large as they are."""
    changes: dict[str, Any] = {"field_estimator": "anchored", "decoder_scales_bank": False}
    return {name: with_adapter(c, **changes) for name, c in embedded_bank().items()}


def bank_experts_see_feature() -> Stages:
    """`embedded-bank` with operators that read the encoder's feature, too."""
    return {name: with_adapter(c, experts_see_feature=True) for name, c in embedded_bank().items()}


def no_experts() -> Stages:
    """Without the operators: the bank is decoded as it was estimated (K = 0)."""
    return _adapted(top_k=0)


def no_residuals() -> Stages:
    """Without L_phys."""
    return _coupled(residual_weight=0.0)


def no_routing() -> Stages:
    """Without routing: all experts with equal weights, whatever the prompt."""
    # A softmax at this temperature is even to five digits.
    return _adapted(top_k=8, label_prior=0.0, router_temperature=1e6)


def no_anchor() -> Stages:
    """Without the kinematic anchor: u is never held against motion; no stage A."""
    return {name: config for name, config in embedded().items() if name != "observe"}


def no_staging() -> Stages:
    """Without staged recovery: all slots wake at once."""
    stages = embedded()
    recover = stages["recover"]
    at_once = replace(recover.recover, phase=0.0, temperature=0.0, impulse=0.0, wave=0.0, ramp=0.0)
    return stages | {"recover": replace(recover, recover=at_once)}


def no_stages() -> Stages:
    """Stage C alone."""
    return {"couple": compared(embedded_couple())}


def proxies_only() -> Stages:
    """Fields without operators and without L_phys."""
    stages = _adapted(top_k=0)
    last = stages["couple"]
    return stages | {"couple": replace(last, couple=replace(last.couple, residual_weight=0.0))}


def no_pde_anchors() -> Stages:
    """L_phys without the PDE anchors."""
    return _without(Family.PDE_ANCHOR)


def no_closures() -> Stages:
    """L_phys without the closures."""
    return _without(Family.CLOSURE)


def no_kinematics() -> Stages:
    """L_phys without kinematic consistency."""
    return _without(Family.KINEMATIC)


def no_stabilizers() -> Stages:
    """L_phys without the stabilizers."""
    return _without(Family.STABILIZER)


def random_labels() -> Stages:
    """The router is told categories that were drawn at random."""
    return _coupled(labels="random")


def no_labels() -> Stages:
    """The router is told nothing: the prompt's embedding decides alone."""
    return _coupled(labels="none")


def mix() -> Stages:
    """PILA coupled on the generator's own mix: the control for mere extra denoising."""
    return embedded() | {"couple": compared(embedded_couple_mix())}


def gate_quadratic() -> Stages:
    """The paper's gate, nearly shut where motion is decided."""
    return _adapted(gate="quadratic")


def gate_mid() -> Stages:
    """A gate that is open at middle noise."""
    return _adapted(gate="mid")


def gate_learned() -> Stages:
    """A gate that is learned; 1 everywhere at first."""
    return _adapted(gate="learned")


def lambda_0_03() -> Stages:
    """Ten times our lambda."""
    return _coupled(residual_weight=0.03)


def lambda_0_3() -> Stages:
    """The paper's lambda."""
    return _coupled(residual_weight=0.3)


def plain_residuals() -> Stages:
    """L_phys as plain mean squares."""
    return _coupled(residual_form="plain")


def paper_residuals() -> Stages:
    """The paper's own: plain mean squares that reach the bank, at lambda 0.3."""
    return _coupled(residual_form="plain", detach_bank=False, residual_weight=0.3)


def dense() -> TrainConfig:
    """Stage C with dense 3x3x3 convolutions, of which the factorised ones are the fast form."""
    return with_adapter(compared(embedded_couple()), conv="dense")


def plain_adapter_all_samples() -> TrainConfig:
    """A plain adapter of equal size that learns from as many samples as all of PILA's stages."""
    recipe = plain_adapter()
    samples = sum(config.optim.steps * config.optim.batch for config in embedded().values())
    return replace(recipe, optim=replace(recipe.optim, steps=samples // recipe.optim.batch))


def plain_adapter() -> TrainConfig:
    """A plain adapter of equal size."""
    return compared(embedded_couple_plain())


ABLATIONS: tuple[Callable[[], TrainConfig | Stages], ...] = (
    plain_adapter,
    plain_adapter_all_samples,
    mix,
    no_fields,
    bank_unfilled,
    bank_experts_see_feature,
    no_experts,
    no_residuals,
    no_routing,
    no_anchor,
    no_staging,
    no_stages,
    proxies_only,
    no_pde_anchors,
    no_closures,
    no_kinematics,
    no_stabilizers,
    random_labels,
    no_labels,
    gate_quadratic,
    gate_mid,
    gate_learned,
    lambda_0_03,
    lambda_0_3,
    plain_residuals,
    paper_residuals,
    dense,
)
