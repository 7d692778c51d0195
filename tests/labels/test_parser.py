import ast
import json
import pickle
import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pila import labels
from pila.errors import InputError
from pila.labels import check_prompt, make_parser, parse_categories
from pila.labels.parser import (
    FAILURES,
    PAUSE,
    PROMPT_LIMIT,
    AutoParser,
    CircuitBreaker,
    InvalidAnswer,
    Parse,
    ParserUnavailable,
)
from pila.physics.bank import Category


@pytest.mark.parametrize("prompt", ["", "   ", "\n\t"])
def test_empty_prompt(prompt: str) -> None:
    with pytest.raises(InputError, match="the prompt is empty"):
        check_prompt(prompt)
    with pytest.raises(InputError, match="the prompt is empty"):
        make_parser("offline")(prompt)


def test_long_prompt() -> None:
    with pytest.raises(InputError, match=r"10,000 characters; it must have fewer than 10,000"):
        check_prompt("x" * PROMPT_LIMIT)
    assert check_prompt("x" * (PROMPT_LIMIT - 1)) == "x" * (PROMPT_LIMIT - 1)


def test_prompt_that_is_no_text() -> None:
    with pytest.raises(InputError, match="the prompt is list, not text"):
        check_prompt(["a"])  # type: ignore[arg-type]


def test_categories_are_read_forgivingly() -> None:
    expected = (Category.RIGID_BODY, Category.COLLISION)
    assert parse_categories("rigid_body,collision") == expected
    assert parse_categories(" Rigid Body , collision,rigid-body, ") == expected


@pytest.mark.parametrize(
    ("typo", "hint"), [("colision", "collision"), ("termal", "thermal"), ("rigid", "rigid_body")]
)
def test_typos_get_a_suggestion(typo: str, hint: str) -> None:
    with pytest.raises(InputError, match=f"unknown category '{typo}'; did you mean {hint}"):
        parse_categories(f"fluid,{typo}")


@pytest.mark.parametrize("text", ["", " ", ",,"])
def test_no_categories(text: str) -> None:
    with pytest.raises(InputError, match="at least 1 of rigid_body"):
        parse_categories(text)


def test_unknown_parser() -> None:
    with pytest.raises(InputError, match="one of auto, offline, llm"):
        make_parser("magic")


def test_a_parse_is_plain_json() -> None:
    parse = make_parser("offline")("a ball bounces on the floor")
    content = json.loads(json.dumps(parse.to_dict()))
    assert content["categories"] == ["rigid_body", "collision"]
    assert set(content) == {"refined_prompt", "categories", "evidence", "parser", "note"}


@given(st.text(min_size=1, max_size=200))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    parser = make_parser("offline")
    if not text.strip() or any("\ud800" <= c <= "\udfff" or c == "\0" for c in text):
        with pytest.raises(InputError):
            parser(text)
        return
    parse = parser(text)
    assert parse == parser(text)
    assert len(parse.categories) <= 3
    assert set(parse.evidence) == set(parse.categories)
    assert all(parse.evidence.values())


class Scripted:
    """Answers, or fails as it is told, and counts."""

    def __init__(self) -> None:
        self.fault: ParserUnavailable | None = None
        self.asked = 0

    def __call__(self, prompt: str) -> Parse:
        self.asked += 1
        if self.fault is not None:
            raise self.fault
        return Parse(refined_prompt=prompt, categories=(), parser="llm")


def test_a_server_that_fails_again_and_again_has_a_pause() -> None:
    now, llm = [1000.0], Scripted()
    parser = AutoParser(llm, make_parser("offline"), CircuitBreaker(lambda: now[0]))
    llm.fault = ParserUnavailable("no answer within 30 s")
    for _ in range(FAILURES - 1):
        parser("a ball falls")
    llm.fault = None
    assert parser("a ball falls").parser == "llm"  # and the count begins anew
    llm.fault = ParserUnavailable("no answer within 30 s")
    notes = [parser("a ball falls").note for _ in range(FAILURES + 4)]
    assert llm.asked == 2 * FAILURES
    assert set(notes[:FAILURES]) == {"fallback: no answer within 30 s"}
    assert set(notes[FAILURES:]) == {
        "fallback: the language model failed 3 times in a row and has a pause"
    }
    now[0] += PAUSE
    assert [parser("a ball falls").parser for _ in range(3)] == ["offline"] * 3
    assert llm.asked == 2 * FAILURES + 1, "one more trial, and the next pause"
    now[0] += PAUSE
    llm.fault = None
    assert [parser("a ball falls").parser for _ in range(3)] == ["llm"] * 3


def test_answers_that_do_not_fit_are_no_reason_for_a_pause() -> None:
    llm = Scripted()
    llm.fault = InvalidAnswer("the answer does not fit")
    parser = AutoParser(llm, make_parser("offline"))
    for _ in range(FAILURES + 2):
        assert parser("a ball falls").note == "fallback: the answer does not fit"
    assert llm.asked == FAILURES + 2


def test_the_pause_is_not_waited_for_by_many() -> None:
    now = [0.0]
    patience = CircuitBreaker(lambda: now[0])
    assert [patience.failed() for _ in range(FAILURES)] == [False, False, True]
    now[0] += PAUSE
    assert [patience.may_ask() for _ in range(3)] == [True, False, False]


def test_a_parser_can_go_to_another_process() -> None:
    parser = AutoParser(Scripted(), make_parser("offline"), CircuitBreaker(time.monotonic))
    for _ in range(FAILURES):
        parser.patience.failed()
    again = pickle.loads(pickle.dumps(parser))
    assert again.patience.may_ask()
    assert again("a ball falls").parser == "llm"


def test_the_client_is_imported_only_when_a_model_is_asked() -> None:
    for path in Path(labels.__file__).parent.glob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = set(re.findall(r"[a-z]+", ast.unparse(node)))
                assert not {"openai", "httpx"} & names, path.name
