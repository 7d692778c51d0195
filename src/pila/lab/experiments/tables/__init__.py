"""Every experiment by name: a table each. Light: what runs them is imported when they run."""

from pathlib import Path

from pila.lab.experiments.tables import choices, comparisons, probes
from pila.lab.experiments.tables.definition import Arm, Experiment

EXPERIMENTS: dict[str, Experiment] = {
    experiment.name: experiment
    for experiment in (
        comparisons.MAIN,
        comparisons.ABLATIONS,
        comparisons.PATHS,
        comparisons.TRANSFER,
        comparisons.CALIBRATION,
        choices.STEP_WINDOW,
        choices.TOP_K,
        choices.ADAPTER_SCALE,
        choices.REFERENCE,
        choices.CONVOLUTIONS,
        choices.GATE,
        choices.LAMBDA,
        choices.RESIDUAL_FORM,
        probes.ROUTER,
        probes.EXPERT_MAPS,
        probes.PREFERENCE,
        probes.PHYWORLD,
        probes.PHYSICS_IQ,
    )
}

RESULTS = Path("out", "experiments")
"""Where tables go when not told otherwise. Those in a clone's own `experiments` are published, and
only an output that names them makes them anew."""

__all__ = ["EXPERIMENTS", "RESULTS", "Arm", "Experiment"]
