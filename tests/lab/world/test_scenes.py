"""Simulated clips: deterministic, true to their laws, and told apart from their violations."""

import numpy as np
import pytest

from pila.errors import InputError
from pila.lab.world import SCENES, Canvas, measure, recognise_scene, simulate
from pila.lab.world.captions import HELD_OUT
from pila.lab.world.scenes.ball_collision import rebound
from pila.physics.bank import Slot

EVERY = [(s, v) for s, scene in SCENES.items() for v in scene.violations]
HERE = [(s, v) for s, v in EVERY if s in ("thrown_ball", "ball_collision", "hot_spot")]
"""Scenes whose measures are tested in this file; the others have files of their own."""
SEEDS = range(8)


@pytest.mark.parametrize("scene", SCENES)
def test_same_seed_same_bytes(scene):
    one, two = simulate(scene, 5), simulate(scene, 5)
    assert one.frames.tobytes() == two.frames.tobytes()
    assert one.caption == two.caption
    assert one.frames.shape == (33, 128, 128, 3)
    assert simulate(scene, 6).frames.tobytes() != one.frames.tobytes()


@pytest.mark.parametrize(("scene", "violation"), HERE)
def test_every_violation_is_told_from_the_truth(scene, violation):
    """The worst law of a violated clip is above that of every true clip, for most seeds."""
    true = [max(measure(scene, simulate(scene, s).frames).values()) for s in SEEDS]
    broken = [max(measure(scene, simulate(scene, s, violation).frames).values()) for s in SEEDS]
    above = np.mean([b > t for b in broken for t in true])
    assert above >= 0.95


@pytest.mark.parametrize(("scene", "violation"), EVERY)
def test_a_violated_twin_keeps_caption_and_appearance(scene, violation):
    true, broken = simulate(scene, 3), simulate(scene, 3, violation)
    assert broken.caption == true.caption
    assert broken.violation == violation
    # The background is drawn from the same stream: some corner pixel agrees in every frame.
    assert (broken.frames == true.frames).any()


@pytest.mark.parametrize("scene", SCENES)
def test_true_clips_measure_near_zero(scene):
    worst = [max(measure(scene, simulate(scene, s).frames).values()) for s in SEEDS]
    assert np.median(worst) < 0.06
    assert max(worst) < 0.15


@pytest.mark.parametrize("scene", SCENES)
def test_a_frozen_clip_never_scores_well(scene):
    clip = simulate(scene, 1).frames
    static = np.repeat(clip[:1], len(clip), axis=0)
    assert max(measure(scene, static).values()) == pytest.approx(1.0)


def test_a_throw_played_at_half_speed_has_the_wrong_gravity():
    clip = simulate("thrown_ball", 1).frames
    slow = clip[np.arange(len(clip)) // 2]
    assert measure("thrown_ball", slow)["gravity"] > 0.6


def test_heat_played_backwards_breaks_the_law():
    clip = simulate("hot_spot", 1).frames
    assert measure("hot_spot", clip[::-1])["spreading"] == 1.0


@pytest.mark.parametrize("masses", [(1.0, 1.0), (0.5, 1.1), (1.3, 0.4)])
def test_rebound_keeps_momentum_and_energy(masses):
    m1, m2 = masses
    w1, w2 = rebound(m1, m2, 2.0, -0.5, None, 0)
    assert m1 * w1 + m2 * w2 == pytest.approx(m1 * 2.0 - m2 * 0.5)
    assert m1 * w1**2 + m2 * w2**2 == pytest.approx(m1 * 4.0 + m2 * 0.25)


def test_fields_of_a_throw_are_its_kinematics():
    clip = simulate("thrown_ball", 2)
    inside = clip.masks[Slot.VELOCITY][0] > 0.99
    vx = clip.fields[Slot.VELOCITY][0][inside]
    assert vx == pytest.approx(clip.parameters["vx"], abs=1e-9)
    assert clip.fields[Slot.IMPULSE][1][inside] == pytest.approx(-9.81, rel=1e-6)


def test_heat_is_conserved_and_obeys_the_heat_equation():
    clip = simulate("hot_spot", 2)
    heat = clip.fields[Slot.TEMPERATURE][0]
    dx, dt = 0.20 / 128, 1 / 16
    rate = np.gradient(heat, dt, axis=0, edge_order=2)[2:-2, 2:-2, 2:-2]
    second = [(np.roll(heat, 1, a) + np.roll(heat, -1, a) - 2 * heat) / dx**2 for a in (1, 2)]
    laplacian = (second[0] + second[1])[2:-2, 2:-2, 2:-2]
    balance = rate - clip.parameters["diffusivity"] * laplacian
    assert np.abs(balance).max() < 0.02 * np.abs(rate).max()
    total = heat.sum((1, 2))
    assert np.abs(total / total[0] - 1).max() < 1e-3


@pytest.mark.parametrize("scene", SCENES)
def test_latent_fields_have_the_latent_grid(scene):
    fields, masks = simulate(scene, 0).latent_fields()
    assert fields.keys() == masks.keys()
    for slot, field in fields.items():
        assert field.shape == (slot.components, 9, 16, 16)
        assert np.isfinite(field).all()
        assert masks[slot].shape == (1, 9, 16, 16)


@pytest.mark.parametrize("scene", SCENES)
def test_held_out_captions_use_other_forms(scene):
    assert len(SCENES[scene].templates) >= 20 + HELD_OUT
    seen = {simulate(scene, s).caption for s in range(12)}
    held = {simulate(scene, s, held_out=True).caption for s in range(12)}
    assert not seen & held
    assert all(recognise_scene(c) == scene for c in seen | held)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: simulate("thrown_bal", 0), "did you mean 'thrown_ball'"),
        (lambda: simulate("hot_spot", 0, "teleport"), "knows cold_to_hot"),
        (lambda: simulate("hot_spot", -1), "seed is -1"),
        (lambda: Canvas(size=100), "size is 100.*try 96"),
        (lambda: Canvas(num_frames=32), "num_frames is 32.*try 33"),
        (lambda: measure("hot_spot", np.zeros((4, 96, 96, 3), np.uint8)), "has 4 frames"),
        (lambda: measure("hot_spot", np.zeros((9, 64, 96, 3), np.uint8)), "96 x 64 px"),
    ],
)
def test_wrong_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()
