"""Videos by name under a folder: files of their own, and members of zip archives.

WISA-80K keeps its videos in 128 archives, each member deep in folders of the machine that packed
it, and names repeat among archives. Every archive's directory is read once; nothing is unpacked.
"""

import os
import struct
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

SUFFIX = ".mp4"
_POINTER = b"version https://git-lfs"
_UNREADABLE = (
    zipfile.BadZipFile,
    struct.error,
    EOFError,
    NotImplementedError,
    OSError,
    ValueError,
)
"""What zipfile raises on damaged directories."""


@dataclass(frozen=True, slots=True)
class Video:
    """One video: its file, or its archive and its name there; and how many bytes it has."""

    path: Path
    member: str | None
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What lies under a folder.

    Attributes:
        videos: by file name, the first copy of each that is not empty.
        copies: further copies in other archives, "name (place)", and which one counts.
        archives: how many could be read.
        broken: archives that could not, relative to the folder, and why.
    """

    videos: Mapping[str, Video]
    copies: Mapping[str, str]
    archives: int
    broken: Mapping[str, str]


def find_videos(root: Path) -> Found:
    """All .mp4 files below a folder and all .mp4 members of the .zip archives below it.

    Unpacked files come first, by path, and hide the archives' members of the same name without
    a word, so that archives may stay where they are. Archives follow by number, then by name.
    """
    files, archives = _walk(root)
    videos: dict[str, Video] = {}
    copies: dict[str, str] = {}
    broken: dict[str, str] = {}

    def add(name: str, video: Video) -> None:
        first = videos.setdefault(name, video)
        if first is video:
            return
        if first.size == 0 < video.size:
            videos[name], first, video = video, video, first
        place = video.path.relative_to(root).as_posix()
        if video.path == first.path:
            place = f"{place}: {video.member}"
        taken = first.path.relative_to(root).as_posix()
        copies[f"{name} ({place})"] = f"the one in {taken} counts"

    for path in files:
        try:
            size = path.stat().st_size
        except OSError:  # a link whose target is gone, as in a half-fetched hub cache
            continue
        add(path.name, Video(path, None, size))
    unpacked = {name for name, video in videos.items() if video.size > 0}
    for archive in archives:
        place = archive.relative_to(root).as_posix()
        try:
            members = list(_members(archive))
        except _UNREADABLE as error:
            broken[place] = why_unreadable(archive, error)
            continue
        for name, member, size in members:
            if name not in unpacked:
                add(name, Video(archive, member, size))
    return Found(videos=videos, copies=copies, archives=len(archives) - len(broken), broken=broken)


def why_unreadable(path: Path, error: Exception) -> str:
    """What is wrong with a file, a Git LFS pointer in its place above all."""
    try:
        with path.open("rb") as file:
            if file.read(len(_POINTER)) == _POINTER:
                return "is a Git LFS pointer, not the file; fetch it with `hf download`"
    except OSError:
        pass
    return f"cannot be read ({error})"


def _walk(root: Path) -> tuple[list[Path], list[Path]]:
    """Videos and archives, each in order; hidden folders and files are left out."""
    files: list[Path] = []
    archives: list[Path] = []
    seen: set[Path] = set()
    for folder, folders, names in os.walk(root, followlinks=True):
        real = Path(folder).resolve()
        if real in seen:  # a link back to a folder above
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        for name in names:
            suffix = Path(name).suffix.lower()
            if not name.startswith(".") and suffix in (SUFFIX, ".zip"):
                (archives if suffix == ".zip" else files).append(Path(folder, name))
    return sorted(files), sorted(archives, key=_by_number)


def _by_number(archive: Path) -> tuple[bool, int, str]:
    stem = archive.stem
    return (not stem.isdecimal(), int(stem) if stem.isdecimal() else 0, archive.as_posix())


def _members(archive: Path) -> Iterator[tuple[str, str, int]]:
    """File name, whole name and size of every video in an archive."""
    with zipfile.ZipFile(archive) as packed:
        for info in packed.infolist():
            name = PurePosixPath(info.filename.replace("\\", "/")).name
            hidden = name.startswith(".")  # what macOS packs beside every file
            if not info.is_dir() and not hidden and name.lower().endswith(SUFFIX):
                yield name, info.filename, info.file_size
