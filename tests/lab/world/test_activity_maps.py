"""Activity maps of simulated clips: where the truth is, and nowhere else."""

from functools import partial

import numpy as np
import pytest

from pila.data.shard_files import Header, Row
from pila.errors import InputError
from pila.lab.world import SCENES, simulate
from pila.lab.world.activity_maps import ActiveMaps, active_maps
from pila.lab.world.balls import ball_truth, disc_coverage
from pila.lab.world.scene import Canvas, Clip
from pila.physics.layout import Category, Slot

CATEGORIES = list(Category)
EMPTY = {("boiling_pot", Category.THERMAL)}
"""Where nothing of the category is to be seen: water at one temperature."""


def one(clip, category):
    return active_maps(clip)[CATEGORIES.index(category)]


def latent_frame(seconds, clip):
    """The latent frame that holds a moment."""
    return int(np.ceil(round(seconds * clip.frame_rate, 6) / 4))


@pytest.mark.parametrize("scene", SCENES)
def test_every_scene_has_the_maps_of_its_categories_and_no_others(scene):
    clip = simulate(scene, 3)
    maps = active_maps(clip)
    assert maps.shape == (8, 9, 16, 16)
    assert maps.dtype == np.float32
    assert maps.min() >= 0
    for category, found in zip(Category, maps, strict=True):
        shown = category in clip.categories and (scene, category) not in EMPTY
        assert found.max() == (1.0 if shown else 0.0)
        assert not ((found > 0) & (found < 0.05)).any()
        if shown:
            assert (found == 0).any()


def test_moving_bodies_are_active_and_the_still_ground_is_not():
    for scene in ("thrown_ball", "gliding_puck", "spinning_bar"):
        clip = simulate(scene, 1)
        found = one(clip, Category.RIGID_BODY)
        covered = clip.latent_fields()[1][Slot.VELOCITY][0]
        assert not found[covered == 0].any()
        assert (found[covered > 0.5] > 0).mean() > 0.9
    # Of a body that is thrown up the speed at each time.
    clip = simulate("thrown_ball", 1)
    fields, masks = clip.latent_fields()
    solid = masks[Slot.VELOCITY][0] > 0.999
    speed = np.hypot(*fields[Slot.VELOCITY])
    # The mean speed in a cell is at least the size of its mean velocity.
    ratio = one(clip, Category.RIGID_BODY)[solid] / speed[solid]
    assert ratio.min() / np.median(ratio) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("scene", ["ball_collision", "billiards"])
def test_a_collision_is_where_and_when_bodies_meet(scene, seed):
    clip = simulate(scene, seed)
    found = one(clip, Category.COLLISION)
    when = clip.parameters["contact"]
    at = latent_frame(when, clip)
    by_time = found.max((1, 2))
    near = {latent_frame(when + step / clip.frame_rate, clip) for step in (-1, 0, 1)}
    assert int(by_time.argmax()) in near
    # A central difference of a central difference of the path reaches three frames.
    reached = {latent_frame(when + step / clip.frame_rate, clip) for step in range(-4, 5)}
    assert not by_time[[t for t in range(9) if t not in reached]].any()
    covered = clip.latent_fields()[1][Slot.IMPULSE][0]
    assert not found[covered == 0].any()
    if scene == "ball_collision" and at in near:
        # The bodies touch there: the middle of all activity is between their centres.
        total = found.sum(0)
        x = (total.sum(0) * (np.arange(16) + 0.5)).sum() / total.sum()
        seen = covered[at] > 0
        columns = np.flatnonzero(seen.any(0))
        assert columns.min() <= x <= columns.max() + 1


@pytest.mark.parametrize("seed", range(4))
def test_impacts_of_a_cradle_outdo_its_swing(seed):
    """Balls at the height of their swing have the largest steady acceleration, and no impact."""
    clip = simulate("newtons_cradle", seed)
    found = one(clip, Category.COLLISION).max((1, 2))
    speed = clip.fields[Slot.VELOCITY]
    # The first ball arrives a quarter of a period after it is let go.
    length = 0.3 if clip.parameters["length"] == "short" else 0.48
    quarter = np.pi / 2 * np.sqrt(length / 9.81)
    assert int(found[: latent_frame(quarter, clip) + 2].argmax()) in {
        latent_frame(quarter + step / 16, clip) for step in (-1, 0, 1, 2)
    }
    assert found[0] < 0.3
    assert np.hypot(*speed)[0].max() < 0.1


@pytest.mark.parametrize("seed", range(4))
def test_a_bounce_is_at_the_floor(seed):
    clip = simulate("bouncing_ball", seed)
    found = one(clip, Category.COLLISION)
    t, row, _ = np.unravel_index(int(found.argmax()), found.shape)
    floor = 16 - clip.parameters["floor"] / clip.metres * 16  # rows from above
    across = 2 * clip.parameters["radius"] / clip.metres * 16
    assert floor - across - 1 <= row + 0.5 <= floor + 0.5
    fall = np.sqrt(2 * clip.parameters["drop"] / 9.81)
    flights = 2 * fall * clip.parameters["restitution"] ** np.arange(1, 6)
    bounces = [fall, *(fall + flights.cumsum())]
    around = {latent_frame(b + step / 16, clip) for b in bounces for step in (-2, -1, 0, 1, 2)}
    assert t in around
    before = latent_frame(fall - 4 / 16, clip)  # accelerations reach over three frames
    assert not found[:before].any()
    first = found[:, int(floor - across - 1) :].max((1, 2))
    assert first[[latent_frame(fall + step / 16, clip) for step in (0, 1)]].max() > 0.5


