"""What is put on a model by name: alone, together, switched off, and refused where it cannot be."""

import json
import shutil
from dataclasses import replace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.pipelines import tiny

from pila.errors import InputError
from pila.generate.generate import generate
from pila.generate.request import GenerateRequest
from pila.pipelines.attachments import (
    LORA_FILE,
    adapters_disabled,
    attach_to,
    branches_on,
    describe_attached,
    inspect_folder,
)
from pila.pipelines.locate import find_attachments, load_pipeline
from pila.prophy import ProPhyBranch

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
        with adapters_disabled(pipe):
            assert torch.equal(tiny.latents(pipe, adapter_scale=0.0), frozen)
        assert torch.equal(tiny.latents(pipe), made), "switched on again"
    every = load_pipeline(wan_folder, f"{adapter_folder}+{branch_folder}+{lora_folder}")
    assert describe_attached(every) == "PILA + ProPhy + LoRA"
    assert describe_attached(every, adapter_scale=0.0) == "ProPhy + LoRA"
    assert not any(torch.equal(tiny.latents(every), other) for other in seen)
    with adapters_disabled(every):
        assert torch.equal(tiny.latents(every, adapter_scale=0.0), frozen)


def test_a_branch_of_one_pipeline_is_not_on_another(wan_folder, branch_folder):
    with_one = load_pipeline(wan_folder, branch_folder)
    without = load_pipeline(wan_folder, None)
    assert len(branches_on(with_one)) == 1
    assert describe_attached(without) == ""


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
    assert describe_attached(pipe) == "PILA + LoRA"


def test_a_branch_waits_for_latents_where_weights_are_nowhere(wan_folder, branch_folder):
    pipe: Any = load_pipeline(wan_folder, None)
    pipe.transformer.to("meta")  # as weights are that are offloaded layer by layer
    attach_to(pipe, inspect_folder(branch_folder))
    (branch,) = branches_on(pipe)
    assert {p.device.type for p in branch.parameters()} == {"cpu"}


def renamed(folder, tmp_path, change, **more):
    """The LoRA updates of a folder under other names."""
    tensors = {change(n): t for n, t in load_file(folder / LORA_FILE).items()}
    save_file(tensors | more, tmp_path / "lora.safetensors")
    return tmp_path


def as_wans(name):
    """A name of diffusers as Wan's own code has it."""
    name = name.removeprefix("transformer.").replace("attn1.to_", "self_attn.")
    return name.replace("attn2.to_", "cross_attn.")


@pytest.mark.parametrize(
    "change",
    [
        lambda n: n.removeprefix("transformer."),
        lambda n: n.replace("transformer.", "base_model.model."),
        lambda n: n.replace("transformer.", "base_model.model.transformer."),
        lambda n: n.replace(".weight", ".default.weight"),
        lambda n: n.replace("lora_A", "lora_down").replace("lora_B", "lora_up"),
        lambda n: "diffusion_model." + as_wans(n),
        as_wans,
    ],
    ids=["bare", "peft", "peft of a pipeline", "default", "kohya", "diffusion_model", "wan"],
)
def test_lora_names_of_other_trainers_act_alike(wan_folder, lora_folder, tmp_path, change):
    expected = tiny.latents(load_pipeline(wan_folder, lora_folder))
    made = tiny.latents(load_pipeline(wan_folder, renamed(lora_folder, tmp_path, change)))
    assert torch.equal(made, expected)


def test_lora_that_matches_nothing_is_refused(wan_folder, lora_folder, tmp_path):
    for prefix in ("transformer_2.", "unet.", "lora_te1_"):
        place = renamed(lora_folder, tmp_path, lambda n, p=prefix: n.replace("transformer.", p, 1))
        with pytest.raises(InputError, match=f"none of the 8 LoRA keys .* begin with '{prefix}'"):
            load_pipeline(wan_folder, place)


def test_lora_keys_that_match_are_counted(wan_folder, lora_folder, tmp_path):
    odd = {"transformer.blocks.7.attn1.to_q.lora_A.weight": torch.ones(2, 32)}
    place = renamed(lora_folder, tmp_path, str, **odd)
    report = generate(request(wan_folder, tmp_path, adapter=str(place), compare=False))
    assert report.attached == [
        "8 of 9 LoRA keys match the model; left out: blocks.7.attn1.to_q.lora_A.weight, ..."
    ]


def test_lora_of_halves_and_of_other_sizes_is_refused(wan_folder, lora_folder, tmp_path):
    half = {n: t for n, t in load_file(lora_folder / LORA_FILE).items() if "lora_A" in n}
    save_file(half, tmp_path / "lora.safetensors")
    with pytest.raises(InputError, match=r"and no .*lora_B.weight, so it would do nothing"):
        load_pipeline(wan_folder, tmp_path)


def test_lora_is_as_strong_as_its_record_says(wan_folder, lora_folder, tmp_path):
    place = renamed(lora_folder, tmp_path, str)
    state = load_file(lora_folder / LORA_FILE)
    doubled = {n: 2 * t if "lora_A" in n else t for n, t in state.items()}
    (tmp_path / "doubled").mkdir()
    save_file(doubled, tmp_path / "doubled" / "lora.safetensors")
    expected = tiny.latents(load_pipeline(wan_folder, tmp_path / "doubled"))
    (tmp_path / "adapter_config.json").write_text('{"r": 2, "lora_alpha": 4}')
    assert torch.equal(tiny.latents(load_pipeline(wan_folder, place)), expected)


def test_lora_for_both_denoisers(lora_folder, tmp_path):
    from diffusers import WanPipeline

    WanPipeline(**tiny.components(wan22=True)).save_pretrained(tmp_path / "wan22")
    with pytest.raises(InputError, match=r"a lora for one denoiser, and the model has two; let"):
        load_pipeline(tmp_path / "wan22", lora_folder)
    second = {
        n.replace("transformer.", "transformer_2."): t
        for n, t in load_file(lora_folder / LORA_FILE).items()
    }
    for name, state in (("second", second), ("both", second | load_file(lora_folder / LORA_FILE))):
        (tmp_path / name).mkdir()
        save_file(state, tmp_path / name / "lora.safetensors")
    frozen = tiny.latents(load_pipeline(tmp_path / "wan22", None))
    one = load_pipeline(tmp_path / "wan22", tmp_path / "second")
    assert not getattr(one.transformer, "peft_config", None)
    two = load_pipeline(tmp_path / "wan22", tmp_path / "both")
    made = [frozen, tiny.latents(one), tiny.latents(two)]
    assert not any(torch.equal(made[i], made[j]) for i, j in ((0, 1), (0, 2), (1, 2)))
