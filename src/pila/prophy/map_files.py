"""Files of token maps on disk; `pila.prophy.maps` says what they hold."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from pila.data.shard_files import Excluded, Header, Row
from pila.errors import InputError
from pila.files import atomic_write
from pila.json_files import checked, read_object, short
from pila.physics.layout import Category

VERSION = 1
AGAIN = "make the maps again: what is missing is made"
ELSEWHERE = "choose another folder for the maps, or delete its maps*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapped:
    """A clip that has maps.

    Attributes:
        name: of the clip.
        row: its place in the shard.
        sha256: of the clip in the latent cache.
        peaks: by category, by what its map was divided; 0 where it has nothing above 0.
    """

    name: str
    row: int
    sha256: str
    peaks: dict[str, float]


def pack(
    row: Row, maps: np.ndarray, header: Header
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """A clip's maps as they are stored, and by what they were divided."""
    expected = (len(Category), *header.latent_shape[1:])
    if maps.shape != expected:
        raise InputError(
            f"the maps of {row.name} are {list(maps.shape)}; the cache's grid asks for "
            f"{list(expected)}"
        )
    stored, peaks = {}, {}
    for category, a in zip(Category, maps, strict=True):
        if category in row.categories:
            peak = max(float(a.max()), 0.0)
            scaled = a / peak if peak else np.zeros_like(a)
            limit = np.finfo(np.float16).max
            stored[f"{row.row:03d}.{category}"] = np.ascontiguousarray(
                np.clip(scaled, -limit, None), np.float16
            )
            peaks[str(category)] = peak
    return stored, peaks


def write(
    folder: Path,
    shard: int,
    tensors: Mapping[str, np.ndarray],
    mapped: Sequence[Mapped],
    excluded: Sequence[Excluded],
) -> None:
    """Tensors first, then what says that they are whole."""
    with atomic_write(path_of(folder, shard)) as part:
        part.write_bytes(safetensors.numpy.save(dict(tensors)))
    said = {"mapped": [asdict(m) for m in mapped], "excluded": [asdict(e) for e in excluded]}
    with atomic_write(sidecar_of(folder, shard)) as part:
        part.write_text(json.dumps(said, indent=1))


@dataclass(frozen=True, slots=True)
class _Sidecar:
    """A shard's JSON file."""

    mapped: tuple[Mapped, ...]
    excluded: tuple[Excluded, ...]


def clear(folder: Path, pattern: str) -> None:
    """Remove what a call that was killed in the middle of a file has left."""
    for left in folder.glob(pattern):
        left.unlink(missing_ok=True)


def read_header(folder: Path) -> dict[str, Any]:
    """What the maps are of; InputError where there are none that this pila reads."""
    path = folder / "maps.json"
    if not path.is_file():
        raise InputError(f"{folder} has no maps.json; make the cache's maps first")
    said = read_object(path, remedy=ELSEWHERE)
    if said.get("version") != VERSION:
        found = short(said.get("version"))
        raise InputError(f"{path} is of version {found}; this pila reads {VERSION}: {ELSEWHERE}")
    if not isinstance(said.get("maker"), dict):
        raise InputError(f"{path} does not say what made the maps; {ELSEWHERE}")
    return said


def read_sidecar(folder: Path, shard: int) -> tuple[list[Mapped], list[Excluded]]:
    """Clips of a shard that have maps, and those that have none."""
    path = sidecar_of(folder, shard)
    try:
        said = checked(_Sidecar, read_object(path), path)
    except InputError as error:
        raise broken(folder, shard, str(error)) from error
    return list(said.mapped), list(said.excluded)


def broken(folder: Path, shard: int, reason: str) -> InputError:
    """The error for a shard's maps that cannot be used."""
    path = path_of(folder, shard)
    return InputError(
        f"{path} cannot be used ({' '.join(reason.split())}); delete it and "
        f"{sidecar_of(folder, shard).name}, and {AGAIN}"
    )


def path_of(folder: Path, shard: int) -> Path:
    """Where a shard's maps lie."""
    return folder / f"maps-{shard:06d}.safetensors"


def sidecar_of(folder: Path, shard: int) -> Path:
    """Where it stands what they are."""
    return path_of(folder, shard).with_suffix(".json")


def is_finished(folder: Path, shard: int) -> bool:
    """Whether a shard's maps are whole."""
    return path_of(folder, shard).is_file() and sidecar_of(folder, shard).is_file()
