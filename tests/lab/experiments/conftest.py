"""Finished trainings, tiny and random, laid out as experiments look for them."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import WanPipeline, WanTransformer3DModel

from pila.adapter import PilaAdapter, PlainAdapter
from pila.lab.experiments.tables import EXPERIMENTS
from pila.pipelines.locate import find_model
from pila.prophy import ProPhyBranch
from pila.recipes.run import configs

SEEDS = (0, 1)
TEXT_WIDTH = 64
OWN = {
    "height": 48,
    "width": 48,
    "num_frames": 9,
    "fps": 16,
    "steps": 2,
    "guidance_scale": 2.0,
    "max_sequence_length": 32,
    "scenes": ["thrown_ball", "ball_collision", "hot_spot"],
}


def denoiser(seed: int) -> WanTransformer3DModel:
    torch.manual_seed(seed)
    return WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=2,
        attention_head_dim=16,
        in_channels=16,
        out_channels=16,
        text_dim=TEXT_WIDTH,
        freq_dim=32,
        ffn_dim=32,
        num_layers=2,
        rope_max_seq_len=32,
    ).eval()


@pytest.fixture(scope="session")
def world_folder(tmp_path_factory) -> Path:
    """The embedded VAE and text encoder with a tiny random denoiser, for three scenes at 48 px."""
    return repository(tmp_path_factory.mktemp("world"), transformer=denoiser(0))


def repository(folder: Path, **denoisers: Any) -> Path:
    source = find_model("embedded")
    for part in ("vae", "text_encoder", "tokenizer", "scheduler"):
        (folder / part).symlink_to(source / part)
    index = json.loads((source / "model_index.json").read_text())
    for name, model in denoisers.items():
        model.save_pretrained(folder / name)
        index[name] = ["diffusers", "WanTransformer3DModel"]
    if len(denoisers) > 1:
        index["boundary_ratio"] = 0.875
    (folder / "model_index.json").write_text(json.dumps(index))
    (folder / "pila.json").write_text(json.dumps(OWN))
    return folder


def adapter(seed: int, **options: Any) -> PilaAdapter:
    torch.manual_seed(seed)
    made: Any = PilaAdapter(
        latent_channels=16,
        text_dim=TEXT_WIDTH,
        hidden_width=8,
        encoder_blocks=1,
        decoder_blocks=1,
        gate="none",
        **options,
    )
    torch.nn.init.normal_(made.decoder.out.weight, std=0.2)
    return made


def plain(seed: int) -> PlainAdapter:
    torch.manual_seed(seed)
    made: Any = PlainAdapter(latent_channels=16, text_dim=TEXT_WIDTH, hidden_width=8, num_blocks=2)
    torch.nn.init.normal_(made.out.weight, std=0.2)
    return made


@pytest.fixture(scope="session")
def runs(tmp_path_factory, world_folder) -> Path:
    """A runs folder in which every recipe of the registry is trained for two seeds."""
    folder = tmp_path_factory.mktemp("runs")
    recipes = {r for e in EXPERIMENTS.values() for r in e.recipes}
    transformer = denoiser(0)
    for recipe in sorted(recipes):
        for seed in SEEDS:
            place = folder / f"{recipe}-{seed}" / "adapter"
            place.parent.mkdir()
            if recipe == "embedded-prophy":
                torch.manual_seed(seed)
                branch: Any = ProPhyBranch.beside(
                    transformer, num_semantic=2, num_refinement=2, expert_rank=2, router_width=8
                )
                torch.nn.init.normal_(branch.outs[0].weight, std=0.1)
                branch.save_pretrained(place)
            elif recipe == "embedded-lora":
                lora(transformer, place, seed)
            elif recipe == "embedded-fine-tune":
                (place.parent / "model").mkdir()
                repository(place.parent / "model", transformer=denoiser(seed + 5))
            elif [*configs(recipe).values()][-1].couple.kind == "plain":
                plain(seed).save_pretrained(place)
            else:
                adapter(seed if recipe == "embedded" else seed + 7).save_pretrained(place)
    large = folder / "embedded-large-0" / "model"
    large.mkdir(parents=True)
    repository(large, transformer=denoiser(1), transformer_2=denoiser(2))
    return folder


def lora(transformer: WanTransformer3DModel, place: Path, seed: int) -> None:
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    torch.manual_seed(seed)
    own: Any = WanTransformer3DModel.from_config(transformer.config)
    own.add_adapter(LoraConfig(r=2, lora_alpha=2, target_modules=["to_q"], init_lora_weights=False))
    state: Any = get_peft_model_state_dict(own)
    WanPipeline.save_lora_weights(place, transformer_lora_layers=state)


@pytest.fixture
def small(runs, world_folder, tmp_path, tmp_path_factory, monkeypatch):
    """Options of a run that takes seconds; what was made stays for the tests that follow."""
    monkeypatch.setenv("PILA_CACHE", str(tmp_path_factory.getbasetemp() / "experiments"))
    monkeypatch.setattr("pila.lab.experiments.measures.TRUE_CLIPS", 4)
    return {
        "output": tmp_path / "out",
        "runs": runs,
        "seeds": SEEDS,
        "model": str(world_folder),
        "prompts": 6,
        "steps": 2,
        "clips": 2,
        "processes": 1,
    }


def written(folder: Path, name: str = "results") -> dict:
    return json.loads((folder / f"{name}.json").read_text())
