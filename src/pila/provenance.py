"""What a result came from: the commit of the code, the hash of the weights."""

import hashlib
import subprocess
from importlib.metadata import version
from pathlib import Path


def commit() -> str:
    """The commit of this checkout, or `unknown` where there is no checkout or no git."""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True
        )
    except OSError:
        return "unknown"
    return done.stdout.strip() or "unknown"


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
