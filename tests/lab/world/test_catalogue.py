"""The committed page is the one that scenes and measurements give."""

import json
from pathlib import Path

from pila.lab.world import SCENES
from pila.lab.world.catalogue import MEASURED, PAGE, page, write

ROOT = Path(__file__).parents[3]


def test_the_committed_page_is_up_to_date():
    kept = ROOT / MEASURED
    measured = json.loads(kept.read_text()) if kept.exists() else None
    assert (ROOT / PAGE).read_text(encoding="utf-8") == page(measured), (
        "run `make docs` and commit what it writes"
    )


def test_the_page_names_every_scene_law_and_violation(tmp_path: Path):
    write(tmp_path)
    text = (tmp_path / PAGE).read_text(encoding="utf-8")
    for scene in SCENES.values():
        section = text.partition(f"### {scene.name}\n")[2].partition("###")[0]
        assert all(law in section for law in scene.laws)
        assert all(v.replace("_", " ") in section for v in scene.violations)
        (file,) = [line for line in section.splitlines() if line.startswith("- file: ")]
        assert (ROOT / file.split("`")[1]).exists()
