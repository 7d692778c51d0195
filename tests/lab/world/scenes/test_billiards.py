"""Billiards: momentum in two dimensions, impulses in the fields, and a measure that tells."""

from functools import cache

import numpy as np
import pytest
from tests.lab.world.scenes.residuals import relative_residual, upright
from tests.lab.world.scenes.separation import auc, worst_laws

from pila.lab.world.balls import colour_weights, read_ball
from pila.lab.world.fit import best_bend
from pila.lab.world.scene import Canvas
from pila.lab.world.scenes.billiards import DENSITY, EXTENT, HITS, SIDES, SIZES, SPEEDS, Billiards
from pila.physics.calculus import Calculus
from pila.physics.layout import Slot
from pila.physics.residual import Coefficients
from pila.physics.terms.collision import impulse_response
from pila.physics.terms.rigid_body import kinematic_consistency

SCENE = Billiards()
SMALL = Canvas(size=64)
WAYS = {
    "veering right": (1, 0),
    "veering up": (0, 1),
    "veering left": (-1, 0),
    "veering down": (0, -1),
}


def _read(seed: int) -> tuple[dict, np.ndarray, np.ndarray, np.ndarray]:
    """Parameters, masses and velocities [ball, xy] before and after, striker first, from pixels."""
    clip = SCENE.simulate(seed, None, Canvas(), False)
    tracks = [read_ball(w, EXTENT) for w in colour_weights(clip.frames, 2)]
    bend = best_bend(Canvas().times, *(track.centre for track in tracks))
    assert bend is not None
    before, after = bend.before, bend.after
    order = np.argsort(-np.hypot(*before.T))  # the struck ball rests at first
    mass = np.array([np.median(track.radius) ** 2 for track in tracks]) * DENSITY
    return dict(clip.parameters), mass[order], before[order], after[order]


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_words_and_velocities_are_recovered_from_pixels(seed):
    said, mass, before, after = _read(seed)
    assert mass == pytest.approx(DENSITY * np.array([said["r1"], said["r2"]]) ** 2, rel=0.05)
    assert np.hypot(*before[0]) == pytest.approx(said["v1"], rel=0.03)
    low, high = SPEEDS[said["speed"]]
    assert low <= said["v1"] <= high
    push = np.array([said["impulse_x"], said["impulse_y"]])
    assert mass[1] * after[1] == pytest.approx(push, rel=0.06, abs=0.03 * np.hypot(*push))
    assert after[1] @ np.array(WAYS[said["way"]]) > 0
    # The struck ball leaves along the line of centres: its angle tells the offset.
    leave = np.exp(1j * np.pi / 2 * SIDES[said["side"]])
    along = (complex(*after[1]) / leave).imag / np.hypot(*after[1])
    assert along == pytest.approx(said["offset"], abs=0.03)
    assert HITS[said["hit"]][0] <= abs(said["offset"]) <= HITS[said["hit"]][1]
    assert said["r1"] == SIZES[said["size"]]


@pytest.mark.parametrize("seed", [0, 1])
def test_the_impulse_field_adds_up_to_the_solvers_impulse(seed):
    """Mass x the time integral of the impulse field [m/s^2] is what pymunk's contact gave."""
    clip = SCENE.simulate(seed, None, SMALL, False)
    said = clip.parameters
    mask, impulse = clip.masks[Slot.IMPULSE][0], clip.fields[Slot.IMPULSE]
    # Late in the clip the struck ball is the one that moves along the impulse.
    push = np.array([said["impulse_x"], said["impulse_y"]])
    total = np.zeros(2)
    for step in range(len(mask)):
        inside = mask[step] > 0.999
        along = impulse[:, step][:, inside].T @ push
        mine = along > 1e-6 * np.hypot(*push)
        if mine.any():
            total += impulse[:, step][:, inside][:, mine].mean(1) / 16
    assert DENSITY * said["r2"] ** 2 * total == pytest.approx(push, rel=0.01, abs=1e-5)


def test_true_fields_obey_kinematics_and_impulse_response():
    canvas = Canvas(size=128, frame_rate=32)
    clip = SCENE.simulate(0, None, canvas, False)
    fields, inside = upright(clip)
    k = Coefficients()
    d, u, j = (fields[s] for s in (Slot.DISPLACEMENT, Slot.VELOCITY, Slot.IMPULSE))

    right, wrong = Calculus(dt=1 / 32), Calculus(dt=1.25 / 32)
    for fd, low, high in ((right, 0.0, 0.02), (wrong, 0.15, 1.0)):
        moves = kinematic_consistency(fd, k, displacement=d, velocity=u)
        assert low <= relative_residual(moves, inside) < high
        response = impulse_response(fd, k, velocity=u, impulse=j)
        assert low <= relative_residual(response, inside) < high


@cache
def _true() -> dict[str, np.ndarray]:
    return worst_laws(SCENE, None, SMALL, range(8))


def test_true_clips_measure_near_zero():
    for state, errors in _true().items():
        assert np.median(errors) < 0.06, state
        assert errors.max() < 0.15, state


@pytest.mark.parametrize("violation", SCENE.violations)
def test_every_violation_is_told_from_the_truth(violation):
    broken = worst_laws(SCENE, violation, SMALL, range(8))
    for state, errors in broken.items():
        assert auc(_true()[state], errors) >= 0.95, state


@pytest.mark.parametrize(
    ("violation", "law"),
    [
        ("super_elastic", "energy"),
        ("momentum_lost", "momentum"),
        ("pass_through", "momentum"),
        ("sideways", "momentum"),
        ("jitter", "straight_paths"),
    ],
)
def test_the_broken_law_is_named(violation, law):
    true = SCENE.measure(SCENE.simulate(1, None, SMALL, False).frames)
    broken = SCENE.measure(SCENE.simulate(1, violation, SMALL, False).frames)
    assert broken[law] > true[law] + 0.2


def test_a_still_picture_obeys_nothing():
    frames = SCENE.simulate(1, None, SMALL, False).frames
    assert max(SCENE.measure(np.repeat(frames[:1], 33, 0)).values()) == 1.0
