"""One request, many servers: what each of them refuses, and how each of them answers."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.labels.chat_server import HANG, completion, serve
from tests.raw_server import HEAD, Behaviour, again_and_again
from tests.raw_server import serve as serve_raw

from pila.labels.llm import LlmConfig, LlmParser, template
from pila.labels.parser import ParserUnavailable, make_parser
from pila.physics.bank import Category

REFINED = json.dumps({"refined_prompt": "Water pours from a jug into a glass."})
LABELS = json.dumps({"categories": ["fluid"], "evidence": {"fluid": ["pours"]}})
DRAFTS = {"refine": '{"refined_prompt": "a draft"}', "label": '{"categories": ["optical"]}'}
PARTS = ("response_format", "temperature", "system")

Request = dict[str, Any]


@pytest.fixture(autouse=True)
def no_settings(
    no_network_variables: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("PILA_LLM_TIMEOUT", "PILA_LLM_API_KEY", "OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def parser_for(url: str, *, timeout: float = 20.0) -> LlmParser:
    return LlmParser(LlmConfig(base_url=url, model="tiny", timeout=timeout))


def kept() -> list[Path]:
    import os

    return list(Path(os.environ["XDG_CACHE_HOME"]).rglob("*.json"))


def step(request: Request) -> str:
    """Which template a request holds, as a message of its own or as part of another."""
    said = json.dumps([m["content"] for m in request["messages"]])
    return "label" if "categories" in said else "refine"


def right(request: Request) -> str:
    return LABELS if step(request) == "label" else REFINED


def has(request: Request, part: str) -> bool:
    if part == "system":
        return any(m["role"] == "system" for m in request["messages"])
    return part in request


def refusing(status: int, body: Any, *parts: str) -> Callable[[Request], Any]:
    def answer(request: Request) -> Any:
        found = [part for part in parts if has(request, part)]
        if not found:
            return right(request)
        said = body(found[0]) if callable(body) else body
        return status, said

    return answer


@pytest.mark.parametrize("status", [400, 422, 500])
@pytest.mark.parametrize(
    "parts", [(part,) for part in PARTS] + [PARTS, ("temperature", "system")], ids="+".join
)
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(lambda part: {"error": {"message": f"'{part}' is not known"}}, id="names it"),
        pytest.param(lambda part: f"body: {part}: no such field".encode(), id="names it in text"),
        pytest.param({"detail": [{"msg": "extra fields not permitted"}]}, id="names nothing"),
        pytest.param(b"", id="says nothing"),
    ],
)
def test_what_a_server_refuses_is_left_out(status: int, parts: tuple[str, ...], body: Any) -> None:
    with serve(refusing(status, body, *parts)) as chat:
        assert parser_for(chat.url)("water is poured").categories == (Category.FLUID,)
    last = chat.requests[-1]
    assert not any(has(last, part) for part in parts)
    assert template("label") in last["messages"][0]["content"]
    assert "Water pours from a jug" in last["messages"][-1]["content"]


@pytest.mark.parametrize("part", PARTS)
def test_a_refusal_that_names_a_part_costs_that_part_alone_and_once(part: str) -> None:
    named = refusing(400, {"error": {"message": f"{part} is not supported"}}, part)
    with serve(named) as chat:
        parser_for(chat.url)("water is poured")
    assert [has(r, part) for r in chat.requests] == [True, False, False]
    assert all(has(chat.requests[-1], other) for other in PARTS if other != part)


def test_a_server_that_fails_once_is_asked_for_the_same_later() -> None:
    with serve(500, REFINED, LABELS) as chat:
        parser_for(chat.url)("water is poured")
    assert [has(r, "response_format") for r in chat.requests] == [True, False, True]


def test_an_answer_at_another_temperature_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    with serve(refusing(400, {"message": "temperature"}, "temperature")) as chat:
        parser_for(chat.url)("water is poured")
    assert caplog.text.count("takes no temperature of 0") == 1


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (404, b"404 page not found", "404: 404 page not found"),
        (404, {"error": {"message": "model 'm' not found"}}, "404: model 'm' not found"),
        (401, {"detail": "Invalid\nkey"}, "401: Invalid key"),
        (400, {"object": "error", "message": "maximum context length"}, "maximum context length"),
        (502, b"<html><h1>Bad Gateway</h1></html>", "502: Bad Gateway"),
        (429, {"error": "slow down"}, "429: slow down"),
        (400, b"[" * 100_000, "400: [[["),
        (400, b"\xff\x00\x1b[31m", "HTTP status 400"),
        (308, b"", "308, which sends to no address"),
        (200, b"<!doctype html><title>Open WebUI</title>", "no chat completion: 'Open WebUI'"),
        (200, b"[" * 100_000, "no chat completion"),
        (200, b'{"choices": ' + b"9" * 5000 + b"}", "no chat completion"),
        (200, b"null", "no chat completion"),
        (200, {"choices": [{"message": "text"}]}, "no chat completion"),
        (200, {"choices": ["text"]}, "no chat completion"),
        (200, completion(None, reasoning_content=LABELS), "the reply holds no text"),
        (200, completion({"text": LABELS}), "the reply holds no text"),
        (200, completion(None, refusal="I can't help."), "I can't help."),
    ],
)
def test_the_servers_own_words_are_kept(status: int, body: Any, words: str) -> None:
    with serve((status, body)) as chat, pytest.raises(ParserUnavailable) as caught:
        parser_for(chat.url)("water is poured")
    message = str(caught.value)
    assert words in message
    assert message.startswith(f"language model tiny at {chat.url.removesuffix('/v1')}: ")
    assert message.isprintable()
    assert len(message) < 500
    assert not kept()


LOADING = [
    (503, {"error": {"message": "Loading model", "code": 503}}),
    (503, b"<html>The model is warming up</html>"),
    (200, {"error": {"message": "model 'm' is loading", "code": 503}}),
    (429, {"detail": "the model is not ready"}),
]


@pytest.mark.parametrize("loading", LOADING)
def test_a_server_that_loads_its_model_is_waited_for(loading: Any, monkeypatch) -> None:
    monkeypatch.setattr("pila.labels.chat._PAUSES", (0.01,))
    with serve(loading, loading, loading, REFINED, LABELS) as chat:
        assert parser_for(chat.url)("water is poured").categories == (Category.FLUID,)
    assert len(chat.requests) == 5
    assert len({str(request) for request in chat.requests[:4]}) == 1, "nothing is left out for it"


@pytest.mark.parametrize("loading", LOADING)
def test_one_that_loads_for_ever_ends_within_the_limit(loading: Any, monkeypatch) -> None:
    monkeypatch.setattr("pila.labels.chat._PAUSES", (0.2,))
    with serve(loading) as chat, pytest.raises(ParserUnavailable, match=r"within 0\.5 s"):
        parser_for(chat.url, timeout=0.5)("water is poured")
    assert len(chat.requests) <= 4


@pytest.mark.parametrize(
    "parts",
    [
        lambda text: [{"type": "text", "text": text}],
        lambda text: [{"type": "text", "text": text[:9]}, {"type": "text", "text": text[9:]}],
        lambda text: [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, text],
        lambda text: [{"type": "output_text", "text": text}, {"type": "image_url"}, 7, None],
    ],
)
def test_a_content_in_parts_is_read(parts: Callable[[str], list[Any]]) -> None:
    with serve(lambda request: completion(parts(right(request)))) as chat:
        assert parser_for(chat.url)("water is poured").categories == (Category.FLUID,)


@pytest.mark.parametrize("empty", ["", " \n", [], [{"type": "text", "text": ""}]])
def test_an_empty_answer_is_not_sent_back(empty: Any) -> None:
    seen: list[str] = []

    def answer(request: Request) -> Any:
        roles = [m["role"] for m in request["messages"]]
        if any(not m["content"].strip() for m in request["messages"]):
            return 400, {"error": {"message": "all messages must have non-empty content"}}
        seen.append("".join(role[0] for role in roles))
        return completion(empty) if len(seen) == 1 else right(request)

    with serve(answer) as chat:
        assert parser_for(chat.url)("water is poured").categories == (Category.FLUID,)
    assert seen == ["su", "su", "su"]
    told = chat.requests[1]["messages"][1]["content"]
    assert told.startswith("water is poured\n\nYour answer was refused: it is empty")


def test_a_long_refused_answer_is_shown_in_part() -> None:
    with serve("x" * 100_000, REFINED, LABELS) as chat:
        parser_for(chat.url)("water is poured")
    assert len(chat.requests[1]["messages"][2]["content"]) < 5_000


@pytest.mark.parametrize("which", ["refine", "label"])
@pytest.mark.parametrize(
    "reply",
    [
        lambda draft: completion(f"<think>\nPerhaps {draft}"),
        lambda draft: completion(f"<think>Perhaps {draft}? Hmm, wait"),
        lambda draft: completion(f"Perhaps {draft}? Hmm, wait, since"),
        lambda draft: cut(f"Perhaps {draft}"),
        lambda draft: cut(draft),
    ],
)
def test_a_draft_is_no_answer_and_never_kept(which: str, reply: Callable[[str], Any]) -> None:
    def answer(request: Request) -> Any:
        return reply(DRAFTS[which]) if step(request) == which else right(request)

    with serve(answer) as chat, pytest.raises(ParserUnavailable, match=rf"2 times \({which}\)"):
        parser_for(chat.url)("water is poured")
    assert not kept()


def cut(content: str) -> dict[str, Any]:
    """A completion that the server's limit of length has ended."""
    whole = completion(content)
    whole["choices"][0]["finish_reason"] = "length"
    return whole


