"""What a protocol and a method change in the clips, and what their keys must tell apart."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from pila.errors import InputError
from pila.lab.experiments import sampling
from pila.lab.experiments.round_trip import decoded, encoded
from pila.lab.experiments.sampling import (
    Method,
    Protocol,
    going_on_from,
    method_key,
    noise_of,
    pipeline,
    protocol_key,
    sampled,
    told,
)
from pila.physics.layout import Category
from pila.pipelines.locate import load_pipeline

FROZEN = Method(name="frozen")


@pytest.fixture
def protocol(world_folder):
    return Protocol(model=str(world_folder), prompts=3, steps=2)


@pytest.fixture
def pila(runs):
    return Method(name="pila", adapter=str(runs / "embedded-0" / "adapter"))


def test_frames_are_those_of_the_pipeline(protocol, world_folder):
    (truth,) = protocol.true_clips("hot_spot")
    frames, latents = sampled(protocol, FROZEN, [truth], 0)
    pipe = load_pipeline(str(world_folder), None)
    own = pipe(
        prompt=truth.caption,
        negative_prompt="",
        generator=noise_of([truth.parameters["seed"]], 0),
        height=48,
        width=48,
        num_frames=9,
        num_inference_steps=2,
        guidance_scale=2.0,
        max_sequence_length=32,
        output_type="np",
    ).frames
    assert np.abs(frames[0].astype(int) - np.rint(own[0] * 255)).max() <= 1
    assert np.array_equal(decoded(pipe.vae, torch.from_numpy(latents)), frames)


def test_latents_go_through_the_vae_and_back(protocol, world_folder):
    vae = load_pipeline(str(world_folder), None).vae
    (truth,) = protocol.true_clips("hot_spot")
    back = decoded(vae, encoded(vae, truth.frames))[0]
    assert back.shape == truth.frames.shape
    assert np.abs(back.astype(int) - truth.frames).mean() < 8


def test_given_frames_are_the_true_ones_and_the_rest_answers_to_them(protocol):
    given = replace(protocol, given_frames=1)
    truths = given.true_clips("hot_spot")
    _, free = sampled(protocol, FROZEN, truths, 0)
    frames, latents = sampled(given, FROZEN, truths, 0)
    vae = load_pipeline(given.model, None).vae
    true = encoded(vae, truths[0].frames).numpy()
    assert np.allclose(latents[:, :, :1], true[:, :, :1], atol=1e-5)
    assert not np.allclose(latents[:, :, 1:], free[:, :, 1:])
    # The first latent frame holds frame 0 alone, and the VAE is causal.
    assert (
        np.abs(frames[0, 0].astype(int) - decoded(vae, encoded(vae, truths[0].frames))[0, 0]).max()
        <= 1
    )


def test_the_denoiser_sees_given_frames_clean_at_level_0(world_folder):
    pipe = load_pipeline(str(world_folder), None)
    clean = torch.randn(1, 16, 1, 6, 6)
    seen = {}
    watch = pipe.transformer.register_forward_hook(
        lambda m, a, kwargs, out: seen.update(kwargs), with_kwargs=True
    )
    x, text = torch.randn(1, 16, 3, 6, 6), torch.randn(1, 4, 64)
    with torch.no_grad(), going_on_from(pipe, clean):
        pipe.transformer(hidden_states=x, timestep=torch.tensor([700]), encoder_hidden_states=text)
    assert torch.equal(seen["hidden_states"][:, :, :1], clean)
    assert torch.equal(seen["hidden_states"][:, :, 1:], x[:, :, 1:])
    # Tokens are 2 x 2 cells: nine in a frame.
    assert seen["timestep"].tolist() == [[0.0] * 9 + [700.0] * 18]
    watch.remove()
    with going_on_from(pipe, None):
        pipe.transformer(hidden_states=x, timestep=torch.tensor([700]), encoder_hidden_states=text)
    assert not pipe.transformer._forward_pre_hooks


def test_an_adapter_may_not_write_given_frames(protocol, pila):
    given = replace(protocol, given_frames=1)
    truths = given.true_clips("hot_spot")
    _, frozen = sampled(given, FROZEN, truths, 0)
    _, corrected = sampled(given, pila, truths, 0)
    assert np.array_equal(frozen[:, :, :1], corrected[:, :, :1])
    assert not np.array_equal(frozen[:, :, 1:], corrected[:, :, 1:])


def test_best_of_keeps_the_least_residual_score(protocol, pila):
    from pila.lab.experiments.sampling import CANDIDATES
    from pila.score.residual_score import residual_scores

    truths = protocol.true_clips("hot_spot") + protocol.true_clips("thrown_ball")
    best = Method(name="best", best_of=3, scorer=pila.adapter)
    tried = [sampled(protocol, FROZEN, truths, CANDIDATES * i)[1] for i in range(3)]
    captions = [t.caption for t in truths]
    scores = torch.stack(
        [
            residual_scores(
                torch.from_numpy(x), captions, adapter=str(pila.adapter), model=protocol.model
            )
            for x in tried
        ]
    )
    assert ((scores >= 0) & (scores <= 1)).all()
    assert scores.std(0).min() > 0
    _, kept = sampled(protocol, best, truths, 0)
    for row, pick in enumerate(scores.argmin(0).tolist()):
        assert np.array_equal(kept[row], tried[pick][row])


def test_labels_are_parsed_left_out_or_drawn(pila):
    captions = ["a red ball is thrown high"] * 30
    seeds = list(range(30))
    parsed = told(pila, captions, seeds)
    assert parsed[0] == [Category.RIGID_BODY]
    assert told(replace(pila, labels="none"), captions, seeds) == [[]] * 30
    drawn = told(replace(pila, labels="random"), captions, seeds)
    assert drawn == told(replace(pila, labels="random"), captions, seeds)
    assert [len(d) for d in drawn] == [1] * 30
    assert len({d[0] for d in drawn}) > 4


def test_keys_tell_apart_what_changes_clips_and_nothing_else(protocol, pila, runs):
    key = method_key(pila)
    assert method_key(replace(pila, name="other", training_seed=5)) == key
    for change in (
        {"adapter": str(runs / "embedded-1" / "adapter")},
        {"adapter_scale": 0.5},
        {"step_window": (1, 1)},
        {"velocity_source": "guided"},
        {"top_k": 2},
        {"labels": "none"},
        {"best_of": 2, "scorer": pila.adapter},
    ):
        assert method_key(replace(pila, **change)) != key, change
    whole = protocol_key(protocol)
    assert protocol_key(replace(protocol, prompts=6, scenes_only=("hot_spot",))) == whole
    for change in (
        {"steps": 1},
        {"guidance_scale": 1.0},
        {"given_frames": 1},
        {"precision": "bf16"},
    ):
        assert protocol_key(replace(protocol, **change)) != whole, change


def test_clips_are_made_in_bfloat16_where_asked_but_decoded_and_corrected_in_float32(
    protocol, pila
):
    (truth,) = protocol.true_clips("hot_spot")
    half = replace(protocol, precision="bf16")
    pipe = pipeline(half.model, pila.adapter, half.device, half.precision)
    kinds = [next(part.parameters()).dtype for part in (pipe.vae, pipe.adapter)]
    assert kinds == [torch.float32, torch.float32]
    assert pipe.transformer.blocks[0].attn1.to_q.weight.dtype == torch.bfloat16
    _, rounded = sampled(half, pila, [truth], 0)
    _, exact = sampled(protocol, pila, [truth], 0)
    assert 0 < np.abs(rounded - exact).max() < 0.1 * np.abs(exact).max()


def test_the_same_weights_in_another_adapter_make_other_clips(pila, tmp_path):
    shutil.copytree(str(pila.adapter), tmp_path / "adapter")
    copied = replace(pila, adapter=str(tmp_path / "adapter"))
    assert method_key(copied) == method_key(pila)
    config = tmp_path / "adapter" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"default_scale": 2.0}))
    assert method_key(copied) != method_key(pila)


def test_another_scheduler_makes_other_clips(protocol, world_folder, tmp_path):
    shutil.copytree(world_folder, tmp_path / "model")
    copied = replace(protocol, model=str(tmp_path / "model"))
    assert protocol_key(copied) == protocol_key(protocol)
    FlowMatchEulerDiscreteScheduler(shift=7.0).save_pretrained(tmp_path / "model" / "scheduler")
    assert protocol_key(copied) != protocol_key(protocol)


def test_wrong_values_are_named(protocol):
    with pytest.raises(InputError, match="labels is 'llm'"):
        Method(name="x", labels="llm")
    with pytest.raises(InputError, match="best_of is 4 with scorer None"):
        Method(name="x", best_of=4)
    with pytest.raises(InputError, match="given_frames is 3; clips have 3 latent frames"):
        replace(protocol, given_frames=3)
    with pytest.raises(InputError, match="precision is 'fp8'; choose from no, bf16"):
        replace(protocol, precision="fp8")
    with pytest.raises(InputError, match="was not trained on mirror"):
        replace(protocol, scenes_only=("mirror",))


def test_clips_of_another_lexicon_are_others(pila, monkeypatch):
    key, untold = method_key(pila), method_key(replace(pila, labels="none"))
    monkeypatch.setattr(sampling, "_parser_source", lambda: "another")
    assert method_key(pila) != key
    assert method_key(replace(pila, labels="none")) == untold


def test_the_first_frame_that_is_made(protocol):
    assert [replace(protocol, given_frames=k).first_frame for k in (0, 1, 2)] == [0, 1, 5]
