"""Data sets by what a user calls them: a folder, a list, the simulated world."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pila import plugins
from pila.data.corpus import WORLD, CorpusConfig
from pila.data.encoders import ModelFacts
from pila.data.records import Source, View
from pila.errors import InputError
from pila.options import exists

if TYPE_CHECKING:
    from pila.data.shards import Clips


class ClipMaker(Protocol):
    """Who makes clips that are not read from disk; an entry point of `pila.clip_sources`."""

    def check(self, corpus: CorpusConfig) -> None:
        """Refuse a corpus that it cannot make, with an InputError."""
        ...

    def describe(self, corpus: CorpusConfig) -> str:
        """A corpus in a few words, for a training's summary."""
        ...

    def source(self, corpus: CorpusConfig, *, facts: ModelFacts, view: View) -> Source:
        """The corpus as a data set, for a latent cache."""
        ...

    def latents(self, corpus: CorpusConfig, model: Path) -> "Clips":
        """The corpus through a model's VAE and text encoder, made when first wanted."""
        ...

    def with_targets(self, corpus: CorpusConfig, model: Path) -> Path:
        """The latent cache of the corpus with motion targets and true fields, made if missing."""
        ...

    def activity_maps(self) -> Any:
        """Who makes ProPhy's token maps of its clips; a `pila.prophy.maps.Maker`."""
        ...


def clip_maker(corpus: CorpusConfig) -> ClipMaker:
    """Who makes a corpus's clips; it has checked the corpus.

    Raises:
        InputError: nobody of that name, or a corpus that it cannot make.
    """
    maker: ClipMaker = plugins.load("pila.clip_sources", corpus.source)
    maker.check(corpus)
    return maker


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
        name: a folder or a list as `find_videos` takes them, or `world`.
        facts: the model whose latent grid the world's true fields are on.
        view: in which the clips will be seen.
        root: the folder with a list's videos; the list's own by default.
        clips: of the world; `CorpusConfig`'s number by default.
        scenes: of the world; all by default.
        violations: share of the world's clips that break a law; `CorpusConfig`'s by default.

    Raises:
        InputError: no such data set, an option that it does not have, or a view that it cannot be
            seen in.
    """
    options = {"--clips": clips, "--scenes": scenes or None, "--violations": violations}
    given = [option for option, value in options.items() if value is not None]
    if name in plugins.names("pila.clip_sources"):
        base = CorpusConfig()
        corpus = CorpusConfig(
            source=name,
            clips=base.clips if clips is None else clips,
            violated=base.violated if violations is None else violations,
            scenes=scenes,
            size=view.height,
        )
        return clip_maker(corpus).source(corpus, facts=facts, view=view)
    if given:
        raise InputError(f"{given[0]} is for the source {WORLD!r} alone; leave it out for {name}")
    return find_videos(name, root=root)


def find_videos(name: str, *, root: Path | None = None) -> Source:
    """The data set of videos that a name stands for.

    A list, a folder with a list of a known name or with texts beside its videos, or a folder in
    WISA-80K's form.

    Args:
        name: its place.
        root: the folder with a list's videos; the list's own by default.

    Raises:
        InputError: no such data set, or an option that it does not have.
    """
    from pila.data.folder import FolderSource
    from pila.data.lists import FOUND_IN_FOLDERS, has_sidecars

    if not exists(Path(name)):
        raise InputError(
            f"source is {name!r}; give a folder of videos with {' or '.join(FOUND_IN_FOLDERS)} or "
            "a .txt beside each video, a list (CSV or .jsonl) with the columns file and caption, a "
            f"folder in WISA-80K's form, or {WORLD!r}"
        )
    path = Path(name).expanduser()
    if not path.is_dir():
        return FolderSource(path, root=root)
    if root is not None:
        raise InputError(f"--root is for a list alone; leave it out for the folder {name}")
    listed = next((path / n for n in FOUND_IN_FOLDERS if (path / n).is_file()), None)
    if listed is not None:
        return FolderSource(listed)

    from pila.data.wisa import WisaSource, has_annotations

    if not has_annotations(path) and has_sidecars(path):
        return FolderSource(path)
    return WisaSource(path)
