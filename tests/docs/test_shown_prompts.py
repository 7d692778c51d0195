"""Every prompt that a newcomer is shown draws its scene, and its laws can be read off the clip."""

import json
import re
from pathlib import Path

import pytest
from tests.docs.conftest import PAGES, ROOT, blocks

from pila.cli import run
from pila.web.form import EXAMPLES

NOT_HERE = re.compile(r"wan|runs?/|\bPATH\b", re.IGNORECASE)
"""Commands that take weights which are not part of the package."""


def _shown() -> dict[str, tuple[str, ...]]:
    """Arguments of `pila generate` by the place that shows them, each combination once."""
    found: dict[str, tuple[str, ...]] = {}
    for page in (ROOT / "README.md", *PAGES):
        for block in blocks(page):
            if block.words[:1] == ("generate",) and not NOT_HERE.search(" ".join(block.words)):
                found[str(block)] = block.words[1:]
    (prompt,) = re.findall(r"^PROMPT \?= (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    found["Makefile"] = (prompt, "--compare")
    notebook = json.loads((ROOT / "notebooks" / "first_clip.ipynb").read_text())
    code = "\n".join("".join(cell["source"]) for cell in notebook["cells"])
    for prompt in re.findall(r'^PROMPT = "(.+)"$', code, re.MULTILINE):
        found["notebook"] = (prompt, "--steps", "16")
    for number, prompt in enumerate(EXAMPLES):
        found[f"page, example {number}"] = (prompt, "--compare")
    nodes = (ROOT / "comfyui" / "nodes.py").read_text()
    for prompt in re.findall(r'"default": "(\w+ \w+ [^"]+)"', nodes):
        found["nodes"] = (prompt,)
    return {place: words for place, words in found.items() if "--from" not in words}


SHOWN = _shown()
ONCE = {words: place for place, words in reversed(SHOWN.items())}


def test_every_place_is_read():
    places = " ".join(SHOWN)
    assert all(name in places for name in ("README", "first-video", "Makefile", "notebook", "page"))


@pytest.mark.slow
@pytest.mark.parametrize("words", ONCE, ids=lambda words: ONCE[words])
def test_a_shown_prompt_draws_its_scene(words, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(["generate", *words, "--json", "--parser", "offline"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["scene"] is not None, words[0]
    assert report["drawn_as"]
    assert report["laws"]
    for clip, laws in report["laws"].items():
        assert max(laws.values()) < 1.0, (words[0], report["drawn_as"], clip, laws)
