"""Which clips a run makes for itself, where none are read from disk."""

from dataclasses import dataclass

from pila.errors import InputError

WORLD = "world"
"""The simulated world's name among `pila.clip_sources`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusConfig:
    """Which made clips a run sees.

    Training seeds start at 1,000,000; seeds below are for evaluation and never trained on.
    """

    source: str = WORLD
    """Who makes them: a name among `pila.clip_sources`."""
    clips: int = 6144
    violated: float = 0.5
    """Share of clips with a broken law, as web video has them."""
    first_seed: int = 1_000_000
    scenes: tuple[str, ...] = ()
    """Names of scenes, taken in turn; none named stands for all."""
    size: int = 128
    """Height and width in pixels."""

    def __post_init__(self) -> None:
        if self.clips < 1:
            raise InputError(f"corpus.clips is {self.clips}; take at least 1")
        if not 0 <= self.violated <= 1:
            raise InputError(f"corpus.violated is {self.violated}; a share is in [0, 1]")
        if self.first_seed < 1_000_000:
            raise InputError(
                f"corpus.first_seed is {self.first_seed}; seeds below 1000000 are held out"
            )
