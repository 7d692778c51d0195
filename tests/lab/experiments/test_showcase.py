"""The showcase's rule, what it chose, and that its words fit."""

import json
from pathlib import Path

import pytest
from PIL import Image

from pila.lab.experiments import showcase_picture
from pila.lab.experiments.clips import FROZEN, read_clips
from pila.lab.experiments.sampling import HELD_OUT_SEED, Protocol
from pila.lab.experiments.showcase import (
    COUNT,
    PICTURE,
    RECORD,
    RULE,
    Example,
    broken_laws,
    candidates,
    first_that_holds,
)
from pila.lab.world import SCENES, measure
from pila.physics.layout import Category

ROOT = Path(__file__).parents[3]
TOLERANCE = {"gravity": 0.2, "shape": 0.1}
GOOD, WRONG = {"gravity": 0.2, "shape": 0.1}, {"gravity": 0.1, "shape": 0.11}


def test_the_first_prompt_on_which_frozen_fails_and_pila_passes_all():
    pairs = [(GOOD, GOOD), (WRONG, WRONG), (GOOD, WRONG), (WRONG, GOOD), (WRONG, GOOD)]
    assert first_that_holds(pairs, TOLERANCE) == 3
    assert first_that_holds(pairs[:3], TOLERANCE) is None


def test_no_clip_is_made_after_the_first_that_holds():
    made = []

    def pairs():
        for pair in [(GOOD, GOOD), (WRONG, GOOD), (WRONG, GOOD)]:
            made.append(pair)
            yield pair

    assert first_that_holds(pairs(), TOLERANCE) == 1
    assert len(made) == 2


def test_an_error_at_the_tolerance_passes():
    assert broken_laws(GOOD, TOLERANCE) == []
    assert broken_laws(WRONG, TOLERANCE) == ["shape"]


def test_scenes_come_in_order_visibly_moving_and_once():
    protocol = Protocol(scenes_only=("thrown_ball", "gliding_puck", "hot_spot", "melting_disc"))
    found = list(candidates(protocol, ["thrown_ball"], Category.RIGID_BODY))
    assert found == ["gliding_puck"]
    # A hot spot hardly changes from frame to frame.
    assert list(candidates(protocol, [], Category.THERMAL)) == []


@pytest.fixture(scope="module")
def record():
    return json.loads((ROOT / RECORD).read_text())


def test_what_is_kept_is_what_the_rule_says(record):
    assert record["rule"] == RULE
    scenes = record["scenes"]
    assert [s["category"] for s in scenes] == list(Category)[:COUNT]
    assert len({s["scene"] for s in scenes}) == COUNT
    for scene in scenes:
        frozen, corrected = scene["laws"].values()
        assert scene["frozen_breaks"]
        assert set(scene["frozen_breaks"]) == set(broken_laws(frozen, scene["tolerance"]))
        assert broken_laws(corrected, scene["tolerance"]) == []
        assert scene["seed"] == HELD_OUT_SEED + scene["prompts_tried"] - 1


def test_no_earlier_prompt_of_the_law_table_would_have_done(record):
    """The table of the shipped adapter holds the first prompts of every scene, same noise."""
    table = read_clips(ROOT / "results" / "laws")
    for scene in record["scenes"]:
        laws = {
            (row["method"], row["seed"]): row["laws"]
            for row in table
            if row["scene"] == scene["scene"]
        }
        seeds = sorted(seed for method, seed in laws if method == FROZEN)
        assert seeds[0] == HELD_OUT_SEED
        pairs = [(laws[FROZEN, seed], laws["pila", seed]) for seed in seeds]
        index = first_that_holds(pairs, scene["tolerance"])
        tried = scene["prompts_tried"] - 1
        assert index == (tried if tried < len(seeds) else None), scene["scene"]


def test_the_prompts_are_the_captions_of_their_seeds(record):
    protocol = Protocol()
    for scene in record["scenes"]:
        (truth,) = protocol.true_clips(scene["scene"], [scene["seed"]])
        assert scene["caption"] == truth.caption


def test_the_demo_uses_the_prompt_that_its_rule_found(record):
    demo = record["demo"]
    (own,) = (s for s in record["scenes"] if s["scene"] == demo["scene"])
    frozen, corrected = demo["laws"].values()
    assert broken_laws(frozen, own["tolerance"]) == demo["frozen_breaks"] != []
    assert broken_laws(corrected, own["tolerance"]) == []
    assert f"PROMPT ?= {demo['prompt']}\n" in (ROOT / "Makefile").read_text()


def test_the_moving_picture_is_whole_small_and_loops(record):
    path = ROOT / PICTURE
    assert path.stat().st_size < 3e6
    with Image.open(path) as picture:
        assert getattr(picture, "n_frames", 1) == Protocol().settings["num_frames"]
        assert picture.info["loop"] == 0


def test_every_scene_category_and_law_has_room():
    """Whatever the rule chooses one day: a title with its category, a law beside a clip."""
    bold, plain = showcase_picture._font(bold=True), showcase_picture._font()
    clip = showcase_picture.FACTOR * Protocol().settings["height"]
    for scene in SCENES.values():
        for category in scene.categories:
            title = bold.getlength(showcase_picture._words(scene.name))
            side = plain.getlength(showcase_picture._words(category))
            assert title + showcase_picture.GAP + side <= 2 * clip + showcase_picture.GAP
        for law in scene.laws:
            assert plain.getlength(showcase_picture._words(law)) <= clip, law
    lines = showcase_picture.LAWS + 2
    assert lines * showcase_picture.LINE <= clip
    for said in ("frozen breaks", "PILA obeys all"):
        assert bold.getlength(said) <= clip


def test_pages_show_the_clips_where_they_belong():
    (truth,) = Protocol().true_clips("thrown_ball", [HELD_OUT_SEED])
    dark = truth.frames // 2
    laws = measure("thrown_ball", truth.frames)
    one = Example(
        category=Category.RIGID_BODY,
        scene="thrown_ball",
        tried=1,
        truth=truth,
        clips={FROZEN: dark, "pila": truth.frames},
        laws={FROZEN: dict.fromkeys(laws, 1.0), "pila": laws},
        tolerance=dict.fromkeys(laws, 0.5),
    )
    pages = showcase_picture.pages([one])
    assert len(pages) == len(truth.frames)
    clip, line, margin = (
        showcase_picture.FACTOR * truth.frames.shape[1],
        showcase_picture.LINE,
        showcase_picture.MARGIN,
    )

    def middle(left: int, top: int) -> tuple[int, ...]:
        return pages[-1].getpixel((left + 10, top + 10))

    frozen = middle(margin, margin + 2 * line)
    true = middle(margin + clip + showcase_picture.GAP, margin + 2 * line)
    corrected = middle(margin, margin + 3 * line + clip)
    assert corrected == true
    assert sum(frozen) < sum(true)
