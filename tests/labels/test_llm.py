import json
import logging
from pathlib import Path

import pytest
from tests.labels.chat_server import HANG, Chat, serve

from pila.labels.answers import KeptAnswer, default_cache_dir, load_kept
from pila.labels.llm import LlmConfig, LlmParser, template
from pila.labels.parser import InvalidAnswer, ParserUnavailable, make_parser
from pila.network import shown_address
from pila.physics.bank import Category

REFINED = json.dumps({"refined_prompt": "A ball falls and bounces off the floor."})
LABELS = json.dumps(
    {
        "categories": ["rigid_body", "collision"],
        "evidence": {"rigid_body": ["ball falls"], "collision": ["bounces"]},
    }
)
BOTH = (Category.RIGID_BODY, Category.COLLISION)


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for prefix in ("PILA_LLM", "OPENAI"):
        for name in ("BASE_URL", "MODEL", "API_KEY"):
            monkeypatch.delenv(f"{prefix}_{name}", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def parser_for(chat: Chat, *, timeout: float = 5.0, cache: bool = False) -> LlmParser:
    return LlmParser(LlmConfig(base_url=chat.url, model="tiny", timeout=timeout, cache=cache))


def test_two_templates_at_temperature_zero() -> None:
    with serve(REFINED, LABELS) as chat:
        parse = parser_for(chat)("a ball drops")
    assert parse.refined_prompt == "A ball falls and bounces off the floor."
    assert parse.categories == BOTH
    assert parse.evidence[Category.COLLISION] == ("bounces",)
    assert (parse.parser, parse.note) == ("llm", "tiny")
    refine, label = chat.requests
    assert refine["temperature"] == label["temperature"] == 0
    assert refine["model"] == "tiny"
    assert [m["content"] for m in refine["messages"]] == [template("refine"), "a ball drops"]
    assert [m["content"] for m in label["messages"]] == [template("label"), parse.refined_prompt]


def test_thoughts_fences_and_remarks_are_read_past() -> None:
    wordy = f'<think>maybe {{"categories": ["fluid"]}}?</think>Sure!\n```json\n{LABELS}\n```\nDone.'
    with serve(REFINED, wordy) as chat:
        assert parser_for(chat)("a ball drops").categories == BOTH


def test_malformed_json_is_asked_for_again() -> None:
    with serve('{"refined_prompt": "A ball', REFINED, LABELS) as chat:
        assert parser_for(chat)("a ball drops").categories == BOTH
    assert len(chat.requests) == 3
    told = chat.requests[1]["messages"]
    assert told[2] == {"role": "assistant", "content": '{"refined_prompt": "A ball'}
    assert "no valid JSON object" in told[3]["content"]


def test_unknown_label_is_refused_and_corrected() -> None:
    with serve(REFINED, '{"categories": ["rigid_body", "elasticity"]}', LABELS) as chat:
        assert parser_for(chat)("a ball drops").categories == BOTH
    told = chat.requests[2]["messages"][3]["content"]
    assert "unknown category 'elasticity'" in told
    assert "did you mean elastic" in told


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        ('{"categories": ["magic"]}', "unknown category 'magic'"),
        ('{"categories": ["fluid", "thermal", "optical", "elastic"]}', "at most 3"),
        ('{"categories": "fluid"}', "valid list"),
        ('{"categories": [7]}', "a category is a name, not 7"),
        ("{}", "categories: Field required"),
        ("no idea", "no valid JSON object"),
        ("", "no valid JSON object"),
        ("{" * 5000, "no valid JSON object"),
    ],
)
def test_twice_wrong_is_an_error_that_says_why(answer: str, fault: str) -> None:
    with serve(REFINED, answer) as chat, pytest.raises(ParserUnavailable) as caught:
        parser_for(chat)("a ball drops")
    assert len(chat.requests) == 3
    message = str(caught.value)
    assert fault in message
    assert chat.url.removesuffix("/v1") in message
    assert type(caught.value) is InvalidAnswer
    assert "--parser offline" in message
    assert "\n" not in message


