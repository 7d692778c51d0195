"""Tensors are held against the configuration by the headers alone, before anything is loaded."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.pipelines import tiny

from pila.errors import InputError
from pila.pipelines import loading
from pila.pipelines.locate import load_pipeline
from pila.pipelines.repository import check_model_folder, check_wan_repository

DIFFUSERS = "diffusion_pytorch_model.safetensors"


@pytest.fixture
def model(wan_folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(wan_folder, tmp_path / "model")


@pytest.fixture
def nothing_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    def loaded(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(loading, "model_class", loaded)


def change(path: Path, edit: Any) -> None:
    tensors = load_file(path)
    save_file(edit(tensors), path, metadata={"format": "pt"})


def without(part: str) -> Any:
    return lambda tensors: {n: t for n, t in tensors.items() if part not in n}


@pytest.mark.usefixtures("nothing_loads")
@pytest.mark.parametrize(
    ("file", "edit", "message"),
    [
        (f"transformer/{DIFFUSERS}", without("proj_out.weight"), "lacks the tensor proj_out.weig"),
        ("text_encoder/model.safetensors", without("block.0."), "lacks the tensor encoder.block.0"),
        ("text_encoder/model.safetensors", lambda t: {}, "lacks the tensor"),
        (f"vae/{DIFFUSERS}", without("quant_conv"), "lacks the tensor"),
        (
            f"transformer/{DIFFUSERS}",
            lambda t: t | {"proj_out.bias": torch.zeros(3)},
            r"proj_out.bias in .* has the shape \[3\], and .*config.json asks for \[64\]",
        ),
        (
            f"transformer/{DIFFUSERS}",
            lambda t: t | {"blocks.1.attn1.to_q.weight": torch.zeros(2, 2)},
            r"blocks.1.attn1.to_q.weight \[2, 2\], for which .* has no place",
        ),
        (
            f"transformer/{DIFFUSERS}",
            lambda t: t | {"proj_out.bias": torch.zeros(64, dtype=torch.int64)},
            "proj_out.bias in .* has I64 numbers; save it as F32",
        ),
    ],
)
def test_what_does_not_fit_is_named(model: Path, file: str, edit: Any, message: str):
    change(model / file, edit)
    with pytest.raises(InputError, match=message) as caught:
        load_pipeline(model, None)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("nothing_loads")
def test_an_adapter_of_fewer_layers(wan_folder: Path, adapter_folder: Path, tmp_path: Path):
    mine = shutil.copytree(adapter_folder, tmp_path / "adapter")
    change(mine / DIFFUSERS, without("decoder."))
    with pytest.raises(InputError, match="lacks the tensor decoder"):
        load_pipeline(wan_folder, mine)


def test_tied_embeddings_under_either_name(model: Path):
    path, expected = model / "text_encoder/model.safetensors", None
    for name in ("shared.weight", "encoder.embed_tokens.weight"):
        tensors = load_file(path)
        (old,) = {"shared.weight", "encoder.embed_tokens.weight"} & tensors.keys()
        tensors[name] = tensors.pop(old)
        save_file(tensors, path, metadata={"format": "pt"})
        made = tiny.latents(load_pipeline(model, None))
        expected = made if expected is None else expected
        assert torch.equal(made, expected)
    change(path, without("ed"))
    with pytest.raises(InputError, match=r"lacks the tensor shared\.weight"):
        load_pipeline(model, None)


@pytest.mark.parametrize("variant", ["fp16", "bf16"])
def test_a_variant_alone_is_read(model: Path, variant: str):
    expected = tiny.latents(load_pipeline(model, None))
    for file in (f"transformer/{DIFFUSERS}", f"vae/{DIFFUSERS}", "text_encoder/model.safetensors"):
        path = model / file
        path.rename(path.with_name(path.name.replace(".safetensors", f".{variant}.safetensors")))
    assert torch.equal(tiny.latents(load_pipeline(model, None)), expected)


def test_shards_are_held_together(model: Path):
    folder = model / "transformer"
    tensors = load_file(folder / DIFFUSERS)
    (folder / DIFFUSERS).unlink()
    half, where = len(tensors) // 2, {}
    for number, names in enumerate((list(tensors)[:half], list(tensors)[half:]), 1):
        name = f"diffusion_pytorch_model-0000{number}-of-00002.safetensors"
        save_file({n: tensors[n] for n in names}, folder / name, metadata={"format": "pt"})
        where |= dict.fromkeys(names, name)
    index = folder / f"{DIFFUSERS}.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": where}))
    check_wan_repository(model)
    load_pipeline(model, None)
    change(folder / name, without(names[-1]))
    with pytest.raises(InputError, match=r"transformer lacks the tensor .*\(\d of"):
        check_wan_repository(model)
    index.write_text(json.dumps({"weight_map": {"a": "../../x.safetensors"}}))
    with pytest.raises(InputError, match="which is no file beside it"):
        check_wan_repository(model)


def test_an_image_encoder_with_and_without_its_prefix(tmp_path: Path):
    from transformers import CLIPVisionConfig, CLIPVisionModel

    config = CLIPVisionConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        image_size=16, patch_size=8, projection_dim=8,
    )  # fmt: skip
    CLIPVisionModel(config).save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    check_model_folder(tmp_path, "CLIPVisionModel")

    def older(tensors: Any) -> Any:
        plain = {n.removeprefix("vision_model."): t for n, t in tensors.items()}
        plain["embeddings.position_ids"] = torch.arange(5)[None]
        return {f"vision_model.{n}": t for n, t in plain.items()}

    change(path, older)
    check_model_folder(tmp_path, "CLIPVisionModel")
    change(path, without("layers.0"))
    with pytest.raises(InputError, match="lacks the tensor"):
        check_model_folder(tmp_path, "CLIPVisionModel")


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("pila.json", {"guidance_scale": float("nan")}, "guidance_scale in .*pila.json is nan"),
        ("pila.json", {"fps": 0}, "fps in .*pila.json is 0"),
        ("pila.json", {"max_sequence_length": 10**9}, "max_sequence_length in .* is 1000000000"),
        ("transformer/config.json", {"num_layers": 10**9}, "num_layers in .* is 1000000000"),
        ("transformer/config.json", {"rope_max_seq_len": 10**12}, "rope_max_seq_len in"),
        ("transformer/config.json", {"ffn_dim": 65536}, r"asks for \[65536"),
        ("vae/config.json", {"base_dim": -3}, "base_dim in .* is -3"),
        ("vae/config.json", {"latents_std": [0.0] * 16}, "latents_std.0 in .* is 0.0"),
        ("text_encoder/config.json", {"vocab_size": 10**9}, "vocab_size in"),
        ("tokenizer/tokenizer_config.json", {"extra_ids": 10**9}, "extra_ids in"),
        ("model_index.json", {"vae": ["os", "system"]}, "vae is a system; use a AutoencoderKLWan"),
    ],
)
def test_numbers_out_of_their_bounds(model: Path, name: str, values: Any, message: str):
    path = model / name
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    with pytest.raises(InputError, match=message):
        load_pipeline(model, None)
