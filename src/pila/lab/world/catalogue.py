"""The documentation of the world, derived from its scenes and from what was measured on them.

`python -m pila.lab.world.catalogue` writes docs/world.md.
"""

import inspect
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pila.json_files import read_object
from pila.lab.world.captions import HELD_OUT, write_caption
from pila.lab.world.registry import SCENES
from pila.lab.world.scene import FRAME_RATE, NUM_FRAMES, SIZE, Scene
from pila.physics.layout import Category

log = logging.getLogger(__name__)

PAGE = Path("docs", "world.md")
MEASURED = Path("results", "measures", "measures.json")

_INTRODUCTION = f"""# The simulated world

*Written by `python -m pila.lab.world.catalogue`; change the scenes, not this page.*

{len(SCENES)} scenes whose physics is known, at least two for each of the eight categories. A clip \
has {NUM_FRAMES} frames at {FRAME_RATE} per second ({SIZE} x {SIZE} px unless told otherwise), a \
caption, the categories at work, its parameters in SI units, and true fields at pixel and latent \
resolution with masks that say where they are defined. Every scene has laws, which are measured \
from the pixels alone, and violations: twins of a clip that keep caption and look and break a law. \
Results here are never results on Wan.

    pila world show --out sheet.png                 # a contact sheet: every scene, true and broken
    pila world make --clips 1000 --out clips        # lossless video, true fields, captions
    pila world measure clips/000000.mp4 --scene thrown_ball
    pila experiment measures                        # how well the measures tell true from broken

In Python: `pila.lab.world.SCENES`, `simulate(scene, seed, violation)`, `measure(scene, frames)`. \
What a caption does not say varies by a few percent only (places, phases, speeds within a word), \
grounds and textures freely: a generator is judged by what it was told. Where the formulas and \
the choices come from: [decisions.md](decisions.md).
"""


def page(measured: Mapping[str, Any] | None) -> str:
    """The whole page; `measured` is what `pila experiment measures` wrote, where it was run."""
    lines = [_INTRODUCTION]
    lines += ["| category | scenes in which it is at work |", "|---|---|"]
    for category in Category:
        found = [s.name for s in SCENES.values() if category in s.categories]
        links = ", ".join(f"[{name}](#{name})" for name in found)
        lines.append(f"| {category.replace('_', ' ')} | {links} |")
    lines += ["", "## Scenes", ""]
    for scene in SCENES.values():
        lines += _section(scene)
    if measured:
        lines += _measures(measured)
    return "\n".join(lines)


def write(root: Path) -> None:
    """Write the page of the project in `root`."""
    kept = root / MEASURED
    measured = read_object(kept) if kept.exists() else None
    (root / PAGE).parent.mkdir(parents=True, exist_ok=True)
    (root / PAGE).write_text(page(measured), encoding="utf-8")
    log.info("wrote %s", root / PAGE)


def _section(scene: Scene) -> list[str]:
    module = sys.modules[type(scene).__module__]
    first, _, rest = (inspect.getdoc(module) or "").partition("\n\n")
    words = {gap: options[0] for gap, options in scene.words.items()}
    # Two balls of one colour would not be said.
    for i, gap in enumerate(g for g, o in scene.words.items() if "red" in o and "green" in o):
        words[gap] = scene.words[gap][i]
    caption = write_caption(scene.templates, words, np.random.default_rng(1), False)
    listed = {
        "laws": ", ".join(scene.laws),
        "violations": ", ".join(v.replace("_", " ") for v in scene.violations),
        "labels": ", ".join(scene.categories),
        "captions": f"{len(scene.templates) - HELD_OUT} forms and {HELD_OUT} held out; “{caption}”",
    }
    return [
        f"### {scene.name}",
        "",
        " ".join(first.split()),
        "",
        *([" ".join(part.split()) + "\n" for part in rest.split("\n\n")] if rest else []),
        *(f"- {name}: {text}" for name, text in listed.items()),
        f"- file: `src/{module.__name__.replace('.', '/')}.py`",
        "",
    ]


def _measures(measured: Mapping[str, Any]) -> list[str]:
    entries = measured["scenes"]
    ways = list(next(iter(entries.values()))["true"])
    lines = [
        "## How well the measures tell true clips from broken ones",
        "",
        f"{measured['clips']} clips of each kind at {measured['size']} px"
        f"{_seen(measured) if 'vae' in ways else ''} (seeds from {measured['first_seed']}, commit "
        f"{measured['commit'][:10]}): the area under the ROC curve of a clip's worst law, true "
        "clips against the violation that is hardest to tell and against a true clip's first frame "
        "held still. Every violation and control has its row in "
        "[measures.md](../results/measures/measures.md), which `pila experiment measures` "
        "makes.",
        "",
        "| scene | CPU ms a clip | "
        + " | ".join(f"hardest violation, {w} | held still, {w} | true clips, {w}" for w in ways)
        + (" | VAE dB |" if "vae" in ways else " |"),
        "|---" * (2 + 3 * len(ways) + ("vae" in ways)) + "|",
    ]
    for name, entry in entries.items():
        cells = [name, f"{1e3 * entry['seconds']:.0f}"]
        for way in ways:
            kinds = {k: areas[way]["worst"] for k, areas in entry["kinds"].items() if way in areas}
            broken = {v: kinds[v] for v in SCENES[name].violations if v in kinds}
            hardest = min(broken, key=lambda v: broken[v][0], default=None)
            cells.append("" if hardest is None else _named(hardest, broken[hardest]))
            cells.append(f"{kinds['static'][0]:.3f}")
            cells.append(f"{max(entry['true'][way].values()):.3f}")
        if "vae" in ways:
            cells.append(f"{entry['psnr']:.1f}")
        lines.append("| " + " | ".join(cells) + " |")
    seconds = np.mean([entry["seconds"] for entry in entries.values()])
    lines += [
        "",
        "“True clips” is the median error of the law that true clips obey worst, 0 to 1. On "
        f"average a clip takes {1e3 * seconds:.0f} ms of one core to simulate and draw.",
        "",
    ]
    return lines


def _seen(measured: Mapping[str, Any]) -> str:
    broken, true = measured["vae_clips"], measured["vae_true_clips"]
    return f", of which {broken} broken and {true} true ones through the embedded VAE"


def _named(violation: str, area: Sequence[float]) -> str:
    value, low, high = area
    return f"{violation.replace('_', ' ')} {value:.3f} [{low:.3f}, {high:.3f}]"


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    write(Path.cwd())
