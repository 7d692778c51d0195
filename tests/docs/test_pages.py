"""Commands on the pages are commands, links lead somewhere, and what can run here runs."""

import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import torch
import tyro
from tests.conftest import TINY_SAMPLING
from tests.docs.conftest import PAGES, ROOT, Block, blocks, carry_out

from pila.cli import CONFIG, Command
from pila.recipes import RECIPES

BLOCKS = [block for page in PAGES for block in blocks(page)]
TEXTS = {page: page.read_text() for page in PAGES}


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.words], ids=str)
def test_commands_parse(block: Block):
    kind: Any = Command
    command: Any = tyro.cli(kind, args=list(block.words), config=CONFIG)
    if block.words[0] == "train":
        assert command.recipe in RECIPES


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_commands_in_sentences_exist(page: Path):
    known = {line.split()[-1] for line in re.findall(r"^## (pila .+)$", _commands(), re.MULTILINE)}
    named = set(re.findall(r"`pila ([a-z][a-z-]*)", TEXTS[page]))
    assert named <= known


def _commands() -> str:
    return (ROOT / "docs" / "commands.md").read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_to_files_of_the_repository(page: Path):
    """As on a forge; the strict build holds the site to the same, anchors included."""
    links = re.findall(r"\]\(([^)\s#]+)(?:#[^)]*)?\)", TEXTS[page])
    local = [link for link in links if not link.startswith("http")]
    assert [link for link in local if not (page.parent / link).exists()] == []


def test_targets_of_make_exist():
    makefile = (ROOT / "Makefile").read_text()
    for text in TEXTS.values():
        for target in re.findall(r"^    make (\w+)|`make (\w+)`", text, re.MULTILINE):
            assert re.search(rf"^{''.join(target)}:", makefile, re.MULTILINE), target


def test_every_category_has_its_page_in_the_menu():
    from pila.physics import Category

    menu = (ROOT / "mkdocs.yml").read_text()
    assert [c for c in Category if f"categories/{c}.md" not in menu] == []


def test_every_page_is_in_the_menu():
    lines = (ROOT / "mkdocs.yml").read_text().splitlines()
    menu = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    pages = [page.relative_to(ROOT / "docs").as_posix() for page in PAGES]
    assert [page for page in pages if f" {page}" not in menu] == []


@pytest.mark.slow
def test_first_video(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PILA_CACHE", str(tmp_path / "cache"))
    done = carry_out(ROOT / "docs" / "first-video.md")
    assert len(done) == 10
    clips = {path.name for path in tmp_path.glob("*.mp4")}
    assert {"balls.mp4", "balls-frozen.mp4", "balls-compare.mp4", "balls-python.mp4"} <= clips
    drawn = {path.name for path in (tmp_path / "why").iterdir()}
    told = set(re.findall(r"^\| `(\w+\.png)`", TEXTS[ROOT / "docs" / "first-video.md"], re.M))
    assert drawn == told
    assert "<html" in (tmp_path / "report.html").read_text()


@pytest.mark.slow
def test_own_videos(own_videos: Path):
    assert (own_videos / "run" / "adapter" / "config.json").is_file()
    assert (own_videos / "mine-compare.mp4").stat().st_size > 1000


@pytest.mark.slow
def test_a_new_backbone(own_videos: Path, monkeypatch):
    monkeypatch.chdir(own_videos)
    ran = runpy.run_path(str(ROOT / "docs" / "examples" / "backbone.py"))
    assert ran["x"].shape == (1, 16, 9, 12, 12)
    assert ran["x"].isfinite().all()
    assert all(p.grad is None for p in ran["denoiser"].parameters())


@pytest.fixture
def as_wan(wan_folder: Path, adapter_folder: Path):
    """Code of a page with a tiny Wan, a tiny adapter and the CPU in the place of the real ones."""
    sizes = {
        "height=480": f"height={TINY_SAMPLING['height']}",
        "width=832": f"width={TINY_SAMPLING['width']}",
        "num_frames=81": f"num_frames={TINY_SAMPLING['num_frames']}",
        "num_inference_steps=50": "num_inference_steps=2, max_sequence_length=16",
        "(1, 50)": "(1, 2)",
        '"cuda"': '"cpu"',
        'offload="model"': 'offload="none"',
        '"PATH"': repr(str(adapter_folder)),
    }

    def change(code: str) -> str:
        for told, here in sizes.items():
            code = code.replace(told, here)
        return re.sub(r'"Wan-AI/[^"]+"', repr(str(wan_folder)), code)

    return change


@pytest.mark.parametrize("name", ["wan.md", "prophy.md"])
def test_code_about_wan_runs_on_wans_classes(name, as_wan, wan_folder, tmp_path, monkeypatch):
    from pila.pipelines.locate import load_pipeline

    monkeypatch.chdir(tmp_path)
    shared = {"pipeline": load_pipeline(wan_folder, None)} if name == "prophy.md" else {}
    found = [b for b in BLOCKS if b.code and b.page.name == name]
    assert found
    with torch.no_grad():
        for block in found:
            exec(compile(as_wan(block.code), str(block), "exec"), shared)
    assert (tmp_path / ("pan.mp4" if name == "wan.md" else "branch")).exists()


def test_every_block_of_python_is_run_somewhere():
    """A page with a block of Python must be named by a test, which carries it out."""
    tests = {path: path.read_text() for path in (ROOT / "tests").rglob("*.py")}
    # What page.md asks of a running server, the server's own tests ask.
    served = tests[ROOT / "tests" / "web" / "test_page.py"]
    calls = re.findall(r'api_name="(/\w+)"', TEXTS[ROOT / "docs" / "page.md"])
    assert calls
    assert [name for name in calls if name not in served] == []
    pages = {b.page.name for b in BLOCKS if b.code and "--8<--" not in b.code} - {"page.md"}
    assert [name for name in sorted(pages) if not any(name in t for t in tests.values())] == []
