"""The model card of an adapter, filled from its files alone; what they do not say is left open."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Annotated, Any

from pydantic import Field

from pila.errors import InputError
from pila.json_files import Strict, checked, read_object
from pila.markdown import table
from pila.pipelines.attachments import Attachment
from pila.pipelines.locate import HUB_ID
from pila.provenance import weights_hash
from pila.train.config import STAGE_TASKS

TEMPLATE = Path(__file__).with_name("card.md")
KINDS = {
    "PilaAdapter": "A PILA adapter",
    "PlainAdapter": "A plain adapter (the control without physics)",
    "ProPhyBranch": "A ProPhy branch",
}
NOT_WAN = "Simulated world, not Wan."
_ROWS = ("method", "error", "passed", "gap_closed")


_Triple = Annotated[list[float], Field(min_length=3, max_length=3)]
"""A value and the ends of its interval."""


class _LawRow(Strict):
    method: str
    error: _Triple | None = None
    passed: _Triple | None = None
    gap_closed: float | None = None
    gap_closed_low: float | None = None
    gap_closed_high: float | None = None


class _Protocol(Strict):
    model: str
    prompts: int
    noise_seeds: int
    steps: int | None
    guidance_scale: float | None


class _LawResults(Strict):
    """What of a results.json of `pila experiment laws` stands in a card."""

    rows: list[_LawRow]
    weights: dict[str, str | None]
    protocol: _Protocol
    commit: str = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What a run's folder says about how an adapter was made; empty where there is none.

    Attributes:
        stages: each stage's `config.json` in the order of training, by the name of its folder; ""
            for a run of one stage.
        commit: of the code that ran the last one, or None.
    """

    stages: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    commit: str | None = None

    @classmethod
    def of(cls, adapter: Path) -> "Training":
        """From the run's folder that an adapter lies in, if it lies in one."""
        run = adapter.parent
        # What training leaves is called so; an adapter of another name may lie beside others' runs.
        if adapter.name != "adapter":
            return cls()
        folders = [run] if (run / "commit").is_file() else []
        folders = folders or sorted((p.parent for p in run.glob("*/commit")), key=_order)
        folders = [f for f in folders if (f / "config.json").is_file()]
        if not folders:
            return cls()
        return cls(
            stages={"" if f == run else f.name: read_object(f / "config.json") for f in folders},
            commit=(folders[-1] / "commit").read_text(encoding="utf-8").strip(),
        )

    @property
    def model(self) -> str | None:
        """The generator that the last stage was trained with, as the run was told."""
        return next((str(c["model"]) for c in reversed(list(self.stages.values()))), None)


def _order(stage: Path) -> tuple[int, str]:
    known = STAGE_TASKS.index(stage.name) if stage.name in STAGE_TASKS else len(STAGE_TASKS)
    return known, stage.name


def is_on_hub(model: str, around: Iterable[Path] = ()) -> bool:
    """Whether a generator's name is a hub id, and not that of a local folder.

    Args:
        model: as a command was told it.
        around: folders beside this one from which it may be the path of a folder.
    """
    if HUB_ID.fullmatch(model) is None:
        return False
    return not any((folder / model).exists() for folder in (Path(), *around))


def read_results(path: Path, attachment: Attachment) -> Mapping[str, Any]:
    """A `results.json` of `pila experiment laws` that has a row of these very weights.

    Raises:
        InputError: it is something else, or tells of other weights.
    """
    if not path.exists():
        raise InputError(f"there is no file {path}; pass a results.json of `pila experiment laws`")
    results = read_object(path, remedy="pass a results.json of `pila experiment laws`")
    if {"rows", "weights", "protocol"} - results.keys():
        raise InputError(
            f"{path} is not a results.json of `pila experiment laws` (it has no rows, weights and "
            "protocol); pass one"
        )
    checked(_LawResults, results, path, remedy="pass the file as the experiment wrote it")
    mine = weights_hash(attachment.folder)
    told = list(results["weights"].values())
    if mine not in told:
        raise InputError(
            f"{path} tells of other weights ({', '.join(map(str, told)) or 'none'}; "
            f"these are {mine}); run `pila experiment laws --adapters pila={attachment.folder}`"
        )
    return results


