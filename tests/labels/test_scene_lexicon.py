import itertools
import json
import random

import pytest

from pila.labels.scene_lexicon import SceneLexicon
from pila.labels.spelling import Speller, distance
from pila.world import SCENES
from pila.world.registry import scene_lexicon, scene_words


@pytest.mark.parametrize("scene", SCENES)
def test_every_form_of_a_caption_is_recognised(scene: str) -> None:
    draw, words = random.Random(0), SCENES[scene].words
    for template in SCENES[scene].templates:
        options = list(itertools.product(*words.values()))
        for chosen in draw.sample(options, min(len(options), 6)):
            caption = template.format(**dict(zip(words, chosen, strict=True)))
            assert scene_lexicon().recognise(caption).scene == scene, caption


def test_the_lexicon_knows_the_scenes_by_name() -> None:
    assert scene_lexicon().scenes == tuple(SCENES)


@pytest.mark.parametrize(
    ("prompt", "scene"),
    [
        ("two balls colide head-on", "ball_collision"),
        ("two pool balls, off-centre hit", "billiards"),
        ("a squishy ball is dropped on the floor", "soft_ball"),
        ("a marble is dropped on the floor", "bouncing_ball"),
        ("a ball is tossed through the air", "thrown_ball"),
        ("a ball on an incline", "rolling_ball"),
        ("Snell's law", "refraction"),
        ("a laser beam hits a mirror", "mirror"),
        ("Sod problem", "shock_tube"),
        ("a shokwave from an explosion, seen from above", "blast_ring"),
        ("watre freezzing from the left wall", "freezing_front"),
        ("boilling water in a pot", "boiling_pot"),
        ("butter melts in a pan", "melting_disc"),
        ("ink swirling in water", "dyed_vortex"),
        ("colored smoke rising", "smoke_puff"),
        ("coloured smoke rising", "smoke_puff"),
    ],
)
def test_free_words(prompt: str, scene: str) -> None:
    assert scene_lexicon().recognise(prompt).scene == scene


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        "...",
        "a dog runs on a beach",
        "a masked ball in Vienna",
        "sprint in Kyoto",
        "spring in Kyoto, cherry blossom",
        "her heart melts when she sees the puppy",
        "a snowman melts in the sun",
        "a pool party at night",
        "ein Hund im Schnee",
        "for i in range(10): print(i)",
    ],
)
def test_other_things_are_no_scene(prompt: str) -> None:
    found = scene_lexicon().recognise(prompt)
    assert (found.scene, found.words) == (None, ())
    assert len(set(found.nearest)) == 3
    assert set(found.nearest) <= set(SCENES)


def test_what_is_recognised_is_explained() -> None:
    found = scene_lexicon().recognise("a red ball bounces on the floor")
    assert found.scene == found.nearest[0] == "bouncing_ball"
    assert found.points["bouncing_ball"] == max(found.points.values())
    assert {"bounces", "floor"} <= set(found.words)


def test_the_data_go_through_json() -> None:
    again = SceneLexicon(json.loads(json.dumps(scene_words())))
    for prompt in ("a ball rolls down a ramp", "a drop falls into water", "hello"):
        assert again.recognise(prompt) == scene_lexicon().recognise(prompt)


def test_an_unknown_scene_in_the_data_is_refused() -> None:
    words = scene_words()
    words["concept"]["ball"]["gives"] = {"flying_saucer": 1.0}
    with pytest.raises(ValueError, match="flying_saucer"):
        SceneLexicon(words)


def test_spelling() -> None:
    speller = Speller(["spring", "collide", "puck"], ["sprint"])
    assert speller.mend("a sprng colide sprint puk") == "a spring collide sprint puk"
    assert speller.mend("colliding springs") == "colliding springs"


@pytest.mark.parametrize(
    ("one", "other", "errors"),
    [("ball", "ball", 0), ("blal", "ball", 1), ("bal", "ball", 1), ("kitten", "sitting", 3)],
)
def test_distance(one: str, other: str, errors: int) -> None:
    assert distance(one, other) == distance(other, one) == errors
