"""Looks inside, and other benchmarks' definitions on the simulated world."""

from pila.lab.experiments.tables.comparisons import LONG, MAIN, PILA, PLAIN_LONG
from pila.lab.experiments.tables.definition import FROZEN, Arm, Experiment

ROUTER = Experiment(
    name="router",
    question="Does the router send prompts of a category to its expert, with labels and without?",
    paper="Figure 6",
    arms=(
        PILA,
        Arm(name="pila-untold", recipes=("embedded",), labels="none"),
        Arm(name="pila-no-labels", recipes=("ablation-no-labels",), labels="none"),
        Arm(name="random-labels", recipes=("ablation-random-labels",), labels="random"),
    ),
    measures=("probe",),
)

EXPERT_MAPS = Experiment(
    name="expert-maps",
    question="Do experts act where their category is truly active, more than by chance?",
    paper="Figure 7",
    arms=(PILA, Arm(name="pila-calibrated", recipes=("embedded-calibrated",))),
    measures=("maps",),
)

PREFERENCE = Experiment(
    name="preference",
    question="Does the model think that a clip which breaks a law is the likelier one?",
    paper="LikePhys' definition",
    arms=tuple(arm for arm in MAIN.arms if arm.best_of == 1),
    measures=("preference",),
    against=("frozen", "mix-adapter"),
)

PHYWORLD = Experiment(
    name="phyworld",
    question="Are uniform motion, parabola and collision right, in and out of distribution?",
    paper="phyworld's definitions",
    arms=(FROZEN, PLAIN_LONG, LONG),
    measures=("phyworld",),
    scenes=("gliding_puck", "thrown_ball", "ball_collision"),
    against=("frozen",),
    given_frames=2,
)

PHYSICS_IQ = Experiment(
    name="physics-iq",
    question="Continued from the same frames, is what happens where and when it should?",
    paper="Physics-IQ's and PISA's definitions",
    arms=(FROZEN, PLAIN_LONG, LONG),
    measures=("physics-iq",),
    against=("frozen",),
    given_frames=2,
)
