"""What is put on a model by name: alone, together, switched off, and refused where it cannot be."""

import json
import shutil
from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.backbones import tiny

from pila.backbones.attachments import (
    LORA_FILE,
    branches_on,
    generator_alone,
    look_at,
    names_on,
    put_on,
)
from pila.backbones.embedded import find_attachments, load_pipeline
from pila.errors import InputError
from pila.generate import generate
from pila.prophy import ProPhyBranch
from pila.request import GenerateRequest

PROMPT = "a red ball falls"


@pytest.fixture(scope="module")
def branch_folder(wan_folder, tmp_path_factory):
    """A branch for `wan_folder` that acts."""
    from diffusers import WanTransformer3DModel

    torch.manual_seed(3)
    model = WanTransformer3DModel.from_pretrained(wan_folder / "transformer")
    branch: Any = ProPhyBranch.beside(model, num_semantic=4, map_grid=(2, 2, 2), expert_rank=4)
    with torch.no_grad():
        for out in branch.outs:
            out.weight.normal_(std=0.3)
    folder = tmp_path_factory.mktemp("branch")
    branch.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def lora_folder(wan_folder, tmp_path_factory):
    """LoRA updates for `wan_folder` that act."""
    from diffusers import WanPipeline, WanTransformer3DModel
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    torch.manual_seed(4)
    model = WanTransformer3DModel.from_pretrained(wan_folder / "transformer")
    model.add_adapter(LoraConfig(r=2, target_modules=["to_q", "to_v"], init_lora_weights=False))
    folder = tmp_path_factory.mktemp("lora")
    state: Any = get_peft_model_state_dict(model)
    WanPipeline.save_lora_weights(folder, transformer_lora_layers=state)
    return folder


def test_each_alone_and_all_together(wan_folder, adapter_folder, branch_folder, lora_folder):
    frozen = tiny.latents(load_pipeline(wan_folder, None))
    seen = [frozen]
    for names in ([adapter_folder], [branch_folder], [lora_folder]):
        pipe = load_pipeline(wan_folder, "+".join(map(str, names)))
        made = tiny.latents(pipe)
        assert not any(torch.equal(made, other) for other in seen)
        seen.append(made)
        with generator_alone(pipe):
            assert torch.equal(tiny.latents(pipe, adapter_scale=0.0), frozen)
        assert torch.equal(tiny.latents(pipe), made), "switched on again"
    every = load_pipeline(wan_folder, f"{adapter_folder}+{branch_folder}+{lora_folder}")
    assert names_on(every) == "PILA + ProPhy + LoRA"
    assert names_on(every, adapter_scale=0.0) == "ProPhy + LoRA"
    assert not any(torch.equal(tiny.latents(every), other) for other in seen)
    with generator_alone(every):
        assert torch.equal(tiny.latents(every, adapter_scale=0.0), frozen)


def test_a_branch_of_one_pipeline_is_not_on_another(wan_folder, branch_folder):
    with_one = load_pipeline(wan_folder, branch_folder)
    without = load_pipeline(wan_folder, None)
    assert len(branches_on(with_one)) == 1
    assert names_on(without) == ""


def test_a_path_with_a_plus_is_a_path(branch_folder, tmp_path):
    odd = tmp_path / "a+b"
    odd.symlink_to(branch_folder)
    (found,) = find_attachments(odd)
    assert found.kind == "branch"


def test_two_of_a_kind_and_misfits_are_refused(wan_folder, branch_folder, tmp_path):
    with pytest.raises(InputError, match="are both a branch; attach one of a kind"):
        load_pipeline(wan_folder, f"{branch_folder}+{branch_folder}")
    with pytest.raises(InputError, match="the branch's num_attention_heads is 2"):
        load_pipeline("embedded", branch_folder)
    config = json.loads((branch_folder / "config.json").read_text())
    for path in branch_folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "config.json").write_text(json.dumps(config | {"_class_name": "Other"}))
    with pytest.raises(InputError, match="the config is of a Other; pass an adapter"):
        load_pipeline(wan_folder, tmp_path)


def test_a_branch_for_two_denoisers_is_refused(branch_folder, tmp_path):
    from diffusers import WanPipeline

    WanPipeline(**tiny.components(wan22=True)).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="a branch for one denoiser, and the model has two"):
        load_pipeline(tmp_path, branch_folder)


def test_lora_of_another_model_is_refused(lora_folder):
    with pytest.raises(InputError, match="no LoRA updates can be loaded"):
        load_pipeline("embedded", lora_folder)


def request(wan_folder, tmp_path, **changes):
    made = GenerateRequest(
        prompt=PROMPT,
        model=str(wan_folder),
        output=tmp_path / "out.mp4",
        parser="offline",
        compare=True,
        device="cpu",
    )
    return replace(made, **changes)


def test_generate_compares_explains_and_inverts(wan_folder, branch_folder, tmp_path):
    report = generate(
        request(wan_folder, tmp_path, adapter=str(branch_folder), explain=tmp_path / "why")
    )
    assert {p.name for p in (tmp_path / "why").iterdir()} >= {"tokens.png", "semantic.png"}
    assert (tmp_path / "out-compare.mp4").stat().st_size > 0
    assert report.routing == {}
    bytes_before = (tmp_path / "out.mp4").read_bytes()
    frozen = (tmp_path / "out-frozen.mp4").read_bytes()
    generate(request(wan_folder, tmp_path, adapter=str(branch_folder), invert_experts=True))
    assert (tmp_path / "out-frozen.mp4").read_bytes() == frozen
    assert (tmp_path / "out.mp4").read_bytes() != bytes_before


def test_inverting_without_a_branch_is_refused_before_anything_is_loaded(wan_folder, tmp_path):
    with pytest.raises(InputError, match="--invert-experts turns ProPhy's routers round"):
        generate(request(wan_folder, tmp_path, adapter="none", invert_experts=True, compare=False))


def test_lora_under_another_name_and_a_run_s_folder(
    wan_folder, adapter_folder, lora_folder, tmp_path
):
    (tmp_path / "style").mkdir()
    shutil.copy(lora_folder / LORA_FILE, tmp_path / "style" / "my_style.safetensors")
    shutil.copytree(adapter_folder, tmp_path / "run" / "adapter")
    (tmp_path / "run" / "config.json").write_text("{}")
    pipe = load_pipeline(wan_folder, f"{tmp_path / 'run'}+{tmp_path / 'style'}")
    assert names_on(pipe) == "PILA + LoRA"


def test_a_branch_waits_for_latents_where_weights_are_nowhere(wan_folder, branch_folder):
    pipe: Any = load_pipeline(wan_folder, None)
    pipe.transformer.to("meta")  # as weights are that are offloaded layer by layer
    put_on(pipe, look_at(branch_folder))
    (branch,) = branches_on(pipe)
    assert {p.device.type for p in branch.parameters()} == {"cpu"}
