"""The captions of scenes as the data that a model carries in its folder (`captions.json`).

`python -m pila.lab.world.caption_data` writes the embedded model's.
"""

import json
import tomllib
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from pila.files import atomic_write
from pila.lab.world.captions import HELD_OUT
from pila.lab.world.registry import SCENES, scene_named, scene_words
from pila.labels.captions import FILE, VERSION


def caption_data(names: Sequence[str]) -> dict[str, Any]:
    """What a model trained on these scenes knows: their training captions and other words.

    Raises:
        InputError: no such scene.
    """
    other = tomllib.loads((files("pila.lab.world") / "gap_words.toml").read_text("utf-8"))
    scenes = {}
    for name in names:
        scene, more = scene_named(name), dict(other["scenes"].get(name, {}))
        scenes[name] = {
            "categories": [str(category) for category in scene.categories],
            "templates": list(scene.templates[:-HELD_OUT]),
            "gaps": {gap: list(options) for gap, options in scene.words.items()},
            "words": more.pop("gaps", {}),
            **more,
        }
    return {
        "pila_captions": VERSION,
        "style": other["style"],
        "settings": other["settings"],
        "options": other["options"],
        "scenes": scenes,
        "lexicon": scene_words(),
    }


def write_captions(folder: Path, names: Sequence[str]) -> Path:
    """Write `captions.json` of a model that knows these scenes; returns the file."""
    path = folder / FILE
    with atomic_write(path) as part:
        part.write_text(
            json.dumps(caption_data(names), ensure_ascii=False, indent=0) + "\n", encoding="utf-8"
        )
    return path


def main() -> None:
    """Write the embedded model's captions."""
    write_captions(Path(__file__).parents[2] / "assets" / "embedded", list(SCENES))


if __name__ == "__main__":
    main()
