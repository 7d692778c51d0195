"""The README's commands are commands, its targets exist, and its Python runs."""

import re
import shlex
from pathlib import Path

import pytest
import tyro

from pila.cli import CONFIG, Command

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
COMMANDS = re.findall(r"^    \.venv/bin/pila (.+)$", README, re.MULTILINE)
TARGETS = re.findall(r"^    make ?(\w*)", README, re.MULTILINE)
LINKS = re.findall(r"\]\(([^)#]+)\)", README.split("<!-- strip")[0] + README.split("-->", 1)[1])


@pytest.mark.parametrize("command", [c for c in COMMANDS if c != "--help"])
def test_commands_parse(command):
    tyro.cli(Command, args=shlex.split(command), config=CONFIG)


@pytest.mark.parametrize("target", [t for t in TARGETS if t])
def test_targets_exist(target):
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("link", sorted({x for x in LINKS if not x.startswith("http")}))
def test_links_resolve(link):
    assert (ROOT / link).exists()


def test_bounds_are_the_same_wherever_they_are_stated():
    bounds = (ROOT / "pyproject.toml").read_text()
    stated = re.findall(
        r"(torch|transformers) >= ([\d.]+)", (ROOT / "comfyui/README.md").read_text()
    )
    assert [name for name, _ in stated] == ["torch", "transformers"]
    assert all(f'"{name}>={bound}"' in bounds.replace(".0", "") for name, bound in stated)
    assert bounds.count('"gradio>=') == bounds.count('"gradio>=6.24"') == 2


@pytest.mark.slow
def test_python_example_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(compile(example.replace('"auto"', '"cpu"'), "README.md", "exec"), {})
    assert {p.name for p in tmp_path.iterdir()} == {"pila.mp4"}
