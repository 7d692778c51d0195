import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from pila.adapter import PilaAdapter, PlainAdapter
from pila.errors import InputError

from .conftest import make_adapter

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture
def folder(tmp_path):
    make_adapter().save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "config", [{}, {"gate": "learned", "top_k": 0, "decoder_sees_feature": True, "conv": "dense"}]
)
def test_round_trip_is_exact(tmp_path, inputs, config):
    saved = make_adapter(**config).eval()
    saved.save_pretrained(tmp_path)
    loaded = PilaAdapter.from_pretrained(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"config.json", WEIGHTS}
    assert all(loaded.config[key] == value for key, value in config.items())
    before, after = saved.state_dict(), loaded.state_dict()
    assert list(before) == list(after)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert torch.equal(loaded(*inputs), saved(*inputs))


def test_loading_in_half_precision(folder, inputs):
    loaded = PilaAdapter.from_pretrained(folder, torch_dtype=torch.bfloat16)
    assert {p.dtype for p in loaded.parameters()} == {torch.bfloat16}
    assert loaded(*inputs).dtype == torch.float32


def test_the_control_is_saved_alike(tmp_path, inputs):
    saved = PlainAdapter(text_dim=12, hidden_width=8, num_blocks=2).eval()
    torch.nn.init.normal_(saved.out.weight)
    saved.save_pretrained(tmp_path)
    assert torch.equal(PlainAdapter.from_pretrained(tmp_path)(*inputs), saved(*inputs))


def fails(folder, message):
    with pytest.raises(InputError, match=message) as caught:
        PilaAdapter.from_pretrained(folder)
    assert "\n" not in str(caught.value)


def test_truncated_weights(folder):
    path = folder / WEIGHTS
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    fails(folder, "no adapter can be loaded from")


def test_garbled_weights(folder):
    (folder / WEIGHTS).write_bytes(b"not weights")
    fails(folder, "no adapter can be loaded from")


def test_a_pickle_is_not_read(folder):
    state = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    torch.save(state, folder / "diffusion_pytorch_model.bin")
    fails(folder, "pickled weights are not read")
    with pytest.raises(InputError, match="a pickle can run code"):
        PilaAdapter.from_pretrained(folder, use_safetensors=False)
    with pytest.raises(InputError, match="safetensors only"):
        make_adapter().save_pretrained(folder, safe_serialization=False)


def test_missing_and_unknown_weights(folder):
    state = load_file(folder / WEIGHTS)
    router = state.pop("router.mlp.0.weight")
    save_file(state, folder / WEIGHTS, metadata={"format": "pt"})
    fails(folder, r"1 missing keys, first router\.mlp\.0\.weight")
    state |= {"router.mlp.0.weight": router, "stranger": router.clone()}
    save_file(state, folder / WEIGHTS, metadata={"format": "pt"})
    fails(folder, "1 unexpected keys, first stranger")


def test_weights_of_another_size(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"hidden_width": 16}))
    fails(folder, "no adapter can be loaded from|does not hold a whole")


def test_bad_configuration_file(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"top_k": 12}))
    fails(folder, "top_k is 12")
    (folder / "config.json").write_text("{")
    fails(folder, "no adapter can be loaded from")
    (folder / "config.json").unlink()
    fails(folder, "has no config.json")


# diffusers passes an argument that huggingface_hub no longer knows.
@pytest.mark.filterwarnings("ignore:The `local_dir_use_symlinks`:UserWarning")
def test_neither_a_folder_nor_on_the_hub():
    fails("nobody/nothing-of-that-name", "no adapter can be loaded from nobody/nothing")