def test_an_impact_is_not_lost_where_a_body_crosses_its_width_in_a_frame():
    """A ball flies to a wall and back, 0.15 of the view a frame, 0.08 of it wide."""
    frame = np.arange(9)
    x = 0.8 - 0.15 * np.abs(frame - 4)
    position = np.stack([x, np.full(9, 0.5)], 1)
    covered = disc_coverage(position, np.full(9, 0.04), 64, 1.0)
    clip = Clip(
        frames=np.zeros((9, 64, 64, 3), np.uint8),
        caption="",
        categories=(Category.COLLISION,),
        parameters={},
        violation=None,
        metres=1.0,
        frame_rate=16,
        truth=partial(ball_truth, [position], [covered], 16),
    )
    found = active_maps(clip, temporal=1)[CATEGORIES.index(Category.COLLISION)]
    by_time = found.max((1, 2))
    # The acceleration's central differences are at their largest in frame 4 and gone two away.
    assert by_time[[3, 4, 5]].min() > 0.3
    assert not by_time[[0, 8]].any()
    assert not found[:, covered.reshape(9, 8, 8, 8, 8).max((0, 2, 4)) == 0].any()


def test_a_law_that_is_broken_shows_in_the_maps():
    clip = simulate("ball_collision", 1, "pass_through")
    assert not one(clip, Category.COLLISION).any()  # bodies that pass through each other: no impact
    assert one(clip, Category.RIGID_BODY).max() == 1


def test_melting_is_at_the_front():
    clip = simulate("melting_disc", 0)
    found = one(clip, Category.PHASE_CHANGE)
    fields, masks = clip.latent_fields()
    phase, cover = fields[Slot.PHASE][0], masks[Slot.PHASE][0]
    changed = np.abs(np.diff(phase, axis=0)).max(0) * cover[0]
    assert found.max(0)[changed > 0.2].min() > 0
    assert not found.max(0)[(changed < 1e-3)].max(initial=0) > 0.2
    assert not found[cover == 0].any()


def test_heat_is_where_the_blocks_touch():
    clip = simulate("contact_bodies", 0)
    found = one(clip, Category.THERMAL)
    temperature = clip.latent_fields()[0][Slot.TEMPERATURE][0]
    cover = clip.latent_fields()[1][Slot.TEMPERATURE][0, 0]
    spot = np.unravel_index(int(found[0].argmax()), (16, 16))
    around = tuple(slice(max(i - 1, 0), i + 2) for i in spot)
    inside = cover[around] > 0.5
    assert np.ptp(temperature[0][around][inside]) > 0.8 * np.ptp(temperature[0][cover > 0.5])
    # The blocks' rims are no places of heat flow, though the field ends there.
    rim = (cover > 0) & (cover < 0.5) & (np.abs(found[0]) < 1)
    assert found[0][rim].mean() < 0.2


def test_waves_spread_and_light_is_where_it_is():
    clip = simulate("ripples", 0)
    found = one(clip, Category.OPTICAL)
    y, x = np.mgrid[:16, :16] + 0.5
    centre = [(found[0] * axis).sum() / found[0].sum() for axis in (x, y)]
    away = np.hypot(x - centre[0], y - centre[1])
    reach = [(f * away).sum() / f.sum() for f in found]
    assert reach[0] < reach[3] < reach[6]
    clip = simulate("mirror", 0)
    found, wave = one(clip, Category.OPTICAL), clip.latent_fields()[0][Slot.WAVE][0]
    assert np.corrcoef(found.ravel(), wave.ravel())[0, 1] > 0.999


def test_shocks_are_where_density_changes():
    clip = simulate("blast_ring", 0)
    found = one(clip, Category.COMPRESSIBLE)
    density = clip.latent_fields()[0][Slot.DENSITY][0]
    quiet = np.abs(np.diff(density, axis=0)).cumsum(0).max(0) < 1e-6
    assert not found.max(0)[quiet].any()
    shares = (found > 0).mean((1, 2))
    assert shares[0] < 0.2 < shares[5]


def test_the_grid_is_the_one_that_is_asked_for():
    clip = simulate("thrown_ball", 0, canvas=Canvas(num_frames=9, size=64))
    assert active_maps(clip).shape == (8, 3, 8, 8)
    fine = active_maps(clip, spatial=4, temporal=2)
    assert fine.shape == (8, 5, 16, 16)
    with pytest.raises(InputError, match="whole cells of 7 px"):
        active_maps(clip, spatial=7)


def row(name):
    return Row(
        name=name, shard=0, row=0, caption="", categories=("rigid_body",), violation=None,
        num_frames=9, latent_shape=(16, 3, 4, 4), tokens=1, motion=0.0, sha256="",
    )  # fmt: skip


HEADER = Header(
    source="world", records=1, shard_clips=1, vae="", text_encoder="", flow="", height=32, width=32,
    num_frames=9, fps=16.0, latent_shape=(16, 3, 4, 4), text_width=1, max_tokens=1,
)  # fmt: skip


@pytest.mark.parametrize("processes", [0, 1])
def test_clips_are_made_again_from_their_names(processes):
    names = ["000000-thrown_ball-1000000", "000001-ball_collision-7-pass_through", "kitten"]
    names += ["000002-unknown_scene-1", "000003-thrown_ball-1-no_such_law"]
    found = list(ActiveMaps(processes=processes).maps([row(n) for n in names], HEADER))
    canvas = Canvas(num_frames=9, size=32)
    np.testing.assert_array_equal(
        found[0], active_maps(simulate("thrown_ball", 1000000, canvas=canvas))
    )
    np.testing.assert_array_equal(
        found[1], active_maps(simulate("ball_collision", 7, "pass_through", canvas=canvas))
    )
    for error in found[2:]:
        assert str(error).startswith("not simulated: ")
