"""Clips of several methods: the same noise, official names, resumed, shared among processes."""

import hashlib
import json
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import WanTransformer3DModel
from hypothesis import given
from hypothesis import strategies as st

from pila.cli import run
from pila.errors import InputError
from pila.generate.request import GenerateRequest
from pila.lab.benchmarks.generating import clip_seed, read_sampling
from pila.lab.benchmarks.prompt_list import (
    Item,
    PromptList,
    find_clips,
    read_prompts,
    write_prompts,
)
from pila.lab.benchmarks.run import make_clips
from pila.pipelines.locate import load_pipeline
from pila.prophy import ProPhyBranch
from pila.video import read_video, write_video


@pytest.fixture
def prompts(tmp_path):
    items = tuple(
        Item(key=f"x: {p}", prompt=p, files=tuple(f"{p}-{i}.mp4" for i in range(2)))
        for p in ("a red ball falls", "two balls collide")
    )
    path = tmp_path / "prompts.json"
    write_prompts(path, PromptList(benchmark="vbench2", source="here", items=items))
    return path


def request(wan_folder, **options):
    given = {"model": str(wan_folder), "device": "cpu", "parser": "offline", **options}
    return GenerateRequest(prompt="-", **given)


def hashes(folder):
    files = sorted(folder.rglob("*.mp4"))
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@given(st.integers(0, 2**62), st.integers(0, 2), st.text(max_size=40))
def test_seeds_are_of_prompt_and_sample_alone(seed, sample, prompt):
    value = clip_seed(seed, sample, prompt)
    assert 0 <= value < 2**63
    assert value != clip_seed(seed, sample + 1, prompt)
    assert value != clip_seed(seed, sample, prompt + " ")


def test_methods_share_noise_and_a_second_run_makes_nothing(
    tmp_path, prompts, wan_folder, adapter_folder
):
    out = tmp_path / "clips"
    adapters = [f"pila={adapter_folder}", f"again={adapter_folder}"]
    made = make_clips("vbench2", prompts, out, request(wan_folder), adapters=adapters)
    assert [(m.made, m.kept, m.total) for m in made] == [(4, 0, 4)] * 3
    listed = read_prompts(prompts, "vbench2")
    for method in ("frozen", "pila", "again"):
        find_clips(listed, out / method)
    first = hashes(out)
    frozen = {n.partition("/")[2]: h for n, h in first.items() if n.startswith("frozen")}
    pila = {n.partition("/")[2]: h for n, h in first.items() if n.startswith("pila")}
    again = {n.partition("/")[2]: h for n, h in first.items() if n.startswith("again")}
    assert pila == again, "the same adapter from the same noise"
    assert all(pila[name] != frozen[name] for name in frozen)
    assert len(set(frozen.values())) == 4, "every prompt and sample has its own noise"

    sampling = read_sampling(out / "pila")
    other = read_sampling(out / "frozen")
    assert sampling is not None
    assert other is not None
    assert sampling["shared"] == other["shared"]
    assert sampling["prompts"] == listed.digest
    assert set(sampling["weights"]) == {"vae", "text_encoder", "transformer", "adapter"}
    labels = json.loads((out / "pila" / "labels.json").read_text())
    assert "collision" in labels["x: two balls collide"]["categories"]

    name = "a red ball falls-1.mp4"
    (out / "pila" / name).write_bytes(b"cut")
    (out / "frozen" / name).unlink()
    made = make_clips("vbench2", prompts, out, request(wan_folder), adapters=adapters)
    assert [(m.made, m.kept) for m in made] == [(1, 3), (1, 3), (0, 4)]
    assert hashes(out) == first


def test_a_branch_alone_and_beside_an_adapter_are_methods_too(
    tmp_path, prompts, wan_folder, adapter_folder
):
    transformer = WanTransformer3DModel.from_pretrained(wan_folder / "transformer")
    branch: Any = ProPhyBranch.beside(
        transformer, num_semantic=2, num_refinement=2, expert_rank=2, router_width=8
    )
    torch.nn.init.normal_(branch.outs[0].weight, std=0.5)
    branch.save_pretrained(tmp_path / "branch")
    out = tmp_path / "clips"
    both = f"both={adapter_folder}+{tmp_path / 'branch'}"
    adapters = [f"pila={adapter_folder}", f"prophy={tmp_path / 'branch'}", both]
    make_clips("vbench2", prompts, out, request(wan_folder), adapters=adapters)
    by_method: dict[str, list[str]] = {}
    for name, digest in hashes(out).items():
        by_method.setdefault(name.partition("/")[0], []).append(digest)
    for clip in zip(*by_method.values(), strict=True):
        assert len(set(clip)) == 4, "every method makes its own clip"
    sampled: dict[str, Any] = {m: read_sampling(out / m) for m in by_method}
    weights = {m: found["weights"].get("adapter") for m, found in sampled.items()}
    assert weights["frozen"] is None
    assert weights["both"] == [weights["pila"], weights["prophy"]]


