"""A judge behind a real HTTP server: what is sent, and every way in which it fails."""

import base64
import io
import logging

import numpy as np
import pytest
from PIL import Image
from tests.lab.benchmarks.official import write_clip
from tests.labels.chat_server import HANG, completion, serve

from pila.errors import InputError
from pila.lab.benchmarks.judges import Question
from pila.lab.benchmarks.judges.asking import ATTEMPTS, IN_A_ROW, ask_all, questions_digest
from pila.lab.benchmarks.judges.server import ServerConfig, ServerJudge

REFUSAL = {
    "id": "1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": None, "refusal": "I can't assist."},
        }
    ],
}


@pytest.fixture(autouse=True)
def clean(tmp_path, monkeypatch):
    monkeypatch.setenv("PILA_CACHE", str(tmp_path / "cache"))
    for name in ("BASE_URL", "MODEL", "API_KEY"):
        monkeypatch.delenv(f"PILA_JUDGE_{name}", raising=False)


def judge_of(chat, **options):
    config = {"base_url": chat.url, "model": "eye", "timeout": 5.0, "pause": 0.0, **options}
    return ServerJudge(ServerConfig(**config))


def questions(folder, *keys, answers="score", frames=3):
    return [
        Question(
            key=key,
            video=write_clip(folder / f"{key}.mp4", seed),
            text=f"how good is {key}?",
            answers=answers,
            frames=frames,
        )
        for seed, key in enumerate(keys)
    ]


def test_frames_go_as_pictures_in_the_order_of_time(tmp_path):
    with serve('{"answer": 4}') as chat:
        values = ask_all(judge_of(chat, longest_side=16), questions(tmp_path, "a"))
    assert values == {"a": 4}
    (request,) = chat.requests
    assert (request["model"], request["temperature"], request["max_tokens"]) == ("eye", 0, 1024)
    (message,) = request["messages"]
    *pictures, text = message["content"]
    assert "3 frames" in text["text"]
    assert "how good is a?" in text["text"]
    assert '{"answer": X}, X one of 1, 2, 3, 4, 5' in text["text"]
    prefix = "data:image/jpeg;base64,"
    for picture in pictures:
        url = picture["image_url"]["url"]
        assert url.startswith(prefix)
        decoded = Image.open(io.BytesIO(base64.b64decode(url.removeprefix(prefix))))
        assert max(decoded.size) == 16
    assert len({p["image_url"]["url"] for p in pictures}) == 3


def test_answers_are_kept_and_only_the_missing_are_asked(tmp_path):
    with serve("4") as chat:
        first = questions(tmp_path, "a")
        assert ask_all(judge_of(chat), first) == {"a": 4}
        assert ask_all(judge_of(chat), first) == {"a": 4}
        assert len(chat.requests) == 1
        assert ask_all(judge_of(chat), questions(tmp_path, "a", "b")) == {"a": 4, "b": 4}
        assert len(chat.requests) == 2
        # Another model, other frames or another clip is another question.
        ask_all(judge_of(chat, model="other"), first)
        ask_all(judge_of(chat), questions(tmp_path, "a", frames=2))
        assert len(chat.requests) == 4
        ask_all(judge_of(chat), first, cache=False)
        assert len(chat.requests) == 5


def test_rambling_is_refused_with_the_reason_and_asked_again(tmp_path):
    with serve("Both 3 balls and 2 walls are lovely.", '{"answer": 2}') as chat:
        assert ask_all(judge_of(chat), questions(tmp_path, "a")) == {"a": 2}
    again = chat.requests[1]["messages"]
    assert again[1] == {"role": "assistant", "content": "Both 3 balls and 2 walls are lovely."}
    assert "it names no answer of 1, 2, 3, 4, 5" in again[2]["content"]


@pytest.mark.parametrize("reply", ["I'm sorry, I can't help with that.", REFUSAL])
def test_a_judge_that_refuses_leaves_the_question_open_and_named(tmp_path, reply):
    with serve("5", reply) as chat, pytest.raises(InputError, match=r"1 of 2 questions .* b \("):
        ask_all(judge_of(chat, retries=1), questions(tmp_path, "a", "b"))


def test_the_same_command_asks_the_rest_alone(tmp_path):
    with serve("5", *["Hm."] * ATTEMPTS, "3") as chat:
        judge = judge_of(chat)
        with pytest.raises(InputError, match="1 of 2 questions"):
            ask_all(judge, questions(tmp_path, "a", "b"))
        asked = len(chat.requests)
        assert asked == 1 + ATTEMPTS
        assert ask_all(judge, questions(tmp_path, "a", "b")) == {"a": 5, "b": 3}
        assert len(chat.requests) == asked + 1


@pytest.mark.parametrize("fault", [500, 429, b"<html>busy</html>", {"choices": []}, HANG])
def test_passing_faults_are_retried(tmp_path, fault):
    with serve(fault, "4") as chat:
        judge = judge_of(chat, timeout=0.3 if fault is HANG else 5.0)
        assert ask_all(judge, questions(tmp_path, "a")) == {"a": 4}
    assert len(chat.requests) == 2


def test_lasting_faults_name_the_question(tmp_path):
    with (
        serve(503) as chat,
        pytest.raises(InputError, match=r"a \(HTTP status 503: scripted, 3 times\)"),
    ):
        ask_all(judge_of(chat, retries=2), questions(tmp_path, "a"))
    assert len(chat.requests) == 3


def test_a_silent_server_is_given_up_after_a_while(tmp_path, caplog):
    caplog.set_level(logging.ERROR)
    keys = [f"clip{i}" for i in range(IN_A_ROW + 3)]
    with serve("4", 503) as chat, pytest.raises(InputError, match="the rest was not asked"):
        ask_all(judge_of(chat, retries=0), questions(tmp_path, *keys))
    assert len(chat.requests) == 1 + IN_A_ROW


