"""Imports run one way, and `import pila` stays light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "pila"

# A folder or file may import those before it. A new one must be given its place here.
ORDER = (
    *("errors", "types", "flow", "markdown", "threads", "progress", "plugins"),
    *(
        "provenance",
        "workers",
        "files",
        "json_files",
        "options",
        "network",
        "exchange",
        "snapshots",
    ),
    *("decoding", "video", "physics", "adapter", "labels", "pipelines", "data", "prophy", "train"),
    *("recipes", "generate", "score", "doctor", "hub", "web", "lab", "cli"),
)
RANK = {name: rank for rank, name in enumerate(ORDER)}
# Neither the parser nor the simulator may know the method that they are used to judge.
NARROW = {
    "labels": {
        "errors",
        "options",
        "plugins",
        "exchange",
        "network",
        "physics",
        "json_files",
        "files",
    },
    "lab/world": {
        *("errors", "files", "json_files", "labels", "physics", "progress", "video", "workers"),
        *("data", "lab"),
    },
}


def imported(path: Path) -> set[str]:
    """First components below `pila` of everything that a file imports, lazily too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            names = (
                [node.module] if node.module != "pila" else [f"pila.{a.name}" for a in node.names]
            )
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        found |= {n.split(".")[1] for n in names if n.startswith("pila.")}
    return found - {"__version__"}


FILES = sorted(p for p in SOURCE.rglob("*.py") if p.parent != SOURCE or p.name != "__init__.py")


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_run_one_way(path):
    parts = path.relative_to(SOURCE).with_suffix("").parts
    owner = parts[0]
    assert owner in RANK, f"give {owner} its place in ORDER"
    allowed = NARROW.get("/".join(parts[:2]), NARROW.get(owner, RANK))
    for name in imported(path) - {owner, "assets"}:
        assert RANK[name] < RANK[owner], f"{owner} may not import {name}"
        assert name in allowed, f"{'/'.join(parts)} may import {allowed} only"


def test_only_commands_name_the_laboratory():
    naming = {p.relative_to(SOURCE).parts[0] for p in FILES if "lab" in imported(p)}
    assert naming <= {"cli", "lab"}


@pytest.mark.parametrize(
    ("statement", "heavy"),
    [
        ("import pila", ("torch", "numpy", "diffusers", "transformers", "matplotlib", "gradio")),
        ("import pila.cli", ("torch", "diffusers", "transformers", "matplotlib", "gradio")),
        ("from pila import Category, Slot", ("torch", "numpy", "diffusers", "transformers")),
        ("import pila.labels", ("torch", "numpy", "einops", "diffusers", "transformers")),
        (
            "from pila.cli import run; from pila.labels.llm import LlmParser; "
            "assert run(['label', 'two balls collide', '--parser', 'offline', '--json']) == 0",
            ("torch", "einops", "diffusers", "transformers", "matplotlib"),
        ),
    ],
)
def test_light(statement, heavy):
    code = f"{statement}; import sys; print(*[m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # A command prints first; what follows its last line are the modules found.
    assert done.stdout.rpartition("}")[2].split() == []


def test_every_name_of_physics_is_where_it_is_said_to_be():
    import pila.physics

    for name in pila.physics.__all__:
        assert getattr(pila.physics, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'curl'"):
        _ = pila.physics.curl


def test_exports():
    import pila

    assert {"PilaAdapter", "PilaWanPipeline", "Category", "Slot"} <= set(dir(pila))
    with pytest.raises(AttributeError, match="no attribute 'Slots'"):
        _ = pila.Slots
