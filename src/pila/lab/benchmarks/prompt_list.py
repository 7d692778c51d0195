"""A benchmark's prompts and the names that its clips must have, in one file that all steps read."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pila.errors import InputError
from pila.lab.benchmarks.reading import listed, read_entries, refuse, repeated
from pila.lab.benchmarks.records import digest_of, sha256, write_json
from pila.labels.parser import check_prompt
from pila.snapshots import download
from pila.video import video_frames

SUFFIXES = (".mp4", ".mkv", ".webm", ".mov", ".avi", ".gif")
_FORM = "pila-prompts/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One prompt.

    Attributes:
        key: what results are joined by; unique in the list.
        prompt: what a generator is asked for.
        group: the benchmark's domain or dimension.
        files: names of its clips, one for each sample.
        details: what a judge is asked about the clips, as the benchmark's own file has it.
    """

    key: str
    prompt: str
    group: str = ""
    files: tuple[str, ...]
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptList:
    """All prompts of a benchmark.

    Attributes:
        benchmark: its name in `pila evaluate`.
        source: where the prompts were read.
        items: in the official order.
    """

    benchmark: str
    source: str
    items: tuple[Item, ...]

    def __post_init__(self) -> None:
        refuse(
            [f"{key!r} twice" for key in repeated(item.key for item in self.items)]
            + [f"{name!r} for two clips" for name in repeated(self.files)]
            + [f"{name!r} is no file name" for name in self.files if Path(name).name != name],
            f"prompts of {self.source}",
            "repair the list; keys and file names must be unique",
        )

    @property
    def files(self) -> list[str]:
        """Names of all clips."""
        return [name for item in self.items for name in item.files]

    @property
    def digest(self) -> str:
        """Changes with any prompt, question or file name, and with their order."""
        return digest_of([self.benchmark, [asdict(item) for item in self.items]])


def write_prompts(path: Path, prompts: PromptList) -> None:
    """Write a list for the other steps.

    Raises:
        InputError: the place cannot be written.
    """
    content = {"form": _FORM, **asdict(prompts), "digest": prompts.digest}
    write_json(path, content)


def read_prompts(path: Path, benchmark: str) -> PromptList:
    """Read a list that `write_prompts` wrote.

    Raises:
        InputError: another file, one of another benchmark, or one that was changed since.
    """
    content = read_entries(path, dict)
    again = f"make it with `pila evaluate {benchmark} prompts`"
    if content.get("form") != _FORM:
        raise InputError(f"{path} is no list of prompts of pila ({_FORM}); {again}")
    if content.get("benchmark") != benchmark:
        raise InputError(f"{path} holds prompts of {str(content.get('benchmark'))[:80]!r}; {again}")
    try:
        items = tuple(Item(**{**item, "files": tuple(item["files"])}) for item in content["items"])
        prompts = PromptList(benchmark=benchmark, source=content["source"], items=items)
        same = prompts.digest == content["digest"]
    except (KeyError, TypeError, ValueError, RecursionError):  # an entry that pila does not write
        same = False
    if not same:
        raise InputError(f"{path} was changed by hand since it was written; {again}")
    return prompts


def checked_items(items: Iterable[Item], expected: int, source: Any) -> tuple[Item, ...]:
    """The items, if there are as many as the benchmark has and each can be generated.

    Raises:
        InputError: another number, or a prompt that no text encoder takes.
    """
    found = tuple(items)
    if len(found) != expected:
        raise InputError(
            f"{source} has {len(found)} prompts, and the benchmark {expected}; give the whole "
            "official file"
        )
    for item in found:
        check_prompt(item.prompt)
    return found


def find_clips(prompts: PromptList, folder: Path) -> dict[str, Path]:
    """The clips of a list in a folder, by name, each opened and its first frame decoded.

    Raises:
        InputError: no folder; clips that are missing, empty or damaged; videos that the benchmark
            does not know; two clips with the same bytes. All of them are named.
    """
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}; give the folder with the clips")
    there = {p.name: p for p in sorted(folder.iterdir()) if p.suffix.lower() in SUFFIXES}
    wanted = prompts.files
    missing = [name for name in wanted if name not in there]
    if missing:
        unknown = [name for name in there if name not in set(wanted)]
        also = f" (videos there that the benchmark does not know: {listed(unknown)})"
        raise InputError(
            f"{folder} lacks {len(missing)} of {len(wanted)} clips: {listed(missing)}"
            f"{also if unknown else ''}; run the generate step again, it makes what is missing"
        )
    unknown = [name for name in there if name not in set(wanted)]
    refuse(
        [f"{name} is a clip too many" for name in unknown],
        folder,
        f"the benchmark has {len(wanted)} clips; move other videos away",
    )
    clips = {name: there[name] for name in wanted}
    faults = [f"{name} {why}" for name, path in clips.items() if (why := damage(path))]
    refuse(faults, folder, "delete these files and run the generate step again")
    by_hash: dict[str, list[str]] = {}
    for name, path in clips.items():
        by_hash.setdefault(sha256(path), []).append(name)
    same = [" = ".join(names) for names in by_hash.values() if len(names) > 1]
    refuse(same, f"{folder} has the same clip under several names", "delete the copies")
    return clips


def damage(path: Path) -> str | None:
    """Why a video cannot be judged, None where its first frame decodes."""
    if path.stat().st_size == 0:
        return "has zero length"
    try:
        next(video_frames(path))
    except InputError as error:
        return f"is damaged ({error.__cause__ or error})"
    return None


def local_or_hub(source: str, hub_id: str) -> Path:
    """A file or folder of the user's, or the small files of a data set on Hugging Face.

    Raises:
        InputError: neither is there.
    """
    path = Path(source).expanduser()
    if path.exists():
        return path
    if source != hub_id:
        raise InputError(f"there is no {source}; give a file or a folder, or {hub_id}")
    return download(
        hub_id,
        what="data set",
        remedy="or download its CSV and pass it as --source",
        repo_type="dataset",
        patterns=["*.csv", "*.json", "*.jsonl"],
    )
