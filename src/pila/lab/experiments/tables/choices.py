"""One choice at a time: when to correct, how many experts, which gate, which lambda, which form.

What is chosen when an adapter is used is asked of the one that ships, what is chosen in training
of shorter runs.
"""

from pila.lab.experiments.tables.definition import FROZEN, Arm, Experiment

_SHIPS = ("embedded-long",)
_OWN = ("embedded",)

STEP_WINDOW = Experiment(
    name="step-window",
    question="In which denoising steps does the correction serve?",
    paper="Table 13 and figure 10",
    # Of fifty steps the paper corrects 41-50, 31-50, 21-50, 11-50 and all; the early ones are ours.
    arms=(
        FROZEN,
        Arm(name="last-20", recipes=_SHIPS, window=(0.8, 1.0)),
        Arm(name="last-40", recipes=_SHIPS, window=(0.6, 1.0)),
        Arm(name="last-60", recipes=_SHIPS, window=(0.4, 1.0)),
        Arm(name="last-80", recipes=_SHIPS, window=(0.2, 1.0)),
        Arm(name="all", recipes=_SHIPS),
        Arm(name="first-20", recipes=_SHIPS, window=(0.0, 0.2)),
        Arm(name="first-40", recipes=_SHIPS, window=(0.0, 0.4)),
        Arm(name="first-60", recipes=_SHIPS, window=(0.0, 0.6)),
        Arm(name="first-80", recipes=_SHIPS, window=(0.0, 0.8)),
    ),
    against=("all",),
)

TOP_K = Experiment(
    name="top-k",
    question="How many experts, for what quality and cost?",
    paper="Table 14 and figure 5",
    arms=(FROZEN, *(Arm(name=f"k-{k}", recipes=_SHIPS, top_k=k, x=k) for k in range(9))),
    against=("k-4",),
    axis="routed experts K",
)

ADAPTER_SCALE = Experiment(
    name="adapter-scale",
    question="How strongly should the correction be applied?",
    paper="",
    arms=(
        FROZEN,
        *(
            Arm(name=f"x{scale:g}", recipes=_SHIPS, adapter_scale=scale, x=scale)
            for scale in (0.25, 0.5, 1.0, 2.0)
        ),
    ),
    against=("x1",),
    axis="factor on the correction, beside the adapter's own",
)

REFERENCE = Experiment(
    name="reference",
    question="Should the adapter read the guided velocity, or the conditional pass's as trained?",
    paper="",
    arms=(
        FROZEN,
        Arm(name="guided", recipes=_SHIPS),
        Arm(name="cond", recipes=_SHIPS, velocity_source="cond"),
    ),
    against=("guided",),
)

CONVOLUTIONS = Experiment(
    name="convolutions",
    question="Do factorised convolutions lose quality against dense ones?",
    paper="",
    arms=(
        FROZEN,
        # Stage C alone.
        Arm(name="factorised", recipes=("ablation-no-stages",)),
        Arm(name="dense", recipes=("ablation-dense",)),
    ),
    against=("factorised",),
)

GATE = Experiment(
    name="gate",
    question="How should the correction fade with noise?",
    paper="Equation 10",
    arms=(
        FROZEN,
        Arm(name="none", recipes=_OWN),
        Arm(name="quadratic", recipes=("ablation-gate-quadratic",)),
        Arm(name="mid-noise", recipes=("ablation-gate-mid",)),
        Arm(name="learned", recipes=("ablation-gate-learned",)),
    ),
    measures=("laws", "probe"),
    against=("none",),
)

LAMBDA = Experiment(
    name="lambda",
    question="How much may the residual loss weigh?",
    paper="Appendix B (0.30)",
    arms=(
        FROZEN,
        Arm(name="0", recipes=("ablation-no-residuals",), x=0.0),
        Arm(name="0.003", recipes=_OWN, x=0.003),
        Arm(name="0.03", recipes=("ablation-lambda-0-03",), x=0.03),
        Arm(name="0.3", recipes=("ablation-lambda-0-3",), x=0.3),
    ),
    measures=("laws", "probe"),
    against=("0",),
    axis="lambda",
)

RESIDUAL_FORM = Experiment(
    name="residual-form",
    question="Do plain residuals empty the bank, and do relative ones not?",
    paper="Equation 6",
    arms=(
        FROZEN,
        Arm(name="relative", recipes=_OWN),
        Arm(name="plain", recipes=("ablation-plain-residuals",)),
        Arm(name="plain-paper", recipes=("ablation-paper-residuals",)),
    ),
    measures=("laws", "probe"),
    against=("relative",),
)
