"""What a file came from, kept beside it and bound to it by its hash.

`sa.csv` has `sa.csv.record.json`: the judge, its frames, prompts and parser, the videos' own
settings. A file that was changed after its record was written is refused.
"""

import hashlib
import json
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pila import __version__
from pila.errors import InputError
from pila.files import atomic_write
from pila.lab.benchmarks.reading import read_entries
from pila.provenance import commit

PACKAGES = ("torch", "diffusers", "transformers", "httpx2", "av", "pyiqa")


def sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal.

    Raises:
        InputError: it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while part := file.read(1 << 22):
                digest.update(part)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); give a file") from error
    return digest.hexdigest()


def digest_of(value: Any) -> str:
    """First 16 hex digits of the SHA-256 of a value's canonical JSON."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]


def versions() -> dict[str, str]:
    """Of this package, its commit, Python, and of what decides numbers."""
    found = {"pila": __version__, "commit": commit(), "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def record_path(path: Path) -> Path:
    """Where the record of a file lies."""
    return path.with_name(f"{path.name}.record.json")


def write_json(path: Path, value: Any) -> None:
    """Write JSON, whole or not at all.

    Raises:
        InputError: the place cannot be written.
    """
    with atomic_write(path) as part:
        part.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def write_record(path: Path, record: dict[str, Any]) -> None:
    """Keep what a file came from.

    Raises:
        InputError: the place cannot be written.
    """
    write_json(record_path(path), {"sha256": sha256(path), **record, "versions": versions()})


def read_record(path: Path) -> dict[str, Any] | None:
    """The record of a file, None where there is none.

    Raises:
        InputError: the file is not the one that the record was written for.
    """
    place = record_path(path)
    if not place.is_file():
        return None
    record = read_entries(place, dict)
    if record.get("sha256") != sha256(path):
        raise InputError(
            f"{path} was changed after {place.name} was written; judge again, or delete the record "
            "if the file now comes from elsewhere"
        )
    return record
