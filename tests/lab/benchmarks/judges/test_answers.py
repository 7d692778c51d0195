"""Answers as judges write them: read where they are clear, refused where they are not."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pila.lab.benchmarks.judges.answers import PARSERS, read_choice

SCORE, YES, LETTER = PARSERS["score"], PARSERS["yes"], PARSERS["description"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("4", 4),
        (" 4. ", 4),
        ("**4**", 4),
        ("four", 4),
        ('{"answer": 4}', 4),
        ('{"answer": "4"}', 4),
        ('Sure!\n```json\n{"answer": 4}\n```', 4),
        ('<think>maybe {"answer": 2}, or 3?</think>{"answer": 4}', 4),
        ("I would rate it a 4 out of 5.", 4),
        ("Score: 4", 4),
        ("4/5", 4),
        ("The video shows 2 balls. My answer is 4.", 4),
        ('{"reason": "2 balls"} {"answer": 4}', 4),
    ],
)
def test_clear_scores(text, value):
    assert SCORE.read(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I'm sorry, I can't help with that.",
        "The two balls meet after 3 seconds and 1 of them stops.",
        "Between 3 and 4.",
        "Score: 2, or perhaps score: 4",
        "6",
        "0",
        "44",
        "4.5",
        '{"answer": 7}',
        '{"answer": null}',
        '{"score": 4',
        "<think>it is a 4",
        "no rating possible",
    ],
)
def test_refusals_and_rambling_are_no_scores(text):
    with pytest.raises(ValueError, match="answer of 1, 2, 3, 4, 5"):
        SCORE.read(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Yes", 1),
        ("no.", 0),
        ("Yes, the ball bounces.", 1),
        ('{"answer": "No"}', 0),
        ("The answer is: yes", 1),
    ],
)
def test_clear_yes_and_no(text, value):
    assert YES.read(text) == value


@pytest.mark.parametrize(
    "text",
    ["It is not clear.", "Yes and no.", "I know nothing about it", "eyes", "Answer yes or no"],
)
def test_unclear_yes_and_no(text):
    with pytest.raises(ValueError, match="yes, no"):
        YES.read(text)


def test_letters_and_rules():
    assert [LETTER.read(t) for t in ("A", "b", "Answer: C", '{"answer": "D"}')] == [0, 1, 2, 3]
    assert PARSERS["rule"].read('{"answer": 2}') == 2


@given(st.sampled_from("12345"), st.text(alphabet="abc xyz,.", max_size=30))
def test_an_object_is_read_through_any_noise(choice, noise):
    assert read_choice(f"{noise}\n{json.dumps({'answer': choice})}\n{noise}", "12345") == choice


@given(st.text(max_size=200))
def test_any_text_gives_a_choice_or_a_reason(text):
    try:
        value = SCORE.read(text)
    except ValueError as error:
        value = str(error)
    assert value in range(1, 6) or "it names" in str(value)


def test_official_parsers_take_the_first_digit_and_any_yes():
    assert PARSERS["official score"].read("The two balls: 4") == 2
    assert PARSERS["official yes"].read("I cannot say yes to this") == 1
    assert PARSERS["official yes"].read("I'm sorry, I can't help with that.") == 0


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('The score is 2? No.</think>{"answer": 4}', 4),
        ("[THINK]The score is 2[/THINK]4", 4),
        ('{"answer": 4} {"answer": 4}', 4),
    ],
)
def test_thoughts_of_every_kind_are_read_past(text, value):
    assert PARSERS["score"].read(text) == value


@pytest.mark.parametrize(
    "text", ["<think>the score is 4", '{"answer": 4}\nNot {"answer": 1}', "answer" + " " * 300_000]
)
def test_drafts_and_contradictions_are_no_scores(text):
    with pytest.raises(ValueError, match="answer"):
        PARSERS["score"].read(text)


def test_a_long_number_is_read_in_time():
    with pytest.raises(ValueError, match="no answer"):
        PARSERS["score"].read("9" * 300_000)