def test_a_judge_that_refuses_many_is_still_asked_the_rest(tmp_path, caplog):
    caplog.set_level(logging.ERROR)
    keys = [f"clip{i}" for i in range(IN_A_ROW + 2)]
    refused = ["I'd rather not."] * (ATTEMPTS * (IN_A_ROW + 1))
    with serve(*refused, "4") as chat, pytest.raises(InputError, match="6 of 7 questions"):
        ask_all(judge_of(chat), questions(tmp_path, *keys))
    assert len(chat.requests) == len(refused) + 1


def test_what_no_retry_helps_ends_at_once(tmp_path):
    with serve(401) as chat, pytest.raises(InputError, match=r"HTTP status 401.*check the server"):
        ask_all(judge_of(chat), questions(tmp_path, "a", "b"))
    assert len(chat.requests) == 1
    with pytest.raises(InputError, match="no connection"):
        ask_all(
            ServerJudge(ServerConfig(base_url="http://127.0.0.1:9/v1", model="m")),
            questions(tmp_path, "a"),
        )


@pytest.mark.parametrize("status", [400, 422, 500])
@pytest.mark.parametrize("part", ["max_tokens", "temperature"])
def test_a_field_that_the_server_refuses_is_left_out(tmp_path, status, part):
    def answer(request):
        return (status, {"error": {"message": f"no {part}"}}) if part in request else "4"

    with serve(answer) as chat:
        assert ask_all(judge_of(chat), questions(tmp_path, "a", "b")) == {"a": 4, "b": 4}
    assert [part in r for r in chat.requests] == [True, False, False]


def test_an_answer_that_was_cut_off_is_none(tmp_path):
    cut = completion("Perhaps a 3. The answer is 4")
    cut["choices"][0]["finish_reason"] = "length"
    with serve(cut) as chat, pytest.raises(InputError, match="was cut off at 1024 tokens"):
        ask_all(judge_of(chat), questions(tmp_path, "a"))


def test_an_empty_answer_is_told_of_and_not_sent_back(tmp_path):
    with serve("", "4") as chat:
        assert ask_all(judge_of(chat), questions(tmp_path, "a")) == {"a": 4}
    (message,) = chat.requests[1]["messages"]
    assert "Your answer was refused" in message["content"][-1]["text"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("all_proxy", "socks://127.0.0.1:7891/"),
        ("SSL_CERT_FILE", "/nonexistent.pem"),
        ("https_proxy", "http://127.0.0.1:9"),
    ],
)
def test_what_keeps_the_judge_from_being_asked_is_named(
    tmp_path, monkeypatch, no_network_variables, name, value
):
    monkeypatch.setenv(name, value)
    judge = ServerJudge(ServerConfig(base_url="https://judge.example/v1", model="m"))
    with pytest.raises(InputError, match=name) as caught:
        ask_all(judge, questions(tmp_path, "a"))
    assert "\n" not in str(caught.value)


def test_only_its_own_key_is_sent(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    with serve("4") as chat:
        monkeypatch.setenv("PILA_JUDGE_BASE_URL", chat.url)
        monkeypatch.setenv("PILA_JUDGE_MODEL", "eye")
        ask_all(ServerJudge(ServerConfig.resolve(None, None)), questions(tmp_path, "a"))
        monkeypatch.setenv("PILA_JUDGE_API_KEY", "mine")
        ask_all(ServerJudge(ServerConfig.resolve(None, None)), questions(tmp_path, "b"))
    assert [h["authorization"] for h in chat.headers] == ["Bearer not-needed", "Bearer mine"]
    assert "mine" not in repr(ServerConfig.resolve(None, None))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"base_url": "localhost"}, "http://"),
        ({"model": ""}, "--judge-model"),
        ({"timeout": 0.0}, "above 0"),
        ({"retries": -1}, "0 or more"),
        ({"quality": 99}, "1 to 95"),
    ],
)
def test_wrong_settings(options, named):
    with pytest.raises(InputError, match=named):
        ServerConfig(**{"base_url": "http://x/v1", "model": "m", **options})


def test_unnamed_servers_are_refused():
    with pytest.raises(InputError, match="PILA_JUDGE_BASE_URL"):
        ServerConfig.resolve(None, "m")


def test_damaged_clips_are_refused(tmp_path):
    (question,) = questions(tmp_path, "a")
    question.video.write_bytes(b"no video")
    with serve("4") as chat, pytest.raises(InputError, match=r"a\.mp4 does not read as video"):
        ask_all(judge_of(chat), [question])
    assert chat.requests == []


def test_questions_are_stated(tmp_path):
    one = questions(tmp_path, "a", "b")
    about = questions_digest(one)
    assert (about["frames"], about["views"], about["parsers"]) == ([3], ["all"], ["strict-score-2"])
    assert questions_digest(one[:1])["texts"] != about["texts"]
    assert questions_digest(one[::-1]) == about


def test_views_of_a_clip(tmp_path):
    from pila.lab.benchmarks.judges.frames import sampled, viewed
    from pila.video import read_video

    path = write_clip(tmp_path / "a.mp4", 0, frames=9)
    every = read_video(path)
    frames = sampled(path, 4)
    assert np.array_equal(frames, every[[0, 2, 5, 8]])
    assert np.array_equal(sampled(path, 20)[[0, -1]], every[[0, -1]])
    assert np.array_equal(viewed(frames, "first half"), frames[:2])
    assert np.array_equal(viewed(frames, "last"), frames[3:])
    assert np.array_equal(viewed(frames, "first, middle and last"), frames[[0, 2, 3]])
    with pytest.raises(InputError, match="at least 1"):
        sampled(path, 0)
