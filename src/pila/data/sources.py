"""Data sets by what a user calls them: a folder, a list, the simulated world."""

from pathlib import Path

from pila.data.encoders import ModelFacts
from pila.data.records import Source, View
from pila.errors import InputError

WORLD = "world"


def find_source(
    name: str,
    *,
    facts: ModelFacts,
    view: View,
    root: Path | None = None,
    clips: int | None = None,
    scenes: tuple[str, ...] = (),
    violations: float | None = None,
) -> Source:
    """The data set that a name stands for.

    Args:
        name: a folder in WISA-80K's form, a CSV that lists videos, or `world`.
        facts: the model whose latent grid the world's true fields are on.
        view: in which the clips will be seen.
        root: the folder with a CSV's videos; the CSV's own by default.
        clips: of the world; `CorpusConfig`'s number by default.
        scenes: of the world; all by default.
        violations: share of the world's clips that break a law; `CorpusConfig`'s by default.

    Raises:
        InputError: no such data set, an option that it does not have, or a view that it cannot be
            seen in.
    """
    options = {"--clips": clips, "--scenes": scenes or None, "--violations": violations}
    given = [option for option, value in options.items() if value is not None]
    if name == WORLD:
        from pila.data.simulated import WorldSource, check_view
        from pila.world.corpus import CorpusConfig

        check_view(view)
        base = CorpusConfig()
        world = CorpusConfig(
            clips=base.clips if clips is None else clips,
            violated=base.violated if violations is None else violations,
            scenes=scenes,
            size=view.height,
        )
        return WorldSource(world, spatial=facts.spatial, temporal=facts.temporal)
    if given:
        raise InputError(f"{given[0]} is for the source {WORLD!r} alone; leave it out for {name}")
    return find_videos(name, root=root)


def find_videos(name: str, *, root: Path | None = None) -> Source:
    """The data set of videos that a name stands for: a folder in WISA-80K's form, or a CSV.

    Args:
        name: its place.
        root: the folder with a CSV's videos; the CSV's own by default.

    Raises:
        InputError: no such data set, or an option that it does not have.
    """
    path = Path(name).expanduser()
    if path.is_dir() and root is None:
        from pila.data.wisa import WisaSource

        return WisaSource(path)
    if path.is_file():
        from pila.data.folder import FolderSource

        return FolderSource(path, root=root)
    if path.is_dir():
        raise InputError(f"--root is for a CSV alone; leave it out for the folder {name}")
    raise InputError(
        f"source is {name!r}; give a folder in WISA-80K's form, a CSV with the columns file and "
        f"caption, or {WORLD!r}"
    )
