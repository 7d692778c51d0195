"""Token maps of physical phenomena, cached beside a cache's latents: made once, read in training.

    maps.json                 what the maps are of: cache, maker, model, questions, layers
    maps-000000.safetensors   of the clips in shard-000000, as `RRR.CATEGORY`, R the clip's row
    maps-000000.json          its clips and those left out; written last, so maps that have it are
                              whole
    maps-excluded.jsonl       name and reason of every clip that has no maps, once all are there

A map is float16 [T, H, W] on the latent grid, divided by its largest value; that value stands in
the JSON (`peaks`), and a map with nothing above 0 is 0 throughout. Only annotated categories are
stored. Two makers give them: the attention of a vision-language model
(`pila.prophy.attention.AttentionMaps`) and the true fields of the simulated world
(`pila.lab.world.activity_maps.ActiveMaps`).
"""

import json
import os
import time
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from einops import reduce
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from torch import Tensor

from pila.data.records import ClipError
from pila.data.shard_files import Excluded, Header, Row
from pila.data.shards import OPEN_SHARDS, Shards
from pila.errors import InputError
from pila.files import atomic_write, sole_writer
from pila.physics.layout import Category
from pila.progress import progress_bar
from pila.prophy import map_files as files


class Maker(Protocol):
    """What makes maps."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """All that decides what the maps are, for `maps.json`."""
        ...

    def maps(self, rows: Sequence[Row], header: Header) -> Iterator[np.ndarray | ClipError]:
        """One item for each row of a cache, in order.

        Args:
            rows: clips of the cache.
            header: what the cache says of all its clips.

        Returns:
            Q [8, T, H, W] float32 in `Category` order, on the grid of the header's latents, or a
            ClipError, whose text says why there is none.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class MapsWritten:
    """What a call of `write_maps` did.

    Attributes:
        clips: that have maps, in all shards that are done.
        excluded: reasons, without their particulars, and how many clips each left out.
        made: clips that this call looked at.
        missing: shards without maps yet, which other processes make.
        seconds: that it took.
    """

    clips: int
    excluded: dict[str, int]
    made: int
    missing: int
    seconds: float


def write_maps(
    cache: Path,
    maker: Maker,
    *,
    folder: Path | None = None,
    part: tuple[int, int] | None = None,
    progress: bool = True,
) -> MapsWritten:
    """Make the maps of a latent cache's clips; again, it goes on where it stopped.

    Args:
        cache: a finished latent cache.
        maker: what makes them.
        folder: where they are put; the cache's own folder by default.
        part: (r, n): only every n-th shard from the r-th on. By default torchrun's rank and number
            of processes, which then need not wait for each other.
        progress: a bar on a terminal, of process 0's share.

    Raises:
        InputError: no finished cache, maps of another kind in the folder, a folder that cannot be
            written, or no clip at all that can be used.
    """
    shards, start = Shards(cache), time.perf_counter()
    rank, count = part or (int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))
    if not 0 <= rank < count:
        raise InputError(f"part is {rank}, {count}; the first is in 0..{count - 1}")
    place = folder or cache
    with sole_writer(place) if rank == 0 else nullcontext():
        return _write(place, shards, maker, rank, count, start, progress)


def _write(
    place: Path,
    shards: Shards,
    maker: Maker,
    rank: int,
    count: int,
    start: float,
    progress: bool,
) -> MapsWritten:
    _begin(place, shards, maker)
    if count == 1:
        files.clear(place, ".maps*.part")
    rows = _by_shard(shards)
    mine = [s for s in list(rows)[rank::count] if not files.is_finished(place, s)]
    made = _make(place, {s: rows[s] for s in mine}, shards.header, maker, progress and rank == 0)
    done = {s: files.read_sidecar(place, s) for s in rows if files.is_finished(place, s)}
    excluded = [e for _, left_out in done.values() for e in left_out]
    clips = sum(len(mapped) for mapped, _ in done.values())
    if len(done) == len(rows):
        if not clips:
            raise InputError(
                f"none of the {len(shards)} clips can be mapped; the first, {excluded[0].name}: "
                f"{excluded[0].reason}"
            )
        with atomic_write(place / "maps-excluded.jsonl") as file:
            file.write_text("".join(json.dumps(asdict(e)) + "\n" for e in excluded))
    return MapsWritten(
        clips=clips,
        excluded=dict(Counter(e.reason.partition(":")[0] for e in excluded).most_common()),
        made=made,
        missing=len(rows) - len(done),
        seconds=time.perf_counter() - start,
    )