def test_a_doubtful_answer_is_used_and_not_kept() -> None:
    remark = 'Note: if nothing happened I would answer {"categories": []}'
    with serve(REFINED, f"{LABELS}\n\n{remark}", REFINED, LABELS) as chat:
        parser = parser_for(chat.url)
        assert parser("water is poured").categories == (Category.FLUID,)
        assert not kept()
        parser("water is poured")
        assert len(kept()) == 1


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(again_and_again(HEAD + b"\r\n", b" ", pause=0.05), id="byte by byte"),
        pytest.param(again_and_again(HEAD, b"X-A: 1\r\n", pause=0.05), id="headers"),
        pytest.param(again_and_again(b"", b"", pause=0.05), id="nothing"),
    ],
)
def test_the_limit_is_for_the_prompt_as_a_whole(
    behaviour: Behaviour, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PILA_LLM_TIMEOUT", "0.4")
    with serve_raw(behaviour) as raw:
        with pytest.raises(ParserUnavailable, match=r"no answer within 0\.4 s, once \(refine\)"):
            make_parser("llm", base_url=raw.url, model="m")("water pours")
        assert len(raw.received) == 1


def test_both_answers_share_the_limit() -> None:
    with serve(REFINED, HANG) as chat, pytest.raises(ParserUnavailable, match=r"\(label\)"):
        parser_for(chat.url, timeout=1.0)("water is poured")
    assert len(chat.requests) == 2


def test_a_reply_without_end_is_given_up() -> None:
    endless = again_and_again(HEAD + b"\r\n", b" " * 65536)
    with serve_raw(endless) as raw, pytest.raises(ParserUnavailable, match="more than 1 MB"):
        parser_for(raw.url)("water pours")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PILA_LLM_TIMEOUT", "soon"),
        ("PILA_LLM_TIMEOUT", "0"),
        ("PILA_LLM_TIMEOUT", "-1"),
        ("PILA_LLM_TIMEOUT", "nan"),
        ("PILA_LLM_TIMEOUT", "inf"),
        ("PILA_LLM_TIMEOUT", "1e9"),
        ("PILA_LLM_BASE_URL", "http://[::1/v1"),
        ("PILA_LLM_BASE_URL", "localhost:8000/v1"),
        ("PILA_LLM_BASE_URL", "http://host:99999/v1"),
        ("PILA_LLM_API_KEY", "a\nb"),
        ("PILA_LLM_API_KEY", "schlüssel"),
        ("all_proxy", "socks://127.0.0.1:7891/"),
        ("ALL_PROXY", "socks4://127.0.0.1:1080"),
        ("HTTPS_PROXY", "http://[::1"),
        ("https_proxy", "http://127.0.0.1:9"),
        ("SSL_CERT_FILE", "/nonexistent.pem"),
        ("SSL_CERT_DIR", "/nonexistent"),
    ],
)
def test_auto_falls_back_and_names_the_variable(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PILA_LLM_BASE_URL", "https://model.example/v1")
    monkeypatch.setenv("PILA_LLM_MODEL", "m")
    monkeypatch.setenv(name, value)
    parse = make_parser("auto")("water pours into a glass")
    assert (parse.parser, parse.categories) == ("offline", (Category.FLUID,))
    assert parse.note.startswith("fallback: ")
    assert name in parse.note
    assert [r.levelno for r in caplog.records if r.name.startswith("pila")] == [logging.WARNING]
    with pytest.raises(ParserUnavailable if "URL" not in name else ValueError, match=name):
        make_parser("llm")("water pours into a glass")


@pytest.mark.parametrize(
    ("base", "path"),
    [
        ("/v1", "/v1/chat/completions"),
        ("/v1/", "/v1/chat/completions"),
        ("/v1/chat/completions", "/v1/chat/completions"),
        ("/v1?api-version=1", "/v1/chat/completions?api-version=1"),
        ("", "/chat/completions"),
    ],
)
def test_where_a_server_is_asked(base: str, path: str) -> None:
    answer = json.dumps(completion(REFINED)).encode()
    head = HEAD + b"Content-Length: %d\r\n\r\n" % len(answer)
    with serve_raw(lambda client, raw: client.sendall(head + answer)) as raw:
        with pytest.raises(ParserUnavailable, match="categories: Field required"):
            parser_for(raw.url.removesuffix("/v1") + base)("water pours")
        assert raw.received[0].startswith(f"POST {path} HTTP/1.1".encode())


@pytest.fixture
def chat_of_right():
    with serve(right) as chat:
        yield chat
