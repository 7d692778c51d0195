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


BLOCKED = """
import sys
from importlib import import_module
from importlib.abc import MetaPathFinder


class Blocker(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        blocked = ("numba.", "llvmlite.", "pymunk.", "pila.lab.")
        if f"{name}.".startswith(blocked):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


sys.meta_path.insert(0, Blocker())
"""


def without_laboratory(code: str, *args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", BLOCKED + code, *args]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_core_imports_without_the_laboratory():
    names = [
        ".".join(("pila", *p.relative_to(SOURCE).with_suffix("").parts)).removesuffix(".__init__")
        for p in FILES
        if p.relative_to(SOURCE).parts[0] != "lab"
        and not (p.parent.name == "cli" and p.stem in LAB_COMMANDS)
    ]
    assert len(names) > 150
    done = without_laboratory(f"for name in {names!r}: import_module(name)")
    assert done.returncode == 0, done.stderr


LAB_COMMANDS = ("diagnose", "evaluate", "experiment", "profile", "world")
"""Files of `cli` that are the laboratory's commands."""


def test_wan_generates_without_the_laboratory(wan_folder, adapter_folder, tmp_path):
    args = ["generate", "a ball", "--model", str(wan_folder), "--adapter", str(adapter_folder)]
    args += ["--steps", "1", "--device", "cpu", "--output", str(tmp_path / "clip.mp4"), "--compare"]
    done = without_laboratory("from pila.cli import run; sys.exit(run(sys.argv[1:]))", *args)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "clip.mp4").stat().st_size > 0
    said = without_laboratory("from pila.cli import run; sys.exit(run(['--help']))").stdout
    assert "generate" in said
    assert "pila[lab]" in said
    assert "experiment" not in said


def test_no_function_is_too_long():
    """Lines of a function without its docstring."""
    long = {}
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                told = node.body[0]
                is_doc = isinstance(told, ast.Expr) and isinstance(told.value, ast.Constant)
                lines = (node.end_lineno or 0) - node.lineno + 1
                lines -= (told.end_lineno or 0) - told.lineno + 1 if is_doc else 0
                if lines > 80:
                    long[f"{path.relative_to(SOURCE)}: {node.name}"] = lines
    assert long == {}
