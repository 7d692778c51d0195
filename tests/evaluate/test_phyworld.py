"""phyworld's errors: zero for the truth, the known value for a known fault, refusals."""

import numpy as np
import pytest

from pila.errors import InputError
from pila.evaluate.phyworld import errors
from pila.world import simulate


def test_the_truth_has_no_error():
    for scene in ("thrown_ball", "ball_collision"):
        frames = simulate(scene, 3).frames
        found = errors(scene, frames, frames)
        limits = {"velocity": 0.05, "radius": 0.05, "momentum": 0.12, "energy": 0.25}
        for name, value in found.items():
            assert value <= limits.get(name, 1e-9), (scene, name)


def test_a_frozen_throw_misses_its_whole_velocity():
    clip = simulate("thrown_ball", 4)
    still = np.repeat(clip.frames[:1], len(clip.frames), axis=0)
    found = errors("thrown_ball", still, clip.frames)
    assert found["velocity"] == pytest.approx(abs(clip.parameters["vx"]), rel=0.05)
    assert found["radius"] < 1e-9
    # A ball that stays where it was is off by half of the way, on the mean.
    way = abs(clip.parameters["vx"]) * (len(clip.frames) - 1) / 16
    assert found["position"] == pytest.approx(way / 2, rel=0.05)


def test_a_growing_ball_and_a_ball_that_passes_through():
    true = simulate("thrown_ball", 5)
    growing = simulate("thrown_ball", 5, "growing")
    assert errors("thrown_ball", growing.frames, true.frames)["radius"] > 0.3
    # Slow balls of one size: fast and large ones overlap, half hidden, until they leave the view.
    true = simulate("ball_collision", 8)
    through = simulate("ball_collision", 8, "pass_through")
    found = errors("ball_collision", through.frames, true.frames)
    assert found["velocity_before"] < 0.05
    expected = np.mean([abs(through.parameters[w] - true.parameters[w]) for w in ("w1", "w2")])
    assert found["velocity_after"] == pytest.approx(expected, rel=0.25)


def test_a_clip_without_the_ball_has_no_error():
    frames = simulate("thrown_ball", 6).frames
    assert all(
        np.isnan(v) for v in errors("thrown_ball", np.full_like(frames, 90), frames).values()
    )


def test_wrong_input_is_named():
    frames = simulate("thrown_ball", 6).frames
    with pytest.raises(InputError, match="phyworld's worlds are gliding_puck"):
        errors("hot_spot", frames, frames)
    with pytest.raises(InputError, match="one shape"):
        errors("thrown_ball", frames[:9], frames)
