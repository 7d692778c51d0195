"""The documentation's pages, cut into blocks, and two of them carried out."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
_COMMAND = re.compile(r"^    (?:\S+=\S+ )*(?:\.venv/bin/)?pila (.+)$")
_LAUNCHED = re.compile(r"^    .*-m pila\.cli (.+)$")
# What a command line may leave to the reader: "...", and options in brackets.
_OPEN = re.compile(r"\s\.\.\.|[\[\]]")


@dataclass(frozen=True)
class Block:
    """A command line (`words`) or a Python block (`code`) of a page."""

    page: Path
    line: int
    words: tuple[str, ...] = ()
    code: str = ""

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    """What can be carried out, in order."""
    code: list[str] | None = None
    for number, line in enumerate(page.read_text().splitlines(), start=1):
        if code is not None:
            if line == "```":
                yield Block(page, number, code="\n".join(code))
                code = None
            else:
                code.append(line)
        elif line == "```python":
            code = []
        elif found := _COMMAND.match(line) or _LAUNCHED.match(line):
            words = shlex.split(_OPEN.sub(" ", found[1]), comments=True)
            yield Block(page, number, words=tuple(words))


def carry_out(page: Path) -> list[str]:
    """Run a page's blocks in order, in the current folder, with few steps.

    Left out, for their time or for want of weights, are lines that name Wan, and experiments.
    """
    from pila.cli import run

    fewer = {"--steps 20": "--steps 1", "--step-window 1-4": "--step-window 1-2"}
    done = []
    for block in blocks(page):
        line = shlex.join(block.words)
        if re.search("wan|^experiment ", line, re.IGNORECASE):
            continue
        for told, here in fewer.items():
            line = line.replace(told, here)
        if line.startswith("generate"):
            line += " --steps 2"
        if block.code:
            code = block.code.replace('"auto"', '"cpu"').replace("steps=8", "steps=2")
            exec(compile(code, str(block), "exec"), {})
        else:
            assert run(shlex.split(line)) == 0, f"{block}: pila {line}"
        done.append(line or "python")
    return done


@pytest.fixture(scope="module")
def own_videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which docs/own-videos.md was carried out."""
    folder = tmp_path_factory.mktemp("own-videos")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("PILA_CACHE", str(folder / "pila-cache"))
        done = carry_out(ROOT / "docs" / "own-videos.md")
    commands = " ".join(line.split()[0] for line in done)
    assert commands == "world python data data data train generate score"
    return folder
