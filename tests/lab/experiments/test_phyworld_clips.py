"""phyworld's clips out of distribution: ranges, laws, placement, determinism."""

import numpy as np
import pytest

from pila.errors import InputError
from pila.lab.experiments.phyworld import EXTENT, WORLDS, errors, in_view
from pila.lab.experiments.phyworld_clips import RADII, SPEEDS, out_of_distribution
from pila.lab.world import Canvas, measure
from pila.lab.world.balls import colour_weights, read_ball

CANVAS = Canvas(size=96)
SEEDS = range(12)


def within(value, ranges):
    return any(low <= value <= high for low, high in ranges)


@pytest.mark.parametrize("scene", WORLDS)
def test_speeds_and_radii_lie_outside_and_both_kinds_occur(scene):
    clips = [out_of_distribution(scene, seed, CANVAS) for seed in SEEDS]
    speeds = [c.parameters["speed_value"] for c in clips]
    assert all(within(v, SPEEDS) for v in speeds)
    assert min(speeds) < 1 < 4 < max(speeds)
    radii = [r for c in clips for r in c.parameters["radii"]]
    assert all(within(r, RADII) for r in radii)
    assert min(radii) < 1 < max(radii)
    assert len({c.caption for c in clips}) > 6


@pytest.mark.parametrize("scene", ["thrown_ball", "gliding_puck"])
def test_a_disc_has_the_speed_and_radius_that_it_says(scene):
    for seed in SEEDS:
        clip = out_of_distribution(scene, seed, CANVAS)
        track = read_ball(colour_weights(clip.frames, 1)[0], EXTENT)
        seen = in_view(track)
        assert seen[:3].all(), "the first frames are what a model is given"
        p, t = track.centre[seen], np.arange(len(seen))[seen] / 16
        vx = (p[-1, 0] - p[0, 0]) / (t[-1] - t[0])
        speed = clip.parameters["speed_value"]
        if scene == "thrown_ball":
            assert abs(vx) == pytest.approx(speed, abs=0.12)
        else:
            vy = (p[-1, 1] - p[0, 1]) / (t[-1] - t[0])
            assert np.hypot(vx, vy) == pytest.approx(speed, abs=0.12)
        assert np.median(track.radius[seen]) == pytest.approx(clip.parameters["radii"][0], abs=0.08)
        if abs(vx) > 0.3:
            assert (vx > 0) == (clip.parameters["side"] == "right")


def test_a_throw_falls_and_a_collision_keeps_momentum_and_energy():
    throws = [out_of_distribution("thrown_ball", s, CANVAS) for s in SEEDS]
    slow = [c for c in throws if c.parameters["speed_value"] < 1 and c.parameters["radii"][0] > 1]
    assert all(measure("thrown_ball", c.frames)["gravity"] < 0.05 for c in slow)
    for seed in SEEDS:
        clip = out_of_distribution("ball_collision", seed, CANVAS)
        found = errors("ball_collision", clip.frames, clip.frames)
        first = clip.parameters["speed_value"] * max(clip.parameters["radii"]) ** 2
        assert np.isfinite(found["momentum"])
        assert found["momentum"] < 0.2 * first + 0.05


def test_the_same_seed_gives_the_same_clip():
    one, other = (out_of_distribution("gliding_puck", 5, CANVAS) for _ in range(2))
    assert np.array_equal(one.frames, other.frames)
    assert one.caption == other.caption
    assert not np.array_equal(one.frames, out_of_distribution("gliding_puck", 6, CANVAS).frames)


def test_another_scene_is_refused():
    with pytest.raises(InputError, match="phyworld's worlds are gliding_puck"):
        out_of_distribution("mirror", 0, CANVAS)
