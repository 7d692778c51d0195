"""The entry points: one diagnosis of a run, or all of them in a report."""

from importlib import import_module
from pathlib import Path
from typing import Any

from pila.errors import InputError
from pila.lab.diagnose.diagnosis import Diagnosis, as_json
from pila.lab.diagnose.report import Missing, write_report
from pila.lab.diagnose.run_folder import Run, open_run
from pila.lab.diagnose.subject import Look

DIAGNOSES = ("training", "routing", "experts", "bank", "correction", "paths")
"""In the order of a report; each is a module of its own."""


def diagnose(
    name: str, run: str | Path, *, output: Path | None = None, look: Look | None = None
) -> dict[str, Any]:
    """Look at a run in one way, and write figures (PDF and PNG), tables (CSV) and numbers (JSON).

    Args:
        name: one of `DIAGNOSES`.
        run: a run's folder, an adapter's, or "embedded".
        output: where files go; None is `diagnose` in the run, or below `out` for an adapter alone.
        look: which clips are seen; no part of `training`, which reads the log alone.

    Returns:
        The numbers, and the files' paths under `files`.

    Raises:
        InputError: nothing of the kind is there, or it cannot be looked at in this way.
    """
    if name not in DIAGNOSES:
        raise InputError(f"there is no diagnosis {name!r}; choose from {', '.join(DIAGNOSES)}")
    opened = open_run(run)
    return _made(name, opened, look or Look()).write(output or opened.output)


def report(
    run: str | Path, *, output: Path | None = None, look: Look | None = None
) -> dict[str, Any]:
    """Every diagnosis that a run allows, and `report.html` with all of them.

    Returns:
        {"report": the HTML's path, "diagnoses": {name: what `diagnose` returns}, "missing":
        {name: why it could not be made}}.

    Raises:
        InputError: nothing of the kind is there, or no diagnosis can be made of it.
    """
    opened, look = open_run(run), look or Look()
    folder = output or opened.output
    sections: list[Any] = []
    made: dict[str, Any] = {}
    missing: dict[str, str] = {}
    for name in DIAGNOSES:
        try:
            diagnosis = _made(name, opened, look)
        except InputError as error:
            missing[name] = str(error)
            sections.append(Missing(title=name.capitalize(), reason=str(error)))
            continue
        made[name] = diagnosis.write(folder)
        sections.append((diagnosis, made[name]))
    if not made:
        raise InputError(f"nothing can be drawn of {opened.folder}: " + "; ".join(missing.values()))
    path = write_report(opened, sections, folder / "report.html")
    return as_json({"report": str(path), "diagnoses": made, "missing": missing})


def _made(name: str, run: Run, look: Look) -> Diagnosis:
    function = import_module(f"pila.lab.diagnose.{name}").diagnose
    return function(run) if name == "training" else function(run, look)