def test_names_are_normalised_and_repeats_and_odd_evidence_dropped() -> None:
    answer = '{"categories": ["Rigid Body", "rigid-body"], "evidence": ["ball", 3]}'
    with serve(REFINED, answer) as chat:
        parse = parser_for(chat)("a ball drops")
    assert parse.categories == (Category.RIGID_BODY,)
    assert parse.evidence == {Category.RIGID_BODY: ()}


def test_no_mechanism_is_an_answer() -> None:
    with serve(REFINED, '{"categories": []}') as chat:
        assert parser_for(chat)("a lemon").categories == ()


def test_a_hang_ends_after_one_timeout() -> None:
    with (
        serve(HANG) as chat,
        pytest.raises(ParserUnavailable, match=r"no answer within 0\.2 s, once"),
    ):
        parser_for(chat, timeout=0.2)("a ball drops")
    assert len(chat.requests) == 1


def test_a_500_is_asked_again_once() -> None:
    with serve(500, REFINED, LABELS) as chat:
        assert parser_for(chat)("a ball drops").categories == BOTH
    said = "HTTP status 500: scripted, 2 times"
    with serve(500) as chat, pytest.raises(ParserUnavailable, match=said):
        parser_for(chat)("a ball drops")
    # Twice as it is, without JSON mode, without a system message, and without a temperature.
    assert len(chat.requests) == 8


def test_a_refused_key_is_not_asked_again() -> None:
    with serve(401) as chat, pytest.raises(ParserUnavailable, match="HTTP status 401"):
        parser_for(chat)("a ball drops")
    assert len(chat.requests) == 1


def test_a_server_without_json_mode_is_asked_without_it() -> None:
    with serve(400, REFINED, LABELS) as chat:
        assert parser_for(chat)("a ball drops").categories == BOTH
    assert ["response_format" in r for r in chat.requests] == [True, False, False]


@pytest.mark.parametrize("body", [b"<html>busy</html>", b'{"id": ', {"choices": []}, {}])
def test_a_body_that_is_no_completion(body: bytes | dict) -> None:
    with serve(body) as chat, pytest.raises(ParserUnavailable, match="no chat completion"):
        parser_for(chat)("a ball drops")


def test_nobody_listens() -> None:
    with serve(500) as chat:
        pass
    with pytest.raises(ParserUnavailable, match="no connection"):
        parser_for(chat)("a ball drops")


def test_a_kept_answer_needs_no_request(tmp_path: Path) -> None:
    with serve(REFINED, LABELS) as chat:
        first = parser_for(chat, cache=True)("a ball drops")
        again = parser_for(chat, cache=True)("  a ball drops ")
        assert first == again
        assert len(chat.requests) == 2
    assert default_cache_dir() == tmp_path / "cache" / "pila" / "labels"
    assert not list(default_cache_dir().glob("*.tmp"))


def test_an_unreadable_kept_answer_is_replaced(caplog: pytest.LogCaptureFixture) -> None:
    with serve(REFINED, LABELS) as chat:
        parser = parser_for(chat, cache=True)
        path = parser.cache_path("a ball drops")
        path.parent.mkdir(parents=True)
        path.write_text('{"refined_prompt": "x", "categories": ["magic"]}')
        assert parser("a ball drops").categories == BOTH
    assert "unreadable" in caplog.text
    kept = load_kept(path)
    assert isinstance(kept, KeptAnswer)
    assert kept.chosen() == BOTH


def test_the_cache_tells_prompts_models_templates_and_servers_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = LlmConfig(base_url="http://a/v1", model="m")
    paths = {
        LlmParser(one).cache_path("p"),
        LlmParser(one).cache_path("q"),
        LlmParser(LlmConfig(base_url="http://a/v1", model="n")).cache_path("p"),
        LlmParser(LlmConfig(base_url="http://b/v1", model="m")).cache_path("p"),
    }
    monkeypatch.setattr("pila.labels.llm.template", lambda name: "another text")
    paths.add(LlmParser(one).cache_path("p"))
    assert len(paths) == 5


def test_failures_are_not_kept() -> None:
    with serve("nonsense") as chat, pytest.raises(ParserUnavailable):
        parser_for(chat, cache=True)("a ball drops")
    assert not default_cache_dir().exists()


