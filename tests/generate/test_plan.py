"""What a model samples with unless told otherwise."""

import json
import shutil

import pytest

from pila.generate.plan import WAN_SAMPLING, Sampling, model_sampling
from pila.generate.request import GenerateRequest
from pila.web.models import served_models


@pytest.fixture
def model(wan_folder, tmp_path):
    """A function that makes a copy of the tiny model, with its index changed and no `pila.json`."""

    def make(**index):
        folder = shutil.copytree(wan_folder, tmp_path / "model", dirs_exist_ok=True)
        (folder / "pila.json").unlink()
        path = folder / "model_index.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | index))
        return folder

    return make


def sizes(sampling):
    return sampling.height, sampling.width, sampling.num_frames, sampling.fps


def test_ti2v_has_its_own_sizes_and_rate(model, adapter_folder):
    plain = Sampling.of(GenerateRequest(), model_sampling(model()))
    assert sizes(plain) == (480, 832, 81, 16)
    folder = model(expand_timesteps=True)
    known = model_sampling(folder)
    assert sizes(Sampling.of(GenerateRequest(), known)) == (704, 1280, 121, 24)
    assert {k for k in known if known[k] != WAN_SAMPLING[k]} == {
        *("height", "width", "num_frames", "fps")
    }
    asked = GenerateRequest(num_frames=81, fps=30.0)
    assert sizes(Sampling.of(asked, known)) == (704, 1280, 81, 30)
    assert sizes(served_models([str(folder)], [str(adapter_folder)])["model"].own) == (
        704,
        1280,
        121,
        24,
    )
    (folder / "pila.json").write_text('{"fps": 12, "scenes": ["thrown_ball"]}')
    assert sizes(Sampling.of(GenerateRequest(), model_sampling(folder))) == (704, 1280, 121, 12)
