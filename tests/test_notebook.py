"""The notebook runs from top to bottom on the embedded model, and is kept without outputs."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "first_clip.ipynb"


def test_is_kept_without_outputs():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert not any(cell.get("outputs") for cell in notebook.cells)
    assert not any(cell.get("execution_count") for cell in notebook.cells)


RUN = """
import sys
import nbformat
from nbclient import NotebookClient

notebook = nbformat.read(sys.argv[1], as_version=4)
NotebookClient(notebook, kernel_name="python3", timeout=900).execute()
nbformat.write(notebook, sys.argv[2])
"""


@pytest.mark.slow
def test_runs(tmp_path: Path):
    places = ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR")
    env = {**os.environ, **{place: str(tmp_path / place.lower()) for place in places}}
    env |= {"PILA_NOTEBOOK_STEPS": "2", "JUPYTER_PLATFORM_DIRS": "1", "OMP_NUM_THREADS": "1"}
    executed = tmp_path / "executed.ipynb"
    done = subprocess.run(
        [sys.executable, "-c", RUN, NOTEBOOK, executed],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    notebook = nbformat.read(executed, as_version=4)
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    kinds = {kind for output in shown for kind in output.get("data", {})}
    assert {"image/png", "text/html"} <= kinds
    printed = "".join(output.get("text", "") for output in shown)
    assert "2 corrected steps; latents differ by 0." in printed
    assert (tmp_path / "out" / "notebook" / "pila-compare.mp4").is_file()
