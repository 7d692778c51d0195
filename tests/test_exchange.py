"""One request within its limits, whatever a server does."""

import gzip

import pytest
from tests.raw_server import HEAD, Behaviour, again_and_again, once, serve

from pila.exchange import NoConnection, NoReply, Reply, TooSlow, post
from pila.network import NetworkUnusable

CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(autouse=True)
def no_settings(no_network_variables: None) -> None:
    pass


def ask(url: str, seconds: float = 5.0, most: int = 1000) -> Reply:
    return post(url, b"{}", {"Content-Type": "application/json"}, seconds=seconds, most=most)


def test_a_reply_is_read_whole() -> None:
    with serve(once(HEAD + b"Content-Length: 2\r\n\r\n{}")) as raw:
        assert ask(raw.url) == Reply(200, b"{}")
    assert raw.received[0].startswith(b"POST /v1 HTTP/1.1\r\n")
    assert raw.received[0].endswith(b"\r\n\r\n{}")


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(again_and_again(b"", b"", pause=0.05), id="nothing"),
        pytest.param(again_and_again(b"", b"H", pause=0.05), id="a status byte by byte"),
        pytest.param(again_and_again(HEAD, b"X-A: 1\r\n", pause=0.05), id="headers without end"),
        pytest.param(
            again_and_again(HEAD + b"Content-Length: 9\r\n\r\n", b"", pause=0.05),
            id="a body that never comes",
        ),
        pytest.param(again_and_again(HEAD + b"\r\n", b" ", pause=0.05), id="a body byte by byte"),
        pytest.param(again_and_again(CHUNKED, b"1\r\n \r\n", pause=0.05), id="chunks byte by byte"),
        pytest.param(
            again_and_again(b"", b"HTTP/1.1 100 Continue\r\n\r\n", pause=0.05), id="interim replies"
        ),
    ],
)
def test_a_slow_reply_ends_at_the_limit(behaviour: Behaviour) -> None:
    with serve(behaviour) as raw, pytest.raises(TooSlow, match=r"no answer within 0\.4 s"):
        ask(raw.url, seconds=0.4)


@pytest.mark.parametrize(
    ("behaviour", "fault"),
    [
        (again_and_again(HEAD + b"\r\n", b" " * 65536), r"more than 0\.001 MB"),
        (again_and_again(CHUNKED, b"1000\r\n" + b" " * 4096 + b"\r\n"), r"more than 0\.001 MB"),
        (once(HEAD + b"Content-Length: 5000\r\n\r\n" + b" " * 5000), r"more than 0\.001 MB"),
        (again_and_again(HEAD, b"X-A: 1\r\n"), "broke"),
        (once(HEAD + b"Content-Length: 50\r\n\r\n{}"), "broke"),
        (once(b""), "broke"),
        (once(b"\x00\xffno HTTP at all\r\n\r\n"), "broke"),
        (once(HEAD + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b" " * 10**6)), "packed"),
    ],
)
def test_a_reply_that_is_none_is_refused(behaviour: Behaviour, fault: str) -> None:
    with serve(behaviour) as raw, pytest.raises(NoReply, match=fault) as caught:
        ask(raw.url)
    assert not isinstance(caught.value, TooSlow)
    assert "\n" not in str(caught.value)


def test_nobody_listens() -> None:
    with serve(once(b"")) as raw:
        pass
    with pytest.raises(NoConnection, match="no connection"):
        ask(raw.url)


@pytest.mark.parametrize("host", ["xn--", "a" * 70])
def test_a_host_that_no_resolver_knows(host: str) -> None:
    with pytest.raises(NoConnection):
        ask(f"http://{host}/v1")


def test_no_time_is_left() -> None:
    with serve(once(HEAD + b"\r\n")) as raw, pytest.raises(TooSlow):
        ask(raw.url, seconds=0)
    assert raw.received == []


def test_it_is_told_where_a_server_sends_and_does_not_go_there() -> None:
    moved = b"HTTP/1.1 308 Permanent Redirect\r\nLocation: http://x/\r\nContent-Length: 0\r\n\r\n"
    with serve(once(moved)) as raw:
        assert ask(raw.url) == Reply(308, b"", where="http://x/")


def test_a_request_goes_through_the_proxy_that_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(once(HEAD + b"Content-Length: 2\r\n\r\n{}")) as raw:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{raw.port}")
        assert ask("http://model.example/v1").content == b"{}"
        assert raw.received[0].startswith(b"POST http://model.example/v1 ")
    with pytest.raises(
        NoConnection, match=r"through the proxy http://127\.0\.0\.1:\d+ \(http_proxy\)"
    ):
        ask("http://model.example/v1")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1"])
def test_this_machine_is_asked_straight(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "socks://127.0.0.1:9")
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent.pem")
    with serve(once(HEAD + b"Content-Length: 2\r\n\r\n{}")) as raw:
        assert ask(f"http://{host}:{raw.port}/v1").content == b"{}"


def test_an_unusable_proxy_is_named_before_anything_is_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("all_proxy", "socks://127.0.0.1:9")
    with pytest.raises(NetworkUnusable, match="all_proxy is socks://127"):
        ask("http://model.example/v1")


def test_it_may_be_asked_inside_of_an_event_loop() -> None:
    import asyncio

    async def inside(url: str) -> Reply:
        return ask(url)

    with serve(once(HEAD + b"Content-Length: 2\r\n\r\n{}")) as raw:
        assert asyncio.run(inside(raw.url)).status == 200