class Maps:
    """The maps of a latent cache, read for the same indices as its clips.

    Args:
        shards: the cache.
        folder: where the maps are; the cache's own folder by default.

    Raises:
        InputError: there are none, some are missing, or they are of another cache.
    """

    def __init__(self, shards: Shards, folder: Path | None = None) -> None:
        self.shards, self.folder = shards, folder or shards.folder
        header = files.read_header(self.folder)
        if header.get("cache") != shards.identity:
            raise InputError(
                f"{self.folder / 'maps.json'} is of another latent cache than {shards.folder}; "
                f"{files.ELSEWHERE}"
            )
        self.facts: dict[str, Any] = header["maker"]
        self._peaks: dict[str, dict[str, float]] = {}
        self.excluded: dict[str, str] = {}
        for shard, rows in _by_shard(shards).items():
            if not files.is_finished(self.folder, shard):
                raise InputError(f"{files.path_of(self.folder, shard)} is not there; {files.AGAIN}")
            mapped, left_out = files.read_sidecar(self.folder, shard)
            known = {row.name: (row.row, row.sha256) for row in rows}
            said = {m.name: (m.row, m.sha256) for m in mapped}
            if {*said, *(e.name for e in left_out)} != set(known) or any(
                known[name] != said[name] for name in said
            ):
                raise files.broken(
                    self.folder, shard, "it is of other clips than the cache's shard"
                )
            self._peaks |= {m.name: m.peaks for m in mapped}
            self.excluded |= {e.name: e.reason for e in left_out}
        self._open: OrderedDict[int, Any] = OrderedDict()

    def __len__(self) -> int:
        return len(self.shards)

    def __getstate__(self) -> dict[str, Any]:
        """Without the open files: another process opens its own."""
        return self.__dict__ | {"_open": OrderedDict()}

    @property
    def mapped(self) -> Tensor:
        """Which clips have maps, bool [n]; the others' are 0."""
        return torch.tensor([row.name in self._peaks for row in self.shards.rows])

    @property
    def peaks(self) -> Tensor:
        """By what each map was divided, [n, 8]; 0 where there is none or nothing above 0."""
        found = [self._peaks.get(row.name, {}) for row in self.shards.rows]
        return torch.tensor([[peaks.get(str(c), 0.0) for c in Category] for peaks in found])

    def batch(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """Maps of clips by index, as `Shards.batch` has the clips.

        Returns:
            `maps` Q [b, 8, T, H, W] float32, each 0 or with a largest value of 1, and `inside`
            M [b, 8, T, H, W] bool: the category is annotated and Q > 0.

        Raises:
            IndexError: no such clip.
            InputError: a file that does not read.
        """
        maps = torch.stack([self._clip(self.shards.rows[i]) for i in indices])
        return {"maps": maps, "inside": maps > 0}

    def _clip(self, row: Row) -> Tensor:
        _, *grid = self.shards.header.latent_shape
        maps = torch.zeros(len(Category), *grid)
        for index, category in enumerate(Category):
            if str(category) not in self._peaks.get(row.name, {}):
                continue
            try:
                stored = self._file(row.shard).get_tensor(f"{row.row:03d}.{category}")
            except (SafetensorError, OSError) as error:
                raise files.broken(self.folder, row.shard, str(error)) from error
            if list(stored.shape) != grid:
                raise files.broken(self.folder, row.shard, f"a map of {row.name} has another shape")
            maps[index] = stored.float()
        return maps

    def _file(self, shard: int) -> Any:
        """An open file; of too many the one that was used longest ago is closed."""
        if shard not in self._open:
            self._open[shard] = safe_open(files.path_of(self.folder, shard), framework="pt")
            if len(self._open) > OPEN_SHARDS:
                self._open.popitem(last=False)
        self._open.move_to_end(shard)
        return self._open[shard]


def to_tokens(
    maps: Float[Tensor, "b k T H W"], patch: tuple[int, int, int]
) -> Float[Tensor, "b k t h w"]:
    """Means over a transformer's patches of latent cells, as its tokens see them.

    Raises:
        InputError: the grid does not fall into whole patches.
    """
    if any(side % p for side, p in zip(maps.shape[2:], patch, strict=True)):
        raise InputError(
            f"maps are {list(maps.shape[2:])}; they must fall into whole patches of {list(patch)}"
        )
    t, h, w = patch
    return reduce(maps, "b k (T t) (H h) (W w) -> b k T H W", "mean", t=t, h=h, w=w)


def _make(
    folder: Path,
    rows: Mapping[int, Sequence[Row]],
    header: Header,
    maker: Maker,
    progress: bool,
) -> int:
    """Make the maps of shards, one after the other; returns how many clips they have."""
    order = [row for mine in rows.values() for row in mine]
    if not order:
        return 0
    found = maker.maps(order, header)
    with progress_bar(total=len(order), unit="clip", shown=progress) as bar:
        for shard, mine in rows.items():
            files.clear(folder, f".{files.path_of(folder, shard).stem}.*.part")
            tensors: dict[str, np.ndarray] = {}
            mapped: list[files.Mapped] = []
            excluded: list[Excluded] = []
            for row in mine:
                maps = next(found)
                bar.update()
                if not isinstance(maps, ClipError) and not np.isfinite(maps).all():
                    maps = ClipError("not finite: its maps")
                if isinstance(maps, ClipError):
                    excluded.append(Excluded(row.name, str(maps)))
                    continue
                stored, peaks = files.pack(row, maps, header)
                tensors |= stored
                mapped.append(
                    files.Mapped(name=row.name, row=row.row, sha256=row.sha256, peaks=peaks)
                )
            files.write(folder, shard, tensors, mapped, excluded)
    return len(order)


def _begin(folder: Path, shards: Shards, maker: Maker) -> None:
    """Check the folder's maps, or begin them."""
    asked = _header(shards, maker)
    path = folder / "maps.json"
    if path.is_file():
        there = files.read_header(folder)
        if there != asked:
            old, new = (said | said["maker"] for said in (there, asked))
            keys = sorted(k for k in {*old, *new} if old.get(k) != new.get(k))
            differing = "; ".join(f"{k} is {old.get(k)} there, {new.get(k)} asked" for k in keys)
            raise InputError(f"{folder} holds other maps ({differing}); {files.ELSEWHERE}")
        return
    with atomic_write(path) as part:
        part.write_text(json.dumps(asked, indent=1) + "\n")


def _header(shards: Shards, maker: Maker) -> dict[str, Any]:
    said = {
        "version": files.VERSION,
        "cache": shards.identity,
        "grid": list(shards.header.latent_shape[1:]),
        "maker": dict(maker.facts),
    }
    return json.loads(json.dumps(said))  # as it will be read back


def _by_shard(shards: Shards) -> dict[int, list[Row]]:
    rows: dict[int, list[Row]] = {}
    for row in shards.rows:
        rows.setdefault(row.shard, []).append(row)
    return rows
