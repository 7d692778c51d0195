"""phyworld's errors: zero for the truth, the known value for a known fault, refusals."""

import numpy as np
import pytest

from pila.errors import InputError
from pila.lab.experiments.phyworld import EXTENT, LEAST, WORLDS, errors
from pila.lab.experiments.round_trip import through_vae
from pila.lab.world import Canvas, simulate
from pila.lab.world.balls import colour_weights, read_ball
from pila.lab.world.fit import best_bend
from pila.pipelines.locate import find_model
from pila.pipelines.vae import load_vae

SMALL = Canvas(size=64, num_frames=33)
"""What the embedded model makes."""


@pytest.mark.parametrize("scene", WORLDS)
def test_the_truth_has_next_to_no_error(scene):
    frames = simulate(scene, 3).frames
    limits = {"position": 1e-9, "radius": 0.05, "momentum": 0.05, "energy": 0.2}
    for name, value in errors(scene, frames, frames).items():
        assert value <= limits.get(name, 0.02), name


def test_the_contact_is_where_the_simulator_has_it():
    for seed in range(6):
        clip = simulate("ball_collision", seed, canvas=SMALL)
        tracks = [read_ball(w, EXTENT) for w in colour_weights(clip.frames, 2)]
        tracks = sorted(tracks, key=lambda track: track.centre[0, 0])
        found = best_bend(SMALL.times, *(track.centre[:, :1] for track in tracks), least=LEAST)
        assert found is not None
        known = clip.parameters
        assert found.time == pytest.approx(known["contact"], abs=1 / 32)
        sign = 1 if known["side"] == "left" else -1
        balls = np.array([[known[v] for v in ("v1", "v2")], [known[v] for v in ("w1", "w2")]])
        balls = sign * balls[:, ::sign]
        np.testing.assert_allclose([found.before[:, 0], found.after[:, 0]], balls, atol=0.05)


@pytest.mark.parametrize("scene", WORLDS)
def test_a_true_clip_that_a_vae_has_blurred_is_told_from_one_at_rest(scene):
    vae = load_vae(find_model("embedded") / "vae")
    truths = [simulate(scene, seed, canvas=SMALL).frames for seed in range(40, 46)]
    backs = through_vae(vae, truths)
    first = 5
    true, still = (
        [errors(scene, f, truth, first=first) for f, truth in zip(some, truths, strict=True)]
        for some in (backs, [np.repeat(f[:1], len(f), axis=0) for f in backs])
    )
    for name in true[0]:
        if name != "radius":  # what rests keeps its size
            means = [np.mean([found[name] for found in some]) for some in (true, still)]
            assert means[0] < 0.6 * means[1], name


def test_given_frames_are_not_measured():
    true = simulate("gliding_puck", 3).frames
    frames = true.copy()
    frames[:5] = frames[5:10]  # wrong where it was given
    assert errors("gliding_puck", frames, true, first=5)["position"] == 0
    assert errors("gliding_puck", frames, true)["position"] > 0.05


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
