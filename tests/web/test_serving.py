"""Who may reach the page: addresses, ports and password files."""

import signal
import socket
import subprocess
import sys
import threading

import httpx
import pytest

from pila.cli import run
from pila.errors import InputError
from pila.web.serving import Address, check_port, read_password, signals_heard


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "[::1]", "127.8.8.8"])
def test_loopback_takes_no_password(host):
    assert Address(host=host, port=7860, password=None).is_loopback


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.7", "lab.example"])
def test_other_hosts_take_one(host):
    with pytest.raises(InputError, match=r"add --password-file FILE, or leave --host at 127\.0"):
        Address(host=host, port=7860, password=None)
    assert not Address(host=host, port=7860, password="x").is_loopback


def test_the_name_of_a_proxy():
    for name in ("lab.example", "lab.example:8443", "10.0.0.7"):
        assert Address(host="127.0.0.1", port=7860, password="x", public=name).public == name
    for name in ("https://lab.example", "lab.example/pila", "Lab.example", "", "a b", "lab:x"):
        with pytest.raises(InputError, match="give the name alone"):
            Address(host="127.0.0.1", port=7860, password="x", public=name)
    with pytest.raises(InputError, match=r"lab\.example can be reached by others.*password-file"):
        Address(host="127.0.0.1", port=7860, password=None, public="lab.example")


def test_ports():
    with pytest.raises(InputError, match="port is 65536"):
        Address(host="127.0.0.1", port=65_536, password=None)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port} cannot be used"):
            check_port(Address(host="127.0.0.1", port=port, password=None))
    assert check_port(Address(host="127.0.0.1", port=0, password=None)) > 1023


def test_password_files(tmp_path, caplog):
    path = tmp_path / "password"
    for text, message in (
        ("", "empty first line"),
        ("  \nx", "empty first"),
        ("x" * 1001, "1,001"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            read_password(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="cannot be read"):
        read_password(path)
    with pytest.raises(InputError, match="No such file"):
        read_password(tmp_path / "none")
    path.write_text("correct horse\r\nnot this\n")
    path.chmod(0o600)
    assert read_password(path) == "correct horse"
    assert caplog.text == ""
    path.chmod(0o644)
    assert read_password(path) == "correct horse"
    assert "chmod 600" in caplog.text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--host", "0.0.0.0"], "--password-file"),
        (["--public-host", "lab.example"], "--password-file"),
        (["--password-file", "/nowhere/password"], "/nowhere/password"),
        (["--port", "70000"], "port is 70000"),
        (["--model", "nowhere"], "there is no model nowhere"),
        (["--adapter", "/nowhere/adapter"], "/nowhere/adapter"),
        (["--queue", "0"], "queue is 0"),
        (["--keep", "0"], "keep is 0"),
        (["--max-steps", "0"], "max_steps is 0"),
        (["--device", "abacus"], "unknown device 'abacus'"),
    ],
    ids=" ".join,
)
def test_serve_refuses(options, message, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    port = [] if "--port" in options else ["--port", "0"]
    assert run(["serve", *port, *options]) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""
    assert list(tmp_path.iterdir()) == []


def test_without_gradio(capsys, monkeypatch):
    monkeypatch.setattr("pila.cli.serve.find_spec", lambda name: None)
    assert run(["serve"]) == 2
    assert "'.[web]'" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_wait_soon_where_it_cannot_interrupt(number, monkeypatch):
    class Deaf(threading.Event):
        """As on Windows: a signal that comes while this waits is heard when the time is up."""

        def wait(self, timeout=None):
            assert timeout is not None
            assert timeout <= 1
            heard = self.is_set()
            signal.raise_signal(number)
            return heard

    monkeypatch.setattr(threading, "Event", Deaf)
    before = signal.getsignal(number)
    with signals_heard() as wait:
        wait()
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_comes_before_the_wait_is_heard(number):
    with signals_heard() as wait:
        signal.raise_signal(number)
        wait()


# In a process of its own: Gradio leaves event loops and sockets to the garbage collector.
GUARDED_PAGE = """
import sys
from pathlib import Path
import gradio as gr
from pila.web.serving import Address, serving

with gr.Blocks(analytics_enabled=False) as page:
    gr.Markdown("the secret page")
address = Address(host="0.0.0.0", port=0, password="correct horse")
with serving(page, address, files=Path(sys.argv[1])) as url:
    print(url, flush=True)
    sys.stdin.read()
"""


def test_a_password_is_asked_for(tmp_path):
    """On all interfaces, with Gradio's own login: nothing is told before it, all after it."""
    files = tmp_path.resolve()
    (files / "clip.mp4").write_bytes(b"clip")
    clip = f"/gradio_api/file={files}/clip.mp4"
    server = subprocess.Popen(
        [sys.executable, "-c", GUARDED_PAGE, str(files)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with server:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        with httpx.Client(base_url=url, timeout=60) as client:
            assert "the secret page" not in client.get("/").text
            assert client.get("/config").status_code == 401
            assert client.get(clip).status_code == 401
            wrong = {"username": "me", "password": "correct"}
            assert client.post("/login", data=wrong).status_code == 400
            assert client.get("/config").status_code == 401
            right = {"username": "me", "password": "correct horse"}
            assert client.post("/login", data=right).status_code == 200
            assert "the secret page" in client.get("/config").text
            assert client.get(clip).content == b"clip"
            assert client.get("/", headers={"host": "lab.example"}).status_code == 200
    assert server.returncode == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)
