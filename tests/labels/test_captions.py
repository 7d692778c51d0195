"""A free prompt is completed to a caption: what it says is kept, what it leaves open is drawn."""

import json
import random

import numpy as np
import pytest

from pila.errors import InputError
from pila.lab.world import SCENES
from pila.lab.world.caption_data import caption_data
from pila.lab.world.captions import write_caption
from pila.labels.captions import FILE, CaptionBook, CaptionData, read_captions
from pila.pipelines.locate import EMBEDDED_MODEL

REMEDY = "run `python -m pila.lab.world.caption_data` and commit what it writes"


@pytest.fixture(scope="module")
def book() -> CaptionBook:
    found = read_captions(EMBEDDED_MODEL)
    assert found is not None
    return found


def some_words(scene, rng: np.random.Generator, book: CaptionBook) -> dict[str, str]:
    """Words of every gap that the scene can show together."""
    while True:
        words = {gap: o[int(rng.integers(len(o)))] for gap, o in scene.words.items()}
        filled = book.scenes[scene.name].fill(words, 0)
        if book.scenes[scene.name].said(filled) == words:
            return words


def test_the_embedded_models_captions_are_those_of_the_world():
    committed = json.loads((EMBEDDED_MODEL / FILE).read_text("utf-8"))
    assert committed == json.loads(json.dumps(caption_data(list(SCENES)))), REMEDY


def test_no_held_out_form_is_among_them(book):
    for name, scene in SCENES.items():
        assert not set(book.scenes[name].forms.templates) & set(scene.templates[-4:])


@pytest.mark.parametrize("name", SCENES)
def test_a_caption_stays_as_it_is(book, name):
    rng = np.random.default_rng(0)
    for _ in range(10):
        words = some_words(SCENES[name], rng, book)
        caption = write_caption(SCENES[name].templates, words, rng, held_out=False)
        for typed in (caption, caption[0].upper() + caption[1:] + "."):
            done = book.complete(typed, 5)
            assert (done.scene, done.caption, done.said) == (name, typed, words)


@pytest.mark.parametrize("name", SCENES)
def test_another_form_keeps_all_that_it_says(book, name):
    rng = np.random.default_rng(1)
    for seed in range(20):
        words = some_words(SCENES[name], rng, book)
        held_out = write_caption(SCENES[name].templates, words, rng, held_out=True)
        done = book.complete(held_out, seed)
        assert (done.scene, done.said) == (name, words)
        assert book.scenes[name].as_caption(done.caption) == words


@pytest.mark.parametrize("name", SCENES)
def test_what_is_open_is_drawn_from_the_seed(book, name):
    scene = book.scenes[name]
    captions = [scene.fill({}, seed) for seed in range(40)]
    assert captions == [scene.fill({}, seed) for seed in range(40)]
    assert len(set(captions)) > 20
    for caption in captions:
        words = scene.as_caption(caption)
        assert words is not None
        distinct = [words[gap] for gap in scene.forms.distinct]
        assert len(set(distinct)) == len(distinct)


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("two rubber balls collide head-on", {}),
        ("a blue ball is hit by a tiny red ball",
         {"colour": "red", "other": "blue", "size": "small"}),
        ("a red marble smashes into a huge green marble coming from the right",
         {"colour": "red", "other": "green", "other_size": "large", "side": "right"}),
        ("a purple ball is thrown from left to right", {"colour": "purple", "side": "right"}),
        ("a crimson ball thrown leftwards, slow motion", {"colour": "red", "side": "left"}),
        ("butter melts on a hot pan", {"substance": "butter", "plate": "hot"}),
        ("a little orange ball bounces on a blue floor", {"size": "small", "colour": "orange"}),
        ("a baton twirls counter-clockwise, half yellow, half blue",
         {"first": "yellow", "second": "blue", "sense": "anticlockwise"}),
    ],
)  # fmt: skip
def test_what_a_prompt_says_is_kept(book, prompt, said):
    done = book.complete(prompt, 0)
    assert done.said == said
    assert said.items() <= (book.scenes[done.scene].as_caption(done.caption) or {}).items()


def test_colours_that_a_scene_cannot_show_together_leave_the_second_open(book):
    done = book.complete("a red ball hits another red ball", 3)
    assert done.said == {"colour": "red"}
    assert book.scenes["ball_collision"].as_caption(done.caption)["other"] != "red"


def test_a_billiard_ball_veers_to_where_it_can(book):
    scene = book.scenes["billiards"]
    for seed in range(30):
        words = scene.as_caption(scene.fill({"side": "left"}, seed))
        assert words["way"] in ("veering up", "veering down")


def test_other_prompts_get_captions_of_three_scenes_and_no_scene(book):
    done = book.complete("a dog runs along a beach at sunset", 0)
    assert (done.scene, done.caption, len(done.examples)) == (None, None, 3)
    assert all(book.recognise(example).scene for example in done.examples)


def test_any_text_is_taken(book):
    draw = random.Random(0)
    for _ in range(300):
        text = "".join(chr(draw.choice([draw.randrange(32, 127), draw.randrange(0x3000)]))
                       for _ in range(draw.randrange(1, 60)))  # fmt: skip
        book.complete(text or "x", draw.randrange(2**63))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not (readable JSON|UTF-8)"),
        ("[" * 100_000, "is not (readable JSON|UTF-8)"),
        ("[]", "captions.json"),
        ('{"pila_captions": 2}', "captions.json"),
        (b"\xff\xfe\x00", "is not (readable JSON|UTF-8)"),
        (" " * 5_000_000, "at most"),
    ],
)
def test_a_broken_file_is_refused_in_one_line(tmp_path, content, message):
    data = content if isinstance(content, bytes) else content.encode()
    (tmp_path / FILE).write_bytes(data)
    with pytest.raises(InputError, match=message) as error:
        read_captions(tmp_path)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 600


def test_a_model_without_captions_has_none(tmp_path):
    assert read_captions(tmp_path) is None


def test_the_data_survives_json(book):
    again = CaptionBook(CaptionData.model_validate(json.loads(book.data.model_dump_json())))
    prompt = "two marbles bump into each other"
    assert again.complete(prompt, 1) == book.complete(prompt, 1)
