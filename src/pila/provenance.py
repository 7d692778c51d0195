"""What a result came from: the commit of the code, the hash of the weights."""

import hashlib
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path


@cache
def commit() -> str:
    """The commit of this checkout, or `unknown` where there is no checkout or no git."""
    # An installed package may lie in another project's repository, whose commit says nothing.
    if _git("ls-files", "--error-unmatch", Path(__file__).name) is None:
        return "unknown"
    return _git("rev-parse", "HEAD") or "unknown"


def _git(*args: str) -> str | None:
    """What git says beside this file; None where it fails or is not there."""
    here = Path(__file__).parent
    try:
        done = subprocess.run(["git", *args], cwd=here, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return None if done.returncode else done.stdout.strip()


def weights_hash(folder: Path) -> str:
    """First 16 hex digits of the SHA-256 over a folder's safetensors files."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:  # in parts: a text encoder's files have gigabytes
            while part := file.read(1 << 24):
                digest.update(part)
    return digest.hexdigest()[:16]


def versions() -> dict[str, str]:
    """Of pila and of the libraries that its numbers come from."""
    return {name: version(name) for name in ("pila", "torch", "diffusers", "transformers")}
