"""The settings of one clip as a JSON file, which `pila generate --from` repeats.

Whatever bears on the frames is in it and settled: the model's own steps and sizes, the categories
that the parser found. Where files go and what is drawn is not.
"""

import difflib
import json
from collections.abc import Sequence
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from pila.errors import InputError
from pila.files import atomic_write
from pila.generate.request import GenerateRequest
from pila.json_files import read_json, short
from pila.physics.layout import Category
from pila.pipelines.locate import split_places, whole_path
from pila.provenance import versions

if TYPE_CHECKING:
    from pila.generate.plan import Sampling

KEY = "pila_generate"
VERSION = 1
SIZE_LIMIT = 1_000_000
"""Bytes of a file that is read; prompts are the only long part, and have a bound of their own."""
_NOT_KEPT = {"settings_file", "output", "compare", "explain", "json", "parser"}
KEPT = tuple(f.name for f in fields(GenerateRequest) if f.name not in _NOT_KEPT)
"""The options of `pila generate` that a file holds, under the same names."""


def settled(
    request: GenerateRequest,
    sampling: "Sampling",
    categories: Sequence[Category],
    *,
    device: str,
    dtype: str,
) -> GenerateRequest:
    """The request with every value that was left open as it was in force.

    Local models and adapters are named by their whole paths, so that the file can be used anywhere
    on this machine; folders of the hub's cache by their ids, which other machines know too.
    """
    return replace(
        request,
        model=whole_path(by_hub_ids(request.model)),
        adapter="+".join(whole_path(name) for name in split_places(by_hub_ids(request.adapter))),
        steps=sampling.steps,
        guidance_scale=sampling.guidance_scale,
        height=sampling.height,
        width=sampling.width,
        num_frames=sampling.num_frames,
        fps=sampling.fps,
        categories=",".join(categories) or "none",
        device=device,
        dtype=dtype,  # pyright: ignore[reportArgumentType]
    )


def by_hub_ids(places: str) -> str:
    """A model, or adapters joined by "+", with hub ids for those folders that the ids stand for."""
    return "+".join(_hub_id(Path(name)) or name for name in split_places(places))


def write_settings(path: Path, request: GenerateRequest) -> None:
    """Write a settled request.

    Raises:
        InputError: the file cannot be written.
    """
    values = {name: getattr(request, name) for name in KEPT}
    record = {KEY: VERSION, "settings": values, "made_with": versions()}
    with atomic_write(path) as part:
        part.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_settings(path: Path) -> GenerateRequest:
    """The request that a file holds; what it leaves out is the default of `pila generate`.

    Raises:
        InputError: no such file, not a settings file, another version, an unknown key, or a value
            of the wrong type. Whether values are in their bounds is checked with the request.
    """
    record = _read_json(path)
    if not isinstance(record, dict) or KEY not in record:
        raise InputError(
            f"{path} is not a settings file: it has no {KEY!r}; pass the -settings.json that "
            "`pila generate` or the page wrote"
        )
    if record[KEY] != VERSION or isinstance(record[KEY], bool):
        raise InputError(
            f"{path} has settings of version {short(record[KEY])}, and this pila reads {VERSION}; "
            f"use the pila that made it ({_made_with(record)}), or give its options by hand"
        )
    _refuse_unknown(record, (KEY, "settings", "made_with"), path)
    values = record.get("settings")
    if not isinstance(values, dict):
        raise InputError(f"{path} has no 'settings' object; pass a file as pila wrote it")
    _refuse_unknown(values, KEPT, path)

    from pydantic import ValidationError

    try:
        checked = _schema().model_validate(values)
    except ValidationError as error:
        wrong = error.errors()[0]
        name = ".".join(str(part) for part in wrong["loc"][:1])
        raise InputError(
            f"{name} in {path} is {short(wrong['input'])}: {wrong['msg']}; correct or remove it"
        ) from None
    return GenerateRequest(**{name: getattr(checked, name) for name in KEPT})


@cache
def _schema() -> Any:
    from pydantic import ConfigDict, create_model

    hints = get_type_hints(GenerateRequest)
    defaults = {f.name: f.default for f in fields(GenerateRequest)}
    kept: dict[str, Any] = {name: (hints[name], defaults[name]) for name in KEPT}
    return create_model("Settings", __config__=ConfigDict(strict=True), **kept)


def _read_json(path: Path) -> Any:
    return read_json(path, limit=SIZE_LIMIT, remedy="pass the -settings.json of a clip")


def _refuse_unknown(given: dict[str, Any], known: Sequence[str], path: Path) -> None:
    for key in given:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise InputError(
                f"{path} has an unknown key {short(key)}; {hint}known: {', '.join(known)}"
            )


def _made_with(record: dict[str, Any]) -> str:
    made_with = record.get("made_with")
    found = made_with.get("pila") if isinstance(made_with, dict) else None
    return f"version {short(found).strip(chr(39))}" if found else "it does not say which"


def _hub_id(folder: Path) -> str | None:
    """The id of a snapshot in the hub's cache, or of the adapter in one.

    None for an older snapshot as well: the id would give another.
    """
    snapshot = folder.parent if folder.name == "adapter" else folder
    kind, *owner_and_name = snapshot.parent.parent.name.split("--")
    newest = snapshot.parent.parent / "refs" / "main"
    if snapshot.parent.name != "snapshots" or kind != "models" or not newest.is_file():
        return None
    return "/".join(owner_and_name) if newest.read_text().strip() == snapshot.name else None