def write_card(
    attachment: Attachment,
    repo: str,
    *,
    training: Training,
    model: str | None = None,
    results: Mapping[str, Any] | None = None,
    license: str | None = None,
) -> str:
    """The card's text.

    Args:
        attachment: what is shared.
        repo: where it will lie, as owner/name.
        training: of its run.
        model: the generator it is for; the run's own by default.
        results: from `read_results`.
        license: an identifier of the hub's, such as apache-2.0.
    """
    base = model or training.model
    # Older runs name a folder as they were told it: relative to where they were started, which
    # mostly is around where they lie.
    around = () if model else attachment.folder.resolve().parents
    on_hub = base is not None and is_on_hub(base, around)
    embedded = base == "embedded"
    name = str(attachment.config.get("_class_name", ""))
    words = {
        "metadata": _metadata(base if on_hub else None, license),
        "title": repo.partition("/")[2],
        "kind": KINDS.get(name, "LoRA updates"),
        "base": _base(base, on_hub=on_hub),
        "scope": "It fits that generator alone, not Wan." if embedded else "",
        "model": base if base and (on_hub or embedded) else "PATH",
        "repo": repo,
        "config": _config(attachment),
        "training": _training(training),
        "results": _results(results, weights_hash(attachment.folder)),
        "limits": f"- {license_words(license)}",
    }
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(words)


def license_words(license: str | None) -> str:
    """One sentence on the license."""
    return f"License: {license}." if license else "No license is stated: ask before you use it."


def _metadata(base: str | None, license: str | None) -> str:
    lines = ["library_name: diffusers", "pipeline_tag: text-to-video"]
    lines += ["tags:", "- pila", "- physics", "- wan"]
    if base is not None:
        lines += [f"base_model: {base}", "base_model_relation: adapter"]
    if license is not None:
        lines.append(f"license: {license}")
    return "\n".join(lines)


def _base(base: str | None, *, on_hub: bool) -> str:
    if base is None:
        return "a generator that its files do not name"
    if base == "embedded":
        return "pila's embedded model, a small generator of simulated clips"
    return f"[{base}](https://huggingface.co/{base})" if on_hub else "a generator in a local folder"


def _config(attachment: Attachment) -> str:
    known = {k: v for k, v in attachment.config.items() if not k.startswith("_")}
    if not known:
        return "None is kept beside the weights."
    return "\n".join(table(["option", "value"], [[k, json.dumps(v)] for k, v in known.items()]))


def _training(training: Training) -> str:
    if not training.stages:
        return "Not known: it was pushed without its run's folder."
    rows = []
    for name, config in training.stages.items():
        optim = config.get("optim", {})
        data = "a latent cache" if config.get("data") else "the simulated world"
        rows.append(
            [
                name or config.get("task", ""),
                data,
                str(optim.get("steps", "")),
                str(optim.get("batch", "")),
                str(config.get("seed", "")),
            ]
        )
    lines = table(["stage", "data", "steps of the schedule", "batch", "seed"], rows)
    return "\n".join([*lines, "", f"Code: commit {training.commit}."])


def _results(results: Mapping[str, Any] | None, weights: str) -> str:
    if results is None:
        return "None were given, so nothing is claimed."
    names = {name: "this" for name, value in results["weights"].items() if value == weights}
    rows = []
    for row in results["rows"]:
        cells: Sequence[Any] = [row.get(key) for key in _ROWS[1:3]]
        gap = [row.get(f"gap_closed{end}") for end in ("", "_low", "_high")]
        shown = names.get(row["method"], row["method"])
        rows.append([shown, *cells, gap if None not in gap else None])
    protocol = results["protocol"]
    return "\n".join(
        [
            f"**{NOT_WAN}** Generator: {_generator(protocol['model'])}, {protocol['prompts']} "
            f"held-out prompts, {protocol['noise_seeds']} noise seeds, {protocol['steps']} steps, "
            f"guidance {protocol['guidance_scale']}; commit {results.get('commit', 'unknown')}. "
            "Law errors run from 0 (obeyed) to 1, gap closed is 0 for the frozen generator and 1 "
            "for true clips through the VAE; brackets are 95 % bootstrap intervals. Nothing "
            "follows from them for videos of other generators.",
            "",
            *table(["method", "law error", "clips that pass all laws", "gap closed"], rows),
        ]
    )


def _generator(model: str) -> str:
    return "pila's embedded model" if model == "embedded" else "a model of the simulated world"
