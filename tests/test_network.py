"""What the variables of desktops and companies do to requests."""

import os
from pathlib import Path

import httpx2
import pytest

from pila.network import (
    PROXY_VARIABLES,
    TLS_VARIABLES,
    NetworkUnusable,
    check_address,
    clean_environment,
    is_loopback,
    one_line,
    proxy_for,
    tls_context,
    way_to,
)


@pytest.fixture(autouse=True)
def no_settings(no_network_variables: None) -> None:
    pass


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:8000",
        "ftp://host/v1",
        "http://",
        "http:///v1",
        "http://[::1/v1",
        "http://host:port/v1",
        "http://host:99999/v1",
        "http://ho st/v1",
        "http://host\n/v1",
        "http://ä..b/v1",
        "http://[zz]/v1",
        "http://\ud800/v1",
    ],
)
def test_addresses_that_cannot_be_are_named(url: str) -> None:
    with pytest.raises(NetworkUnusable, match=r"^HF_ENDPOINT is .* must start with http") as caught:
        check_address(url, "HF_ENDPOINT")
    assert "\n" not in str(caught.value)


def test_no_message_holds_a_password() -> None:
    with pytest.raises(NetworkUnusable) as caught:
        check_address("http://user:secret@[::1/v1?key=secret", "X")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "is_it"),
    [
        ("localhost", True),
        ("Model.localhost.", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("127.1", True),
        ("0.0.0.0", True),
        ("::1", True),
        ("[::1]", True),
        ("::ffff:127.0.0.1", True),
        ("10.0.0.1", False),
        ("localhost.example", False),
        ("::2", False),
        ("", False),
    ],
)
def test_this_machine_is_known(host: str, is_it: bool) -> None:
    assert is_loopback(host) is is_it


def test_the_more_special_proxy_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    assert proxy_for("https://a.example") is None
    monkeypatch.setenv("all_proxy", "http://all:1")
    monkeypatch.setenv("HTTPS_PROXY", "http://user:secret@secure:2")
    https, http = proxy_for("https://a.example"), proxy_for("http://a.example")
    assert str(https) == "http://secure:2 (HTTPS_PROXY)"
    assert str(http) == "http://all:1 (all_proxy)"
    assert https is not None
    assert https.url == "http://user:secret@secure:2"


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ("socks://127.0.0.1:7891/", "kind of proxy"),
        ("socks4://127.0.0.1:7891", "kind of proxy"),
        ("quic://127.0.0.1:7891", "kind of proxy"),
        ("socks5://127.0.0.1:1080", "socksio"),
        ("socks5h://127.0.0.1:1080", "socksio"),
        ("http://127.0.0.1:99999", "cannot be read"),
        ("http://[::1", "cannot be read"),
        ("http://", "names no host"),
    ],
)
@pytest.mark.parametrize("name", PROXY_VARIABLES)
def test_a_proxy_that_cannot_be_used_is_named(
    name: str, value: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pila.network.find_spec", lambda package: None)
    monkeypatch.setenv(name, value)
    scheme = "http" if "http_" in name.lower() else "https"
    with pytest.raises(NetworkUnusable, match=rf"^{name} is .*{fault}.* NO_PROXY$"):
        way_to(f"{scheme}://model.example/v1")


def test_a_proxy_of_a_desktop_beside_usable_ones_does_not_matter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("all_proxy", "socks://127.0.0.1:7891/")
    monkeypatch.setenv("https_proxy", "127.0.0.1:7890")
    assert str(proxy_for("https://a.example")) == "http://127.0.0.1:7890 (https_proxy)"


@pytest.mark.parametrize(
    ("entries", "url"),
    [
        ("a.example", "http://a.example/v1"),
        ("x, example", "http://a.example/v1"),
        (".example", "http://a.example:8000/v1"),
        ("a.example:8000", "http://a.example:8000/v1"),
        ("10.0.0.0/8", "http://10.1.2.3/v1"),
        ("fd00::/8", "http://[fd00::1]/v1"),
        ("*", "http://b/v1"),
    ],
)
@pytest.mark.parametrize("name", ["no_proxy", "NO_PROXY"])
def test_exemptions(name: str, entries: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("all_proxy", "socks://127.0.0.1:7891/")
    monkeypatch.setenv(name, entries)
    assert proxy_for(url) is None


def test_certificates_that_are_not_there_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls_context()
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    for name, values in {
        "SSL_CERT_FILE": ["/nonexistent.pem", str(tmp_path), str(empty)],
        "SSL_CERT_DIR": ["/nonexistent", str(empty)],
        "SSLKEYLOGFILE": ["/nonexistent/log", str(tmp_path)],
    }.items():
        for value in values:
            monkeypatch.setenv(name, value)
            with pytest.raises(NetworkUnusable, match=f"^{name} is {value}, .* unset it$"):
                way_to("https://model.example/v1")
            assert way_to("http://127.0.0.1:8000/v1").verify is False
        monkeypatch.delenv(name)


def test_other_libraries_find_what_they_can_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("all_proxy", "socks://127.0.0.1:7891/")
    monkeypatch.setenv("https_proxy", "http://proxy:1")
    monkeypatch.setenv("no_proxy", "a.example")
    before = dict(os.environ)
    with pytest.raises(ValueError, match="Unknown scheme"):
        httpx2.Client()
    with clean_environment("https://hub.example"):
        httpx2.Client().close()
        assert os.environ["https_proxy"] == "http://proxy:1"
        assert os.environ["NO_PROXY"] == "a.example,localhost,127.0.0.1,::1"
        assert "all_proxy" not in os.environ
    assert dict(os.environ) == before
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent.pem")
    with clean_environment():
        httpx2.Client().close()
        assert not {*PROXY_VARIABLES, *TLS_VARIABLES} & {*os.environ}


def test_foreign_words_are_printable_and_short() -> None:
    assert one_line("a\nb\x1b[31m\ud800") == "a b?[31m\\ud800"
    assert one_line("x" * 20, 10) == "x" * 10 + "..."
