"""Clips and twins as latents: what is there, what is kept, noise."""

import numpy as np
import torch

from pila.lab.experiments.measures import CONTROLS
from pila.lab.experiments.pairs import FIRST_SEED, LEVELS, TRUE, kinds_of, noise, pairs
from pila.lab.experiments.round_trip import encoded
from pila.lab.experiments.sampling import Protocol
from pila.lab.world import SCENES, Canvas, simulate
from pila.pipelines.vae import load_vae


def test_twins_are_the_broken_clips_and_the_controls(world_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("PILA_CACHE", str(tmp_path))
    protocol = Protocol(model=str(world_folder), prompts=1, scenes_only=("hot_spot",))
    vae = load_vae(world_folder / "vae")
    (alone,) = pairs(protocol, "hot_spot", (FIRST_SEED,), vae, twins=False)
    assert list(alone["latents"]) == [TRUE]
    assert len(list((tmp_path / "pairs").iterdir())) == 1
    (pair,) = pairs(protocol, "hot_spot", (FIRST_SEED,), vae)
    assert set(pair["latents"]) == {TRUE, *SCENES["hot_spot"].violations, *CONTROLS}
    canvas = Canvas(size=48, num_frames=9)
    kind = SCENES["hot_spot"].violations[0]
    broken = simulate("hot_spot", FIRST_SEED, kind, canvas=canvas, held_out=True)
    true = simulate("hot_spot", FIRST_SEED, canvas=canvas, held_out=True)
    assert pair["caption"] == true.caption
    for name, frames in (
        (kind, broken.frames),
        (TRUE, true.frames),
        ("reversed", true.frames[::-1]),
    ):
        expected = encoded(vae, frames)[0].half().float().numpy()
        assert np.array_equal(pair["latents"][name], expected), name
    # Kept: the VAE is not asked again.
    (again,) = pairs(protocol, "hot_spot", (FIRST_SEED,), None)
    assert all(np.array_equal(again["latents"][k], pair["latents"][k]) for k in pair["latents"])


def test_a_violation_by_a_controls_name_is_the_scenes_own():
    named = [s for s in SCENES if "reversed" in SCENES[s].violations]
    assert named, "the test needs such a scene"
    assert kinds_of(named[0]).count("reversed") == 1


def test_noise_is_of_the_clip_and_the_level():
    one = noise((2, 3), 5, 1)
    assert torch.equal(one, noise((2, 3), 5, 1))
    assert not torch.equal(one, noise((2, 3), 5, 2))
    assert not torch.equal(one, noise((2, 3), 6, 1))
    assert np.allclose(LEVELS, np.arange(0.05, 1, 0.1))