def test_a_cache_that_cannot_be_written_only_warns(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    with serve(REFINED, LABELS) as chat:
        config = LlmConfig(base_url=chat.url, model="tiny", cache_dir=blocker / "labels")
        assert LlmParser(config)("a ball drops").categories == BOTH
    assert "could not be kept" in caplog.text


def test_a_relative_xdg_cache_home_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "somewhere")
    assert default_cache_dir() == Path.home() / ".cache" / "pila" / "labels"


def test_auto_asks_the_configured_model(monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(REFINED, LABELS) as chat:
        monkeypatch.setenv("PILA_LLM_BASE_URL", chat.url)
        monkeypatch.setenv("PILA_LLM_MODEL", "tiny")
        monkeypatch.setenv("PILA_LLM_API_KEY", "secret")
        parser = make_parser("auto")
        assert parser("a ball drops").parser == "llm"
        assert "secret" not in repr(parser)
    assert chat.headers[0]["authorization"] == "Bearer secret"


def test_auto_falls_back_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with serve(500) as chat:
        monkeypatch.setenv("PILA_LLM_BASE_URL", chat.url)
        monkeypatch.setenv("PILA_LLM_MODEL", "tiny")
        parse = make_parser("auto")("a ball bounces on the floor")
    assert parse.parser == "offline"
    assert "HTTP status 500" in parse.note
    assert parse.categories == BOTH
    assert [r.levelno for r in caplog.records if r.name.startswith("pila")] == [logging.WARNING]


def test_neither_note_nor_log_holds_a_password(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with serve(500) as chat:
        host = chat.url.removeprefix("http://").removesuffix("/v1")
        monkeypatch.setenv("PILA_LLM_BASE_URL", f"http://user:secret@{host}/v1")
        monkeypatch.setenv("PILA_LLM_MODEL", "tiny")
        parser = make_parser("auto")
        note = parser("a ball bounces").note
        with pytest.raises(ParserUnavailable) as caught:
            make_parser("llm")("a ball bounces")
    assert f"language model tiny at http://{host}: HTTP" in note
    for text in (note, str(caught.value), caplog.text, repr(parser)):
        assert "secret" not in text
    with pytest.raises(ValueError, match="must start with http") as refused:
        LlmConfig(base_url="ftp://user:secret@host/v1", model="m")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://host/v1", "https://host"),
        ("http://u:p@host:80/v1?k=s#f", "http://host:80"),
        ("http://u@x:p@[::1]:80/v1", "http://[::1]:80"),
        ("u:p@host/v1", "(no whole address)"),
        ("http://[::1", "(no whole address)"),
    ],
)
def test_addresses_are_shown_without_secrets(url: str, shown: str) -> None:
    assert shown_address(url) == shown


def test_auto_without_a_model_is_offline(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "for something else")
    assert make_parser("auto")("a ball falls").parser == "offline"
    assert not caplog.records
    monkeypatch.setenv("PILA_LLM_BASE_URL", "http://127.0.0.1:9/v1")
    assert make_parser("auto")("a ball falls").parser == "offline"
    assert "PILA_LLM_MODEL" in caplog.text


def test_llm_without_model_or_key_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ParserUnavailable, match="PILA_LLM_MODEL"):
        make_parser("llm")
    monkeypatch.setenv("PILA_LLM_MODEL", "tiny")
    with pytest.raises(ParserUnavailable, match="OPENAI_API_KEY"):
        make_parser("llm")


def test_openais_key_goes_to_no_other_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    monkeypatch.setenv("OPENAI_MODEL", "m")
    assert LlmConfig.resolve("http://a/v1", None, None).api_key == "not-needed"
    assert LlmConfig.resolve(None, None, None).api_key == "secret"
    monkeypatch.setenv("OPENAI_BASE_URL", "http://b/v1")
    assert LlmConfig.resolve(None, None, None).api_key == "secret"


@pytest.mark.parametrize("timeout", [0.0, -1.0, float("nan"), float("inf")])
def test_bad_timeout(timeout: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        LlmConfig(base_url="http://a/v1", model="m", timeout=timeout)


def test_bad_address() -> None:
    with pytest.raises(ValueError, match="must start with http"):
        LlmConfig(base_url="localhost:8000", model="m")


def test_the_label_template_names_every_category() -> None:
    assert all(f"- {category}:" in template("label") for category in Category)