def test_a_generator_is_not_taken_for_an_adapter(tmp_path, prompts, wan_folder):
    with pytest.raises(InputError, match="a generator of its own"):
        make_clips(
            "vbench2",
            prompts,
            tmp_path / "clips",
            request(wan_folder),
            adapters=[f"tuned={wan_folder}"],
        )
    assert not (tmp_path / "clips").exists()


def test_a_clip_is_what_the_pipeline_gives_for_its_seed(tmp_path, prompts, wan_folder):
    make_clips("vbench2", prompts, tmp_path / "clips", request(wan_folder, seed=5))
    prompt = "two balls collide"
    pipeline = load_pipeline(str(wan_folder), None)
    frames = pipeline(
        prompt=prompt,
        height=32,
        width=32,
        num_frames=9,
        num_inference_steps=2,
        guidance_scale=2.0,
        max_sequence_length=16,
        generator=torch.Generator("cpu").manual_seed(clip_seed(5, 1, prompt)),
        output_type="np",
    ).frames[0]
    write_video(tmp_path / "mine.mp4", (frames * 255).round().astype(np.uint8), fps=8)
    theirs = read_video(tmp_path / "clips" / "frozen" / f"{prompt}-1.mp4")
    assert np.array_equal(read_video(tmp_path / "mine.mp4"), theirs)


def test_processes_share_the_clips_and_together_make_all(
    tmp_path, prompts, wan_folder, monkeypatch
):
    alone = tmp_path / "alone"
    make_clips("vbench2", prompts, alone, request(wan_folder))
    together = tmp_path / "together"
    made = []
    for rank in (0, 1, 2):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", "3")
        made += make_clips("vbench2", prompts, together, request(wan_folder))
    assert [m.made for m in made] == [2, 1, 1]
    assert hashes(together) == hashes(alone)
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(InputError, match="clips of another shared"):
        make_clips("vbench2", prompts, together, request(wan_folder, seed=1))


@pytest.mark.slow
def test_torchrun_makes_the_same_clips(tmp_path, prompts, wan_folder):
    alone = tmp_path / "alone"
    make_clips("vbench2", prompts, alone, request(wan_folder))
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    launch += ["--master-port", "0", "-m", "pila.cli"]
    launch += ["evaluate", "vbench2", "generate", "--prompts", str(prompts)]
    launch += ["--output", str(tmp_path / "both"), "--model", str(wan_folder), "--device", "cpu"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(launch, check=True, capture_output=True, env=environment)
    assert hashes(tmp_path / "both") == hashes(alone)


def test_clips_of_other_settings_are_never_mixed_in(tmp_path, prompts, wan_folder):
    out = tmp_path / "clips"
    make_clips("vbench2", prompts, out, request(wan_folder))
    before = hashes(out)
    with pytest.raises(InputError, match="clips of another shared"):
        make_clips("vbench2", prompts, out, request(wan_folder, seed=1))
    (out / "frozen" / "generation.json").unlink()
    with pytest.raises(InputError, match=r"clips without generation\.json"):
        make_clips("vbench2", prompts, out, request(wan_folder))
    assert hashes(out) == before


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"height": 33}, "height is 33"),
        ({"num_frames": 10}, "num_frames is 10"),
        ({"steps": 0}, "steps is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"model": "nowhere"}, "there is no model nowhere"),
        ({"adapters": ["pila"]}, "write name=place"),
        ({"adapters": ["frozen=embedded"]}, "always there"),
        ({"frozen": False}, "0 methods"),
    ],
)
def test_what_cannot_be_made_is_refused_before_anything_is(
    tmp_path, prompts, wan_folder, options, named
):
    own = {k: options.pop(k) for k in ("adapters", "frozen") if k in options}
    with pytest.raises(InputError, match=named):
        make_clips("vbench2", prompts, tmp_path / "clips", request(wan_folder, **options), **own)
    assert not (tmp_path / "clips").exists()


def test_lists_that_were_changed_or_are_of_another_benchmark(tmp_path, prompts):
    with pytest.raises(InputError, match="holds prompts of 'vbench2'"):
        read_prompts(prompts, "videophy2")
    prompts.write_text(prompts.read_text().replace("red ball", "blue ball", 1))
    with pytest.raises(InputError, match="changed by hand"):
        read_prompts(prompts, "vbench2")
    prompts.write_text("{}")
    with pytest.raises(InputError, match="no list of prompts"):
        read_prompts(prompts, "vbench2")
    items = tuple(Item(key=k, prompt="p", files=("a.mp4",)) for k in "xy")
    with pytest.raises(InputError, match=r"'a\.mp4' for two clips"):
        PromptList(benchmark="b", source="here", items=items)


def test_command(tmp_path, prompts, wan_folder, capsys):
    args = ["--prompts", str(prompts), "--output", str(tmp_path / "clips"), "--device", "cpu"]
    assert run(["evaluate", "vbench2", "generate", *args, "--model", str(wan_folder)]) == 0
    assert "4 clips made here, 0 were there, of 4" in capsys.readouterr().out
