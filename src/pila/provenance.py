"""What a result came from: the commit of the code, the hash of the weights."""

import hashlib
import subprocess
from pathlib import Path


def commit() -> str:
    """The commit of this checkout, or `unknown` where pila is installed without one."""
    done = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True
    )
    return done.stdout.strip() or "unknown"


def weights_hash(folder: Path) -> str:
    """First 16 hex digits of the SHA-256 over a folder's safetensors files."""
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.safetensors")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]
