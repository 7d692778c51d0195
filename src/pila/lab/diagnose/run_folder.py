"""A training run's folder, or a bare adapter's: what lies there, before anything is computed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pila.errors import InputError
from pila.pipelines.attachments import LORA_FILE, Attachment, inspect_folder
from pila.pipelines.locate import EMBEDDED_ADAPTER
from pila.pipelines.repository import read_json
from pila.train.config import STAGE_TASKS


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What one configuration has trained."""

    name: str
    """Of its folder inside the run; the task's where the run is of one stage."""
    folder: Path
    config: dict[str, Any]
    commit: str

    @property
    def metrics(self) -> Path:
        """Where the trainer logs, a JSON object a line."""
        return self.folder / "metrics.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run's folder, or an adapter's: then without stages."""

    folder: Path
    stages: tuple[Stage, ...]
    adapter: Path | None
    """What the run has left, or its last finished stage; None where none is finished."""

    @property
    def model(self) -> str:
        """The generator that was trained for; the embedded one where nothing says."""
        return self.stages[-1].config.get("model", "embedded") if self.stages else "embedded"

    @property
    def output(self) -> Path:
        """Where figures go unless told otherwise: into the run; of a bare adapter, under `out`."""
        return self.folder / "diagnose" if self.stages else Path("out/diagnose") / self.folder.name

    def attachment(self) -> Attachment:
        """What was trained, looked at and not loaded.

        Raises:
            InputError: no stage is finished, what it left is no adapter, or is damaged.
        """
        if self.adapter is None:
            looked = ", ".join(str(s.folder / "adapter") for s in self.stages)
            raise InputError(
                f"{self.folder} has no finished adapter yet (looked for {looked}); "
                "`pila train` goes on, and `pila diagnose training` shows an unfinished run"
            )
        return inspect_folder(self.adapter)

    def require(self, *classes: str, what: str) -> Path:
        """The adapter's folder, if it is one of these classes.

        Raises:
            InputError: it is not; `what` says what is missing then.
        """
        found = self.attachment()
        name = found.config.get("_class_name", "LoRA update")
        if name not in classes:
            raise InputError(
                f"{found.folder} is a {name} and has no {what}; pass the run of a "
                f"{' or '.join(classes)}"
            )
        return found.folder


def open_run(place: str | Path) -> Run:
    """Look at a folder; "embedded" is the adapter that ships with the package.

    Raises:
        InputError: it is neither a run nor an adapter.
    """
    folder = EMBEDDED_ADAPTER if str(place) == "embedded" else Path(place).expanduser()
    if not folder.is_dir():
        raise InputError(
            f"there is no folder {folder}; pass a run (what `pila train --output` named), an "
            "adapter's folder, or embedded"
        )
    own = _stage(folder, "")
    stages = (own,) if own else _stages(folder)
    if stages:
        places = [folder / "adapter", *(s.folder / "adapter" for s in reversed(stages))]
        adapter = next((p for p in places if p.is_dir()), None)
        return Run(folder=folder, stages=stages, adapter=adapter)
    if (folder / LORA_FILE).is_file() or _class_of(folder):
        return Run(folder=folder, stages=(), adapter=folder)
    raise InputError(
        f"{folder} is no run and no adapter: looked for config.json of `pila train` there and in "
        "the folders inside, and for an adapter's config.json; pass what `--output` named"
    )


def _stages(folder: Path) -> tuple[Stage, ...]:
    found = [s for path in sorted(folder.iterdir()) if (s := _stage(path, path.name))]
    known = {name: i for i, name in enumerate(STAGE_TASKS)}
    # A folder of runs is not one run: its folders are no stages of each other.
    if not all(s.name in known for s in found):
        if found:
            raise InputError(
                f"{folder} holds runs ({', '.join(s.name for s in found)}) and is none itself; "
                "pass one of them"
            )
        return ()
    return tuple(sorted(found, key=lambda s: known[s.name]))


def _stage(folder: Path, name: str) -> Stage | None:
    """A folder with the trainer's own config, or None."""
    path = folder / "config.json"
    if not path.is_file():
        return None
    config = read_json(path)
    if "task" not in config:
        return None
    commit = folder / "commit"
    return Stage(
        name=name or config["task"],
        folder=folder,
        config=config,
        commit=commit.read_text().strip() if commit.is_file() else "unknown",
    )


def _class_of(folder: Path) -> str | None:
    path = folder / "config.json"
    return read_json(path).get("_class_name") if path.is_file() else None
