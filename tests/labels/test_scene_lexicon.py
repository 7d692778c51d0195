import itertools
import json
import random

import pytest

from pila.lab.world import SCENES
from pila.lab.world.registry import scene_lexicon, scene_words
from pila.labels.lexicon import stem
from pila.labels.noun_phrases import noun_phrases
from pila.labels.prompt_set import load_prompts
from pila.labels.scene_lexicon import SceneLexicon
from pila.labels.spelling import Speller, distance


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
        # another thing in the place of the scene's
        "a foam pillow is dropped on the floor and squashes flat",
        "a bowl of green jelly jiggles when the table is shaken",
        "a rubber band is stretched between two fingers",
        "a grandfather clock, its brass pendulum swinging back and forth",
        "wax drips down a burning candle and hardens",
        "air escapes from a punctured tyre and whirls up powder",
        "a disco ball reflects spots of light on the walls",
        # the scene's thing does something else
        "water droplets condense on the outside of a soda can",
        "a water balloon hits a wall and bursts",
        "a sugar cube dissolves in a cup of tea",
        "an aquarium with goldfish and rising bubbles",
        "a heavy ball on a string swings in slow arcs",
        "a pendulum bob swings back and forth on a long string",
        "a bubble of air rises in a tube of oil",
        "the temperature drops in a glass of water",
        # an acting person, animal or vehicle
        "a dog chases a ball",
        "a soccer player kicks the ball into the top corner",
        "a gymnast's springboard bends and springs back",
        "a train glides past the station without stopping",
        # another language, whose words are near the lexicon's
        "um carro vermelho na estrada à noite",
        "il barone corre sulla strada di notte",
    ],
)
def test_what_is_near_a_scene_is_none(prompt: str) -> None:
    assert scene_lexicon().recognise(prompt).scene is None


@pytest.mark.parametrize(
    ("prompt", "scene"),
    [
        ("a girl drops a rubber ball on the floor", "bouncing_ball"),
        ("a boy throws a ball through the air", "thrown_ball"),
        ("a player shoots the cue ball, which hits the red one off-centre", "billiards"),
        ("a soft foam ball is dropped, squashes flat and rebounds", "soft_ball"),
        ("basketball dribbling by itself without a player", "bouncing_ball"),
    ],
)
def test_a_person_who_acts_on_the_scene_s_thing_is_no_obstacle(prompt: str, scene: str) -> None:
    assert scene_lexicon().recognise(prompt).scene == scene


SCENES_BY_EYE = {
    "A basketball player shoots from half court; the ball arcs through the air in a perfect "
    "parabola": "thrown_ball",
    "A small blue ball moves at constant speed from left to right": "gliding_puck",
    "The light green ball is tossed gently upward and comes back down": "thrown_ball",
    "A big purple ball is launched at a steep angle to the left": "thrown_ball",
    "A diving board flexes and quivers long after the swimmer has left": "vibrating_beam",
    "A metal ruler clamped at the edge of a desk is bent down and released, humming as it "
    "vibrates": "vibrating_beam",
    "Water sloshes from side to side in a half-filled fish tank": "sloshing_tank",
    "Two dye streaks in a stirred tank twist into spirals": "dyed_vortex",
    "A lake surface gradually freezes over, ice spreading from the shore": "freezing_front",
    "Newton's cradle: the outer steel spheres click back and forth": "newtons_cradle",
    "A rubber ball bounces on concrete, each hop lower than the last": "bouncing_ball",
    "A large green ball moving right bumps into a small yellow ball at rest": "ball_collision",
    "The small red ball and the big white ball meet head-on and rebound": "ball_collision",
    "Hot patch on a steel plate slowly fades into its surroundings": "hot_spot",
    "A bright spot of heat diffuses across a metal sheet": "hot_spot",
    "Warm and cool aluminium blocks touch and reach the same temperature": "contact_bodies",
    "A laser beam bounces between two mirrors in a dark lab": "mirror",
    "A plane wave enters a slower medium and changes direction": "refraction",
    "An ice cube melts on a hot steel plate": "melting_disc",
    "Butter melting in a warm frying pan, close-up": "melting_disc",
    "A pot of water comes to a rolling boil on the stove": "boiling_pot",
    "A weight bobs up and down on a coil spring": "spring_mass",
}
"""Of the 200 labelled prompts, those whose clip shows the scene's things doing what it does."""
DOUBTFUL = {
    "Supercooled water in a bottle turns to ice from a single tap, spreading in a second",
    "Billiard balls scatter as the cue ball slams into the rack",
    "A kettle whistles as the water inside boils",
    "A stone is skipped across a calm pond, leaving rings of ripples",
    "Soup simmers gently in a clay pot, the cook stirs it",
}
"""Those that show the scene's process, on other or on further things."""


def test_of_the_labelled_prompts_only_scenes_are_recognised() -> None:
    found = {p.prompt: scene_lexicon().recognise(p.prompt).scene for p in load_prompts()}
    assigned = {prompt: scene for prompt, scene in found.items() if scene}
    assert {p: s for p, s in assigned.items() if p not in DOUBTFUL} == SCENES_BY_EYE


def test_no_figure_of_speech_is_a_scoring_term() -> None:
    """By stem, as they are matched: an idiom or a term of style takes its words from a scene."""
    words = scene_words()
    keys = {
        name: {
            tuple(stem(word, words["irregular"]) for word in term.replace("-", " ").split())
            for term in concept["terms"].lower().split(",")
            if term.strip()
        }
        for name, concept in words["concept"].items()
    }
    void = keys.pop("idiom") | keys.pop("style")
    assert {name: void & own for name, own in keys.items() if void & own} == {}


def test_a_scene_needs_its_thing_and_what_it_does() -> None:
    words = scene_words()
    with_needs = SceneLexicon(words).points("a red ball is soft and squishy, like a pancake")
    for scene in words["scene"].values():
        scene.pop("needs")
    without = SceneLexicon(words).points("a red ball is soft and squishy, like a pancake")
    assert with_needs["soft_ball"] < 1 <= without["soft_ball"]


def test_an_unknown_need_is_refused() -> None:
    words = scene_words()
    words["scene"]["mirror"]["needs"] = ["light|lamp"]
    with pytest.raises(ValueError, match="lamp"):
        SceneLexicon(words)


@pytest.mark.parametrize(
    ("text", "things"),
    [
        ("a foam pillow is dropped", ["pillow"]),
        ("a ball rolls down the long ramp", ["ball", "ramp"]),
        ("slowly, molten iron in a mould", ["iron", "mould"]),
        ("the ball rolling along, without a player", ["ball"]),
        ("hardly", []),
        ("", []),
    ],
)
def test_noun_phrases(text: str, things: list[str]) -> None:
    known = {"ball", "ramp", "iron"}.__contains__
    assert [phrase[-1] for phrase in noun_phrases(text, known)] == things


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


def test_words_of_another_language_are_not_mended() -> None:
    speller = Speller(["carrom", "ball"], ["a", "the", "with"])
    assert speller.mend("um carro vermelho na estrada à noite") == (
        "um carro vermelho na estrada à noite"
    )
    assert speller.mend("the carro with a ball") == "the carrom with a ball"


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
