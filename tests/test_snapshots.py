"""Repositories of the hub under the variables of desktops and companies."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.hub import hub_server

from pila.errors import InputError
from pila.snapshots import HubUnreachable, asking_the_hub, download, set_unusable_endpoint_aside

ELSEWHERE = "https://hub.example"


@pytest.fixture(autouse=True)
def hub(
    no_network_variables: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[hub_server.Hub]:
    """A hub on loopback, asked by this process."""
    import huggingface_hub
    from huggingface_hub import constants

    huggingface_hub.close_session()
    with hub_server.serve() as running:
        repository = hub_server.Repository(private=False)
        repository.commits.append({"config.json": b"{}", "weights.bin": b"a pickle"})
        running.repositories["me/model"] = repository
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, running.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "ENDPOINT", running.url)
        yield running
    huggingface_hub.close_session()


def fetch(repo: str = "me/model") -> Path:
    return download(repo, what="model", remedy="or pass a local folder", patterns=["*.json"])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (None, ""),
        ("all_proxy", "socks://127.0.0.1:7891/"),
        ("ALL_PROXY", "socks5://127.0.0.1:1"),
        ("http_proxy", "http://127.0.0.1:9"),
        ("HTTPS_PROXY", "http://[::1"),
        ("SSLKEYLOGFILE", "/nonexistent/log"),
    ],
)
def test_a_hub_on_this_machine_is_asked_straight(
    name: str | None, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name is not None:
        monkeypatch.setenv(name, value)
    assert [p.name for p in fetch().iterdir()] == ["config.json"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("all_proxy", "socks://127.0.0.1:7891/"),
        ("HTTPS_PROXY", "http://[::1"),
        ("https_proxy", "http://127.0.0.1:9"),
        ("SSL_CERT_FILE", "/nonexistent.pem"),
        ("SSL_CERT_DIR", "/nonexistent"),
    ],
)
def test_what_keeps_the_hub_from_being_asked_is_named(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = fetch()
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", ELSEWHERE)
    monkeypatch.setenv(name, value)
    message = rf"^me/other is no folder here, .*\b{name}\b.* folder$"
    with pytest.raises(HubUnreachable, match=message) as caught:
        fetch("me/other")
    assert "\n" not in str(caught.value)
    assert fetch() == kept, "what is in the cache needs no hub"


def test_an_endpoint_that_cannot_be_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://[::1")
    with pytest.raises(InputError, match=r"HF_ENDPOINT is 'http://\[::1'"):
        fetch()


def test_an_endpoint_that_cannot_be_fails_nothing_but_the_hub(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pila.snapshots._aside", [])
    monkeypatch.setenv("HF_ENDPOINT", "http://[::1")
    set_unusable_endpoint_aside()
    assert "HF_ENDPOINT" not in os.environ
    with pytest.raises(HubUnreachable, match=r"HF_ENDPOINT is 'http://\[::1'"):
        fetch()


def test_a_repository_that_is_not_there() -> None:
    with pytest.raises(InputError, match="the hub has no such model"):
        fetch("me/none")


def test_faults_of_another_kind_stay_what_they_are() -> None:
    with pytest.raises(ZeroDivisionError), asking_the_hub():
        _ = 1 / 0
