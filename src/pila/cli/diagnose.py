"""`pila diagnose ...`: figures of what a run has learnt, and one report of all; printing."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

from tyro.conf import Positional, arg, subcommand


@dataclass(frozen=True, kw_only=True)
class _OfRun:
    """What every diagnosis takes."""

    name: ClassVar[str] = ""
    run: Annotated[Positional[str], arg(metavar="RUN")]
    """The run's folder (what `pila train --output` named, or a stage inside), an adapter's folder,
    or embedded."""
    output: Path | None = None
    """Folder for the figures, tables and numbers; by default diagnose/ in the run, and
    out/diagnose/NAME for an adapter alone."""
    json: bool = False
    """Print the numbers as one JSON object."""


@dataclass(frozen=True, kw_only=True)
class _OfClips(_OfRun):
    """What a diagnosis on simulated clips takes."""

    model: str | None = None
    """The generator: embedded, or a folder of one trained on the simulated world; the run's own by
    default."""
    clips: int = 2
    """Held-out true clips of each scene, at least 2."""
    scenes: tuple[str, ...] = ()
    """Only these scenes of the model's; all by default."""
    show: tuple[str, ...] = ()
    """Scenes whose first clip is drawn; by default one for each category, slots, or the like."""
    device: str = "cpu"
    """Where models run: cpu, cuda, cuda:N, or auto."""
    processes: int = 2
    """Jobs at once, one thread each."""


@dataclass(frozen=True, kw_only=True)
class DiagnoseTraining(_OfRun):
    """Curves of all stages from metrics.jsonl: losses, bank, relations, routing, correction.

    An unfinished run is read as far as it got; resumes and values that are no number are marked.
    """

    name: ClassVar[str] = "training"


@dataclass(frozen=True, kw_only=True)
class DiagnoseRouting(_OfClips):
    """Whom the router sends prompts of each category to, with labels and without (Figure 6).

    A run on a latent cache is asked about the cache's own captions, unless --model is given.
    """

    name: ClassVar[str] = "routing"


@dataclass(frozen=True, kw_only=True)
class DiagnoseExperts(_OfClips):
    """Where experts act over time beside where the phenomenon truly is (Figure 7)."""

    name: ClassVar[str] = "experts"


@dataclass(frozen=True, kw_only=True)
class DiagnoseBank(_OfClips):
    """Each slot's proxy beside the true field over time, and R^2 by slot and noise level."""

    name: ClassVar[str] = "bank"


@dataclass(frozen=True, kw_only=True)
class DiagnoseCorrection(_OfClips):
    """How large the correction is by noise level, denoising step and frame, and where (Figure 10).

    Scores by corrected steps are `pila experiment step-window`'s.
    """

    name: ClassVar[str] = "correction"


@dataclass(frozen=True, kw_only=True)
class DiagnosePaths(_OfClips):
    """What the correction rests on: the gain that is lost without bank, slots, labels and more."""

    name: ClassVar[str] = "paths"


@dataclass(frozen=True, kw_only=True)
class DiagnoseReport(_OfClips):
    """All of these that the run allows, and report.html, one file that needs no network."""

    name: ClassVar[str] = "report"


_Subcommand = (
    Annotated[DiagnoseTraining, subcommand("training", prefix_name=False)]
    | Annotated[DiagnoseRouting, subcommand("routing", prefix_name=False)]
    | Annotated[DiagnoseExperts, subcommand("experts", prefix_name=False)]
    | Annotated[DiagnoseBank, subcommand("bank", prefix_name=False)]
    | Annotated[DiagnoseCorrection, subcommand("correction", prefix_name=False)]
    | Annotated[DiagnosePaths, subcommand("paths", prefix_name=False)]
    | Annotated[DiagnoseReport, subcommand("report", prefix_name=False)]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnose:
    """Draw what a training run, or an adapter, has learnt."""

    command: Annotated[_Subcommand, arg(name="")]


def _diagnose(command: Any) -> None:
    from pila.lab.diagnose.run import diagnose, report
    from pila.lab.diagnose.subject import Look
    from pila.progress import only_own_progress

    only_own_progress()
    options: dict[str, Any] = {"output": command.output}
    if isinstance(command, _OfClips):
        names = ("model", "clips", "scenes", "show", "device", "processes")
        options["look"] = Look(**{name: getattr(command, name) for name in names})
    if command.name == "report":
        found = report(command.run, **options)
        files = [found["report"]]
        for name, reason in found["missing"].items():
            print(f"{name} left out: {reason}", file=sys.stderr)
    else:
        found = diagnose(command.name, command.run, **options)
        files = found["files"]
    if command.name == "paths" and not command.json:
        from pila.lab.diagnose.paths import printed

        print(printed(found))
    print(json.dumps(found) if command.json else "\n".join(files))


COMMANDS: dict[type, Callable[[Any], int | None]] = dict.fromkeys(
    (
        DiagnoseTraining,
        DiagnoseRouting,
        DiagnoseExperts,
        DiagnoseBank,
        DiagnoseCorrection,
        DiagnosePaths,
        DiagnoseReport,
    ),
    _diagnose,
)
"""What runs each subcommand."""
