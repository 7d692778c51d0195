"""What the residual score and steadiness are worth, as a calibration on known clips has found."""

from functools import lru_cache
from pathlib import Path
from typing import Any

from pila.json_files import read_object

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Of true clips' scores, kept to say among how many of them a video stands."""
ASSET = Path(__file__).resolve().parents[1] / "assets" / "score.json"
"""The calibration that ships with the embedded adapter."""


@lru_cache
def read_calibration(path: Path = ASSET) -> dict[str, Any]:
    """A calibration that `run` wrote; empty where there is none."""
    return read_object(path) if path.is_file() else {}
