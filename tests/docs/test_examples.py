"""The worked examples run as they are printed, and each is short."""

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import pila
from pila.physics import TERMS, Category

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"
FILES = sorted(p for p in EXAMPLES.rglob("*.*") if p.suffix in (".py", ".patch", ".toml"))
PAGE = (ROOT / "docs" / "extend.md").read_text()

USE_OF_THE_NEW_CATEGORY = """
import torch
from pila.adapter import PilaAdapter
from pila.labels import make_parser
from pila.physics import Calculus, Category, Coefficients, Slot, recipe_mask, residual_loss
from pila.physics.catalogue import page

new = list(Category).index(Category.BUOYANT)
x, v = torch.randn(2, 1, 16, 5, 8, 8)
adapter = PilaAdapter(text_dim=8, hidden_width=8, encoder_blocks=1, decoder_blocks=1)
labels = torch.eye(len(Category), dtype=torch.bool)[[new]]
out = adapter(x, v, torch.tensor([0.5]), torch.randn(1, 8), labels, return_details=True)
assert out.route.indices[0, 0] == new
assert recipe_mask().shape == (9, 32) and recipe_mask()[new].sum() == 6
assert make_parser("offline")("a hot-air balloon rises").categories[-1] == Category.BUOYANT

warm = torch.randn(1, 1, 1, 8, 8)
time = torch.arange(6.0)[:, None, None]
rising = torch.cat([torch.zeros(1, 1, 6, 8, 8), -time * warm], dim=1)
for sign, bound in ((1, (0, 1e-6)), (-1, (0.5, 1.001))):
    fields = {Slot.VELOCITY: sign * rising, Slot.TEMPERATURE: warm.expand(1, 1, 6, 8, 8)}
    told = residual_loss(fields, Category.BUOYANT, Calculus(), Coefficients()).total.item()
    assert bound[0] <= told <= bound[1], told
assert "# Buoyant" in page(Category.BUOYANT)
"""


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_each_is_on_the_page_and_short(path):
    place = path.relative_to(EXAMPLES)
    assert f'--8<-- "docs/examples/{place}"' in PAGE
    assert f"(examples/{place})" in PAGE
    lines = path.read_text().splitlines()
    if path.suffix == ".patch":
        lines = [line for line in lines if line.startswith("+") and not line.startswith("+++")]
    assert len(lines) < 45


@pytest.fixture
def ran(tmp_path, monkeypatch, capsys):
    """Run an example in an empty folder and return what it prints."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PILA_CACHE", str(tmp_path / "cache"))

    def run(name: str) -> str:
        runpy.run_path(str(EXAMPLES / name))
        return capsys.readouterr().out

    return run


def test_a_new_relation(ran, monkeypatch):
    monkeypatch.setitem(TERMS, Category.FLUID, TERMS[Category.FLUID])  # the example adds to it
    (said,) = re.findall(r"```text\n(vortex.*?)```", PAGE, re.DOTALL)
    assert ran("residual.py") == said
    assert [term.name for term in TERMS[Category.FLUID]][-1] == "incompressibility"


def test_a_new_parser(ran):
    printed = ran("parser.py").splitlines()
    assert printed[0].endswith("-> thermal, phase_change")
    assert printed[1].endswith("-> collision, rigid_body")
    assert float(printed[2].split()[2]) > 0.9  # the lexicon's own figures are kept


def test_a_new_judge(ran):
    assert ran("judge.py") == "{'moving': 1, 'still': 0}\n"


def test_a_new_category(tmp_path):
    """The patch fits this source, and the nine categories work from prompt to loss."""
    source = Path(pila.__file__).parent
    copy = tmp_path / "src" / "pila"
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("assets", "__pycache__"))
    patch = ["git", "apply", str(EXAMPLES / "category.patch")]
    subprocess.run(patch, cwd=tmp_path, check=True)
    assert (copy / "physics" / "terms" / "buoyant.py").is_file()
    done = subprocess.run(
        [sys.executable, "-c", USE_OF_THE_NEW_CATEGORY],
        env={"PYTHONPATH": str(tmp_path / "src"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_a_package_of_one_s_own(tmp_path):
    """Installed by pip, what it lists is found by name; without it the names are refused."""
    source = shutil.copytree(EXAMPLES / "foundry", tmp_path / "source")
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation"]
    pip += ["--disable-pip-version-check", "--target", str(tmp_path / "site"), str(source)]
    subprocess.run(pip, check=True, capture_output=True, text=True)

    def pila_says(*args: str, installed: bool = True) -> subprocess.CompletedProcess[str]:
        paths = [str(tmp_path / "site")] if installed else []
        paths += filter(None, [os.environ.get("PYTHONPATH")])
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
        command = [sys.executable, "-m", "pila.cli", *args]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    label = ("label", "a smith quenches a blade", "--json", "--parser", "foundry")
    assert json.loads(pila_says(*label).stdout)["parser"] == "foundry"
    summary = pila_says("train", "foundry-short", "--dry-run").stdout
    assert re.search(r"^steps +100$", summary, re.MULTILINE)
    without = pila_says(*label, installed=False)
    assert without.returncode == 2
    assert "invalid choice 'foundry'" in without.stderr
    judge = (
        "import numpy as np; from pila import plugins;"
        "judge = plugins.load('pila.judges', 'motion')();"
        "print(judge.reply(np.zeros((2, 1, 1, 3), 'uint8'), '', (), ('yes', 'no')))"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site")}
    done = subprocess.run(
        [sys.executable, "-c", judge], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "no\n"
