"""Which object of a reply is its answer."""

import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pila.labels.answers import LabelAnswer, RefineAnswer, read_answer
from pila.labels.reading import after_thoughts, find_object

FLUID = '{"categories": ["fluid"], "evidence": {"fluid": ["pours"]}}'
DRAFT = '{"categories": ["optical"], "evidence": {}}'
NONE = '{"categories": [], "evidence": {}}'

SURE = {
    "alone": FLUID,
    "blanks around": f"\n\n  {FLUID}\n",
    "fenced": f"```json\n{FLUID}\n```",
    "fenced after a greeting": f"Sure! Here it is:\n```\n{FLUID}\n```\nI hope that this helps.",
    "after a greeting": f"Sure! Here it is:\n\n{FLUID}",
    "at the end of a sentence": f"The answer is {FLUID}.",
    "before a remark": f"{FLUID}\n\nThe water {{as said}} is a fluid.",
    "over several lines": json.dumps(json.loads(FLUID), indent=2),
    "in a list": f"[{FLUID}]",
    "twice the same": f"{FLUID}\n{FLUID}",
    "thoughts": f"<think>Perhaps {DRAFT}?</think>{FLUID}",
    "thoughts in capitals": f"<THINK>\nPerhaps\n{DRAFT}\n</THINK >\n{FLUID}",
    "thoughts, opened by the template": f"Perhaps {DRAFT}? No.\n</think>\n\n{FLUID}",
    "thoughts twice": f"<think>{DRAFT}</think>\n<think>{DRAFT}</think>\n{FLUID}",
    "thinking": f"<thinking>\n{DRAFT}\n</thinking>\n{FLUID}",
    "Mistral's thoughts": f"[THINK]{DRAFT}[/THINK]{FLUID}",
    "Kimi's thoughts": f"◁think▷{DRAFT}◁/think▷{FLUID}",
    "channels": (
        f"<|channel|>analysis<|message|>We map {DRAFT}...<|end|><|start|>assistant"
        f"<|channel|>final<|message|>{FLUID}<|return|>"
    ),
    "a token of the template at the end": f"{FLUID}<|im_end|>",
    "a mark inside of a text": '{"categories": ["fluid"], "evidence": {"fluid": ["<think>"]}}',
}
DOUBTFUL = {
    "an example after it": f"{FLUID}\n\nNote: if nothing happened I would answer {NONE}",
    "another one after it": f"{FLUID} No, wait: {DRAFT}",
    "on a line between others": f"Perhaps so:\n{FLUID}\nThat is what I think of it.",
    "an example before it": f"If nothing happened, {NONE} would do. So:\n{FLUID}",
}
NO_ANSWER = {
    "thoughts without end": f"<think>Perhaps {FLUID} but wait",
    "thoughts that end with a draft": f"<think>\nCould it be {FLUID}",
    "a draft on a line of its own": f"<think>\nPerhaps\n{FLUID}\n",
    "further thoughts without end": f"<think>a</think>\n<think>Perhaps {FLUID}",
    "thoughts after it": f"{FLUID}\n<think>or",
    "Mistral's, without end": f"[THINK]Perhaps {FLUID}",
    "channels without the last": f"<|channel|>analysis<|message|>We map {FLUID}",
    "a draft in a sentence": f"Perhaps {FLUID} but wait, that is not right, since",
    "two in a sentence": f"It is {FLUID} or {DRAFT}",
    "two on lines": f"Either\n{FLUID}\nor\n{DRAFT}",
    "two fences": f"```\n{FLUID}\n```\nor\n```\n{DRAFT}\n```",
    "a broken one before an example": f"{FLUID[:-1]},}}\n\nFor example {NONE}",
    "single quotes before an example": FLUID.replace('"', "'") + f"\n\nNot {NONE}",
    "cut off": FLUID[:30],
    "none": "I do not know.",
    "a list of names": '["fluid"]',
    "many": f"{FLUID}\n" * 100,
}


@pytest.mark.parametrize("name", SURE)
def test_an_answer_in_its_place_is_sure(name: str) -> None:
    answer, sure = read_answer(LabelAnswer, SURE[name])
    assert answer.chosen() == ("fluid",)
    assert sure


@pytest.mark.parametrize("name", DOUBTFUL)
def test_an_answer_that_something_speaks_against_is_doubtful(name: str) -> None:
    answer, sure = read_answer(LabelAnswer, DOUBTFUL[name])
    assert answer.chosen() == ("fluid",)
    assert not sure


@pytest.mark.parametrize("name", NO_ANSWER)
def test_drafts_and_choices_are_no_answer(name: str) -> None:
    with pytest.raises(ValueError, match=r"JSON object") as caught:
        read_answer(LabelAnswer, NO_ANSWER[name])
    assert "\n" not in str(caught.value)


N = 200_000
HOSTILE = {
    "opening braces": "{" * N,
    "closing braces": "}" * N,
    "objects inside of objects": '{"a":' * N,
    "lists inside of lists": '{"a":' + "[" * N,
    "pairs of braces": "{}" * N,
    "quotes": '{"' * N,
    "a text without end": '{"a": "' + "x" * N,
    "backslashes": '{"a": "' + "\\" * (N + 1),
    "lines of braces": "{\n" * N,
    "fences": "```" * N,
    "fences with braces": "```{\n" * N,
    "marks": "<think>" * N,
    "marks that end": "</think>" * N,
    "half marks": "</think " * N,
    "channels": "<|channel|>" * N,
    "blanks": "{" + " " * N,
    "a number": '{"categories": ' + "9" * N + "}",
    "surrogates": '{"refined_prompt": "' + "\\ud800" * 10 + '"}',
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_reply_is_refused_on_one_short_line(name: str) -> None:
    # What is not linear takes minutes to hours here.
    for kind in (LabelAnswer, RefineAnswer):
        with pytest.raises(ValueError, match=r".") as caught:
            read_answer(kind, HOSTILE[name])
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 500
        str(caught.value).encode()


def test_reading_takes_memory_in_proportion() -> None:
    tracemalloc.start()
    with pytest.raises(ValueError, match="JSON object"):
        read_answer(LabelAnswer, "{}" * 500_000)
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()


@given(st.text(alphabet='{}[]"\\:,a \n`</think>'), st.booleans())
def test_any_noise_is_read_or_refused(noise: str, before: bool) -> None:
    try:
        read_answer(LabelAnswer, f"{noise}\n{FLUID}" if before else f"{FLUID}\n{noise}")
    except ValueError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either is right


def test_what_follows_thoughts() -> None:
    assert after_thoughts("4") == "4"
    assert after_thoughts("a</think> 4") == " 4"
    with pytest.raises(ValueError, match="thoughts have no end"):
        after_thoughts("<think>4")


def test_the_objects_beside_the_answer_are_told() -> None:
    found = find_object('{"a": 1} or {"b": 2}')
    assert (found.value, found.others) == ({"a": 1}, ({"b": 2},))
