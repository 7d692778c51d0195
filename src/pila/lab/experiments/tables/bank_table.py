"""The bank against true fields, as an experiment's table; see `pila.lab.experiments.bank`."""

from collections.abc import Mapping
from typing import Any

from pila.lab.experiments import bank
from pila.lab.experiments.tables.prepared import Setting


def run(setting: Setting) -> dict[str, Any]:
    """Read the bank of every adapter and training seed; writes `bank.json` and `bank.md`."""
    places = {
        f"{name}-{method.training_seed}": method.adapter
        for name, methods in setting.arms.items()
        for method in methods
        if method.adapter is not None
    }
    return bank.run(
        places,
        setting.out,
        model=setting.protocol.model,
        clips=setting.clips,
        scenes=setting.protocol.scenes,
        processes=setting.processes,
    )


def markdown(results: Mapping[str, Any]) -> str:
    """The page that people read."""
    return bank.markdown(dict(results))
