"""The main comparison (the paper's tables 2 and 3), transfer, and ablations (tables 4, 9 to 11)."""

from pila.lab.experiments.tables.definition import FROZEN, Arm, Experiment

PILA = Arm(name="pila", recipes=("embedded",))
PLAIN = Arm(name="plain-adapter", recipes=("ablation-plain-adapter",))
MIX = Arm(name="mix-adapter", recipes=("ablation-mix",))
PROPHY = Arm(name="prophy", recipes=("embedded-prophy",))
# What ships, and its control: stage C of ten times the steps of the rows that are many.
LONG = Arm(name="pila-long", recipes=("embedded-long",))
PLAIN_LONG = Arm(name="plain-adapter-long", recipes=("embedded-couple-plain",))

MAIN = Experiment(
    name="main",
    question="Does PILA close more of the gap to true physics than its controls do?",
    paper="Tables 2 and 3",
    arms=(
        FROZEN,
        PLAIN,
        MIX,
        Arm(name="fine-tune", recipes=("embedded-fine-tune",)),
        PILA,
        Arm(name="pila-no-labels", recipes=("ablation-no-labels",), labels="none"),
        Arm(name="best-of-4", best_of=4, scorer="embedded"),
        Arm(name="lora", recipes=("embedded-lora",)),
        PROPHY,
        Arm(name="pila+prophy", recipes=("embedded", "embedded-prophy")),
        LONG,
        PLAIN_LONG,
    ),
    against=("frozen", "plain-adapter", "mix-adapter", "pila", "plain-adapter-long"),
)

PATHS = Experiment(
    name="paths",
    question="Does it cost anything to let all of the correction pass the bank?",
    paper="Equations 5 and 9",
    arms=(
        FROZEN,
        PLAIN,
        PILA,
        Arm(name="bank", recipes=("embedded-bank",)),
        Arm(name="bank-unfilled", recipes=("ablation-bank-unfilled",)),
        Arm(
            name="bank-experts-see-feature",
            recipes=("ablation-bank-experts-see-feature",),
        ),
        Arm(name="bank-long", recipes=("embedded-bank-long",)),
    ),
    against=("pila", "plain-adapter"),
)

TRANSFER = Experiment(
    name="transfer",
    question="Does an adapter trained on one generator help a larger one of two denoisers?",
    paper="Tables 2 and 3, Wan 2.2-A14B",
    arms=(FROZEN, LONG),
    against=("frozen",),
    model_recipe="embedded-large",
)


def _without(part: str, **options: str) -> Arm:
    return Arm(name=part, recipes=(f"ablation-{part}",), **options)  # type: ignore[arg-type]


ABLATIONS = Experiment(
    name="ablations",
    question="What does each part of the method earn?",
    paper="Tables 4, 9, 10 and 11",
    arms=(
        FROZEN,
        PLAIN,
        _without("plain-adapter-all-samples"),
        _without("no-fields"),
        _without("no-experts"),
        _without("no-residuals"),
        _without("no-routing"),
        _without("no-anchor"),
        _without("no-staging"),
        _without("no-stages"),
        _without("proxies-only"),
        _without("no-pde-anchors"),
        _without("no-closures"),
        _without("no-kinematics"),
        _without("no-stabilizers"),
        _without("random-labels", labels="random"),
        _without("no-labels", labels="none"),
        PILA,
    ),
    against=("pila",),
)

CALIBRATION = Experiment(
    name="calibration",
    question="What do the simulator's true fields in stages A and B do to bank and gap closed?",
    paper="beyond the paper",
    arms=(
        FROZEN,
        PILA,
        Arm(name="pila-calibrated", recipes=("embedded-calibrated",)),
        Arm(name="pila-held", recipes=("embedded-held",)),
    ),
    measures=("laws", "bank"),
    against=("pila",),
)
