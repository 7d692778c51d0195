"""What one run of an experiment was asked for, with its rows resolved to methods."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from pila.lab.experiments.sampling import Method, Protocol
from pila.lab.experiments.tables.definition import Experiment
from pila.lab.experiments.tables.runs import Runs


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """An experiment about to run: everything is checked and there."""

    experiment: Experiment
    arms: Mapping[str, tuple[Method, ...]]
    """Of each row its methods, one for each training seed."""
    protocol: Protocol
    seeds: tuple[int, ...]
    clips: int
    out: Path
    processes: int
    runs: Runs
    """Where the trainings lie."""
    config_diff: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Of each training that is not its recipe's, options that differ (`Runs.config_diff`)."""

    @property
    def probed(self) -> "Setting":
        """The same with the generator in float32, which probes of single predictions take."""
        return replace(self, protocol=replace(self.protocol, precision="no"))

    @property
    def methods(self) -> list[Method]:
        """All methods, row by row."""
        return [method for methods in self.arms.values() for method in methods]

    @property
    def against(self) -> list[str]:
        """The rows that others are compared with, as far as they are there."""
        return [name for name in self.experiment.against if name in self.arms]

    @property
    def axis(self) -> dict[str, float]:
        """Where each row stands on the plot's axis; empty where rows are no points of a curve."""
        return {
            arm.name: arm.x
            for arm in self.experiment.arms
            if arm.x is not None and arm.name in self.arms
        }
