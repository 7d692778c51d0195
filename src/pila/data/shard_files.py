"""A latent cache on disk: its header, its shards, its index, and the tensors of a clip.

    cache.json                 what the cache is of; another source, model or size is refused
    shard-000000.safetensors   tensors of up to `shard_clips` clips, as `RRR.kind`, R the row
    shard-000000.json          the shard's rows and excluded clips; written last, so a shard that
                               has it is whole
    index.parquet              all rows, once all shards are there
    excluded.jsonl             name and reason of every clip that was left out
    empty.safetensors          the embedding of the empty caption

Kinds are `latents` [16, t, h, w], `text` [n, d], `flow` [2, t, h, w] and `confidence`
[1, t, h, w]; of simulated clips also `true.SLOT` and `mask.SLOT`, and `scale.SLOT` [1], by which
the stored field is multiplied: in half precision a pressure in pascals would overflow. All are
float16 but the scales, which are float32.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import safetensors.numpy
from pydantic import Field
from safetensors import SafetensorError

from pila.data.flow_targets import TrueTargets
from pila.errors import InputError
from pila.files import atomic_write
from pila.json_files import checked, read_object, short
from pila.physics.layout import Category, Slot

VERSION = 1
AGAIN = "run the same `pila data cache` command again: it makes what is missing"
FRESH = "choose another --out, or delete that folder"


Side = Annotated[int, Field(ge=1, le=65_536)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a cache is of; two calls may fill one folder only where all of it agrees.

    Attributes:
        source: the data set's identity.
        records: clips of the data set, usable or not.
        shard_clips: records in a shard.
        vae: hash of the VAE's weights.
        text_encoder: hash of the text encoder's weights.
        flow: name of the flow estimator.
        height: in pixels.
        width: in pixels.
        num_frames: of a clip.
        fps: frames per second.
        latent_shape: [c, t, h, w].
        text_width: of a token's embedding.
        max_tokens: to which captions' embeddings are padded for the transformer.
        version: of this form of cache.
    """

    source: str
    records: Annotated[int, Field(ge=0, le=10**9)]
    shard_clips: Annotated[int, Field(ge=1, le=10**7)]
    vae: str
    text_encoder: str
    flow: str
    height: Side
    width: Side
    num_frames: Side
    fps: Annotated[float, Field(gt=0, le=1e4)]
    latent_shape: tuple[Side, Side, Side, Side]
    text_width: Annotated[int, Field(ge=1, le=10**6)]
    max_tokens: Side
    version: int = VERSION

    @property
    def shards(self) -> int:
        """How many shards there are."""
        return -(-self.records // self.shard_clips)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What the index says of a clip.

    Attributes:
        name: of the record.
        shard: its shard's number.
        row: its place in the shard.
        caption: as it was embedded.
        categories: the physical categories at work.
        violation: the law that a simulated clip breaks.
        num_frames: of the clip.
        latent_shape: [c, t, h, w].
        tokens: of the caption.
        motion: mean speed in cells per latent frame over all cells and frames.
        slots: those of which true fields are stored.
        sha256: of the clip's tensors; see `digest`.
    """

    name: str
    shard: int
    row: int
    caption: str
    categories: tuple[str, ...]
    violation: str | None
    num_frames: int
    latent_shape: tuple[int, ...]
    tokens: int
    motion: float
    slots: tuple[str, ...] = field(default=())
    sha256: str

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> "Row":
        """From JSON or Parquet; KeyError where something is missing."""
        said: dict[str, Any] = {f.name: raw[f.name] for f in fields(cls)}
        said |= {name: tuple(said[name]) for name in ("categories", "latent_shape", "slots")}
        return cls(**said)


@dataclass(frozen=True, slots=True)
class Excluded:
    """A clip that was left out, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class _Sidecar:
    """A shard's JSON file."""

    rows: tuple[Row, ...]
    excluded: tuple[Excluded, ...]


def shard_path(folder: Path, shard: int) -> Path:
    """Where a shard's tensors lie."""
    return folder / f"shard-{shard:06d}.safetensors"


def sidecar_path(folder: Path, shard: int) -> Path:
    """Where a shard's rows lie."""
    return shard_path(folder, shard).with_suffix(".json")


def is_finished(folder: Path, shard: int) -> bool:
    """Whether a shard is whole."""
    return sidecar_path(folder, shard).is_file() and shard_path(folder, shard).is_file()


def pack(
    *,
    latents: np.ndarray,
    text: np.ndarray,
    flow: np.ndarray,
    confidence: np.ndarray,
    true: TrueTargets | None,
) -> dict[str, np.ndarray]:
    """A clip's tensors by kind, as they are stored."""
    half = {"latents": latents, "text": text, "flow": flow, "confidence": confidence}
    scales = {}
    if true is not None:
        for slot, values in true.fields.items():
            scale = np.float32(np.abs(values).max() or 1.0)
            half[f"true.{slot}"] = values / scale
            half[f"mask.{slot}"] = true.masks[slot]
            scales[f"scale.{slot}"] = np.array([scale], np.float32)
    # In C order: safetensors writes an array's memory as it lies, whatever its strides.
    return {kind: np.ascontiguousarray(a, np.float16) for kind, a in half.items()} | scales


def digest(tensors: Mapping[str, np.ndarray]) -> str:
    """SHA-256 over kinds, types, shapes and bytes of a clip's tensors, by kind."""
    total = hashlib.sha256()
    for kind in sorted(tensors):
        a = np.ascontiguousarray(tensors[kind])
        total.update(f"{kind} {a.dtype.name} {a.shape};".encode())
        total.update(a.tobytes())
    return total.hexdigest()


def write_shard(
    folder: Path,
    shard: int,
    clips: Iterable[Mapping[str, np.ndarray]],
    rows: Iterable[Row],
    excluded: Iterable[Excluded],
) -> int:
    """Write a shard's tensors, then its rows; returns bytes on disk.

    Raises:
        InputError: the folder cannot be written, or the disk is full.
    """
    named = {f"{i:03d}.{kind}": a for i, clip in enumerate(clips) for kind, a in clip.items()}
    content = safetensors.numpy.save(named)
    with atomic_write(shard_path(folder, shard)) as part:
        part.write_bytes(content)
    said = {"rows": [asdict(r) for r in rows], "excluded": [asdict(e) for e in excluded]}
    text = json.dumps(said, indent=1)
    with atomic_write(sidecar_path(folder, shard)) as part:
        part.write_text(text)
    return len(content) + len(text)


def read_sidecar(folder: Path, shard: int) -> tuple[list[Row], list[Excluded]]:
    """A finished shard's rows and excluded clips.

    Raises:
        InputError: the file is missing or does not read.
    """
    path, again = sidecar_path(folder, shard), f"delete it and {AGAIN}"
    said = checked(_Sidecar, read_object(path, remedy=again), path, remedy=again)
    return list(said.rows), list(said.excluded)


def read_tensors(path: Path) -> list[dict[str, np.ndarray]]:
    """All clips of a shard by row.

    Raises:
        InputError: the file is missing or truncated.
    """
    clips: dict[int, dict[str, np.ndarray]] = {}
    try:
        for key, a in safetensors.numpy.load_file(path).items():
            row, _, kind = key.partition(".")
            clips.setdefault(int(row), {})[kind] = a
    except (SafetensorError, OSError, ValueError) as error:
        raise broken_shard(path, error) from error
    return [clips[row] for row in sorted(clips)]


def broken_shard(path: Path, error: Exception | str) -> InputError:
    """The error of a shard that cannot be used."""
    reason = error if isinstance(error, str) else _one_line(error)
    return InputError(
        f"{path} does not read ({reason}); delete it and {path.with_suffix('.json').name}, and "
        f"{AGAIN}"
    )


def write_header(folder: Path, header: Header) -> None:
    """Write `cache.json`.

    Raises:
        InputError: it cannot be written.
    """
    with atomic_write(folder / "cache.json") as part:
        part.write_text(json.dumps(asdict(header), indent=1) + "\n")


def read_header(folder: Path) -> Header:
    """Read `cache.json`.

    Raises:
        InputError: there is none, it does not read, or it is of another version.
    """
    path = folder / "cache.json"
    if not path.exists():
        raise InputError(f"{folder} has no cache.json; give a folder that `pila data cache` filled")
    said = read_object(path, remedy=FRESH)
    if said.get("version") != VERSION:
        found = short(said.get("version"))
        raise InputError(f"{path} is of version {found}; this pila reads {VERSION}: {FRESH}")
    return checked(Header, said, path, remedy=FRESH)


def check_same(folder: Path, asked: Header) -> None:
    """Refuse to go on with another cache than the one in a folder.

    Raises:
        InputError: names all that differs.
    """
    there, here = asdict(read_header(folder)), asdict(asked)
    differing = [f"{k} is {there[k]} there, {here[k]} asked" for k in here if there[k] != here[k]]
    if differing:
        raise InputError(f"{folder} holds another cache ({'; '.join(differing)}); {FRESH}")


def write_index(folder: Path, rows: Iterable[Row], excluded: Iterable[Excluded]) -> None:
    """Write `index.parquet` and `excluded.jsonl`.

    Raises:
        InputError: they cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with atomic_write(folder / "excluded.jsonl") as part:
        part.write_text("".join(json.dumps(asdict(e)) + "\n" for e in excluded))
    kinds = {
        "name": pa.string(),
        "shard": pa.int32(),
        "row": pa.int32(),
        "caption": pa.string(),
        "categories": pa.list_(pa.string()),
        "violation": pa.string(),
        "num_frames": pa.int32(),
        "latent_shape": pa.list_(pa.int32()),
        "tokens": pa.int32(),
        "motion": pa.float64(),
        "slots": pa.list_(pa.string()),
        "sha256": pa.string(),
    }
    table = pa.Table.from_pylist([asdict(r) for r in rows], schema=pa.schema(kinds))
    with atomic_write(folder / "index.parquet") as part:
        pq.write_table(table, part)


def read_index(folder: Path) -> list[Row]:
    """The index's rows, checked.

    Raises:
        InputError: it is missing or broken, or names a category or slot that there is not.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / "index.parquet"
    if not path.is_file():
        raise InputError(f"{path} is missing, so not all shards are there; {AGAIN}")
    try:
        rows = [Row.read(raw) for raw in pq.read_table(path).to_pylist()]
    except (pa.ArrowException, OSError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} is no index of a latent cache ({_one_line(error)}); delete it and {AGAIN}"
        ) from error
    for row in rows:
        for name in row.categories:
            if name not in set(Category):
                raise InputError(
                    f"{path}: {row.name} has the category {name!r}; the eight are "
                    f"{', '.join(Category)}: correct the source's labels and make the cache anew"
                )
        for name in row.slots:
            if name not in set(Slot):
                raise InputError(f"{path}: {row.name} has the slot {name!r}; delete it and {AGAIN}")
    return rows


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
