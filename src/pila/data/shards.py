"""The latent cache: made by many processes, verified, and read in training.

Training reads latents, embeddings and targets from here and never touches VAE or text encoder.
What lies where on disk: `pila.data.shard_files`; how it is made: `pila.data.writing`.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from pila.data import shard_files as files
from pila.data.shard_files import Row
from pila.data.writing import Estimate, Written, estimate, write_shards
from pila.errors import InputError
from pila.physics.layout import Category, Slot
from pila.progress import progress_bar

__all__ = ["Clips", "Estimate", "Shards", "Written", "estimate", "verify", "write_shards"]

OPEN_SHARDS = 32
"""Shards that a reader keeps open; more are closed and opened again."""


def verify(folder: Path, *, progress: bool = True) -> list[str]:
    """Compute every clip's checksum anew; returns what is wrong, nothing where all is well.

    Raises:
        InputError: there is no cache, or its index is missing or broken.
    """
    header, rows = files.read_header(folder), files.read_index(folder)
    by_shard: dict[int, list[Row]] = {shard: [] for shard in range(header.shards)}
    for row in rows:
        by_shard.setdefault(row.shard, []).append(row)
    wrong: list[str] = []
    for shard, mine in progress_bar(by_shard.items(), unit="shard", shown=progress):
        path = files.shard_path(folder, shard)
        try:
            listed, _ = files.read_sidecar(folder, shard)
            clips = files.read_tensors(path)
        except InputError as error:
            wrong.append(str(error))
            continue
        if listed != mine:
            wrong.append(f"{path.with_suffix('.json').name} and index.parquet list other clips")
        if len(clips) != len(mine):
            wrong.append(f"{path.name} holds {len(clips)} clips; index.parquet lists {len(mine)}")
        for row, tensors in zip(mine, clips, strict=False):
            if files.digest(tensors) != row.sha256:
                wrong.append(f"{path.name}: the tensors of {row.name} have changed")
            if tuple(row.latent_shape) != header.latent_shape:
                wrong.append(f"{path.name}: {row.name} has latents {list(row.latent_shape)}")
    return wrong


class Clips(Protocol):
    """Encoded clips by index, as `Shards` has them."""

    def __len__(self) -> int: ...

    @property
    def plausible(self) -> Tensor:
        """Which clips break no law, bool [n]."""
        ...

    @property
    def empty(self) -> Tensor:
        """The empty caption's embedding [n_max, d]."""
        ...

    def batch(self, indices: Sequence[int], *, true: bool = False) -> dict[str, Tensor]:
        """`latents`, `text`, `flags` and, where the source has them, the targets."""
        ...

    def prompts(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """`text` and `flags` alone."""
        ...

    @property
    def names(self) -> Sequence[str]:
        """Of all clips, for messages."""
        ...

    @property
    def identity(self) -> str:
        """Changes with the latents and embeddings of the clips."""
        ...


class Shards:
    """A finished latent cache, read clip by clip; nothing is held but the index.

    Args:
        folder: what `write_shards` has filled.

    Raises:
        InputError: a header, index or shard that is missing or broken, latents of several shapes,
            or labels outside the taxonomy. Each names the file and what to do.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.header = files.read_header(folder)
        self.rows = files.read_index(folder)
        self._open: OrderedDict[int, Any] = OrderedDict()
        index = folder / "index.parquet"
        if not self.rows:
            raise InputError(f"{index} lists no clip; {files.FRESH}")
        for row in self.rows:
            if row.latent_shape != self.header.latent_shape:
                raise InputError(
                    f"{index}: {row.name} has latents {list(row.latent_shape)}, the cache "
                    f"{list(self.header.latent_shape)}; one cache holds one shape: {files.FRESH}"
                )
        for shard in {row.shard for row in self.rows}:
            if not files.shard_path(folder, shard).is_file():
                raise files.broken_shard(files.shard_path(folder, shard), "there is no such file")
        empty = folder / "empty.safetensors"
        try:
            with safe_open(empty, framework="pt") as file:
                self._empty = file.get_tensor("text").float()
        except (SafetensorError, OSError) as error:
            raise InputError(f"{empty} does not read ({error}); {files.AGAIN}") from error

    def __len__(self) -> int:
        return len(self.rows)

    def __getstate__(self) -> dict[str, Any]:
        """Without the open files: another process opens its own."""
        return self.__dict__ | {"_open": OrderedDict()}

    @property
    def names(self) -> list[str]:
        """Of all clips, in order."""
        return [row.name for row in self.rows]

    @property
    def identity(self) -> str:
        """Changes with any clip's tensors."""
        return hashlib.sha256("".join(row.sha256 for row in self.rows).encode()).hexdigest()

    @property
    def captions(self) -> list[str]:
        """Of all clips, as they were embedded."""
        return [row.caption for row in self.rows]

    @property
    def categories(self) -> Tensor:
        """Which categories are at work in each clip, bool [n, 8] in `Category` order."""
        return _flags(self.rows)

    @property
    def plausible(self) -> Tensor:
        """Which clips break no law, bool [n]; videos count as plausible."""
        return torch.tensor([row.violation is None for row in self.rows])

    @property
    def motion(self) -> Tensor:
        """Mean speed of each clip in cells per latent frame, [n]."""
        return torch.tensor([row.motion for row in self.rows])

    @property
    def slots(self) -> tuple[Slot, ...]:
        """Slots of which some clip has its true field, in bank order."""
        found = {name for row in self.rows for name in row.slots}
        return tuple(slot for slot in Slot if slot in found)

    @property
    def empty(self) -> Tensor:
        """The empty caption's embedding [n_max, d], for captions that are dropped."""
        return self._padded(self._empty)

    def batch(self, indices: Sequence[int], *, true: bool = False) -> dict[str, Tensor]:
        """Clips by index, in float32.

        Args:
            indices: 0 .. len - 1, in any order and repeated as wanted.
            true: read the true fields of simulated clips, too.

        Returns:
            `latents` [b, c, t, h, w], `text` [b, n_max, d] zero behind each caption's tokens
            (n_max is the model's own, as its attention sees the padding), `flags` bool [b, 8],
            `flow` [b, 2, t, h, w], `confidence` [b, 1, t, h, w]; with `true` also, for each of
            `slots`, `true.SLOT` [b, c, t, h, w] and `mask.SLOT` [b, 1, t, h, w], both zero where a
            clip does not have it.

        Raises:
            IndexError: no such clip.
            InputError: a shard that does not read, or whose latents have another shape.
        """
        rows = [self.rows[i] for i in indices]
        clips = [self._clip(row, self.slots if true else ()) for row in rows]
        batch = {kind: torch.stack([clip[kind] for clip in clips]) for kind in clips[0]}
        return batch | {"flags": _flags(rows)}

    def prompts(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """`text` and `flags` of clips by index, as `batch` has them; nothing else is read.

        Raises:
            IndexError: no such clip.
            InputError: a shard that does not read.
        """
        rows = [self.rows[i] for i in indices]
        text = torch.stack([self._padded(self._read(row, "text", None)) for row in rows])
        return {"text": text, "flags": _flags(rows)}

    def _read(self, row: Row, kind: str, shape: tuple[int, ...] | None) -> Tensor:
        """One tensor of a clip, in float32."""
        path, file = files.shard_path(self.folder, row.shard), self._file(row.shard)
        try:
            tensor = file.get_tensor(f"{row.row:03d}.{kind}")
        except (SafetensorError, OSError) as error:
            raise files.broken_shard(path, error) from error
        if shape is not None and tensor.shape != shape:
            raise files.broken_shard(
                path, f"the {kind} of {row.name} are {list(tensor.shape)}, not {list(shape)}"
            )
        return tensor.float()

    def _clip(self, row: Row, slots: Sequence[Slot]) -> dict[str, Tensor]:
        grid = self.header.latent_shape[1:]
        read = partial(self._read, row)
        clip = {
            "latents": read("latents", self.header.latent_shape),
            "text": self._padded(read("text", None)),
            "flow": read("flow", (2, *grid)),
            "confidence": read("confidence", (1, *grid)),
        }
        for slot in slots:
            shape = (slot.components, *grid)
            if slot in row.slots:
                field = read(f"true.{slot}", shape) * read(f"scale.{slot}", (1,))
                clip |= {f"true.{slot}": field, f"mask.{slot}": read(f"mask.{slot}", (1, *grid))}
            else:
                clip |= {f"true.{slot}": torch.zeros(shape), f"mask.{slot}": torch.zeros(1, *grid)}
        return clip

    def _padded(self, text: Tensor) -> Tensor:
        """[n, d] -> [n_max, d], zeros behind."""
        return torch.nn.functional.pad(text, (0, 0, 0, self.header.max_tokens - len(text)))

    def _file(self, shard: int) -> Any:
        """An open shard; of too many the one that was used longest ago is closed."""
        if shard not in self._open:
            path = files.shard_path(self.folder, shard)
            try:
                self._open[shard] = safe_open(path, framework="pt")
            except (SafetensorError, OSError) as error:
                raise files.broken_shard(path, error) from error
            if len(self._open) > OPEN_SHARDS:
                self._open.popitem(last=False)
        self._open.move_to_end(shard)
        return self._open[shard]


def _flags(rows: Sequence[Row]) -> Tensor:
    """Which categories are at work in clips, bool [n, 8] in `Category` order."""
    return torch.tensor([[c in row.categories for c in Category] for row in rows])
