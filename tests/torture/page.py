"""The page's server under changed requests, and a language model's server that gives any answer."""

import json
import os
import random
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import psutil
from tests.mutations import flipped, of_json
from tests.torture.ground import PROMPT, Ground
from tests.torture.process import MEMORY, Command, hang_limit

GENERATE = {"prompt": PROMPT, "categories": ["rigid_body"], "seed": 1, "steps": 1, "top_k": 2}
PATHS = ("call/v2/generate", "call/v2/categories", "call/generate", "call/categories", "queue/join")


@contextmanager
def answering(content: bytes, room: Path) -> Iterator[str]:
    """A server in a process of its own that answers every request with these bytes."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        process = os.fork()
        if not process:
            try:
                os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
                server.serve_forever()
            finally:
                os._exit(0)
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1"
        finally:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)


@dataclass(slots=True)
class _Page:
    url: str
    command: Command
    log: Path
    read: int = 0

    def faults(self) -> str | None:
        """What the server has said of its own errors since the last look, or its size."""
        text = self.log.read_text(errors="replace")
        fresh, self.read = text[self.read :], len(text)
        if "Traceback (most recent call last)" in fresh:
            return f"traceback: {fresh.strip().splitlines()[-1][:200]}"
        held = psutil.Process(self.command.pid).memory_info().rss
        return f"takes {held / 2**30:.1f} GiB" if held > MEMORY else None


_pages: dict[Path, _Page] = {}


def page_of(ground: Ground) -> _Page:
    """The running page; it is started at the first request."""
    if ground.folder not in _pages:
        temporary = ground.folder / "page"
        temporary.mkdir(exist_ok=True)
        given = ("--model", str(ground.model), "--adapter", str(ground.adapter), "--max-steps", "2")
        options = ("--port", "0", "--json", "--parser", "offline", "--device", "cpu")
        command = Command(
            ["serve", *options, *given], temporary / "said", {"TMPDIR": str(temporary)}
        )
        out, log = command.said
        end = time.monotonic() + 5 * hang_limit()
        while not out.read_text().endswith("\n"):
            if time.monotonic() > end or os.waitpid(command.pid, os.WNOHANG)[0]:
                raise RuntimeError(f"the page does not start: {log.read_text()}")
            time.sleep(0.1)
        url = json.loads(out.read_text())["url"].rstrip("/")
        _pages[ground.folder] = _Page(url, command, log)
    return _pages[ground.folder]


def close_pages() -> None:
    """End the pages that were started."""
    for page in _pages.values():
        page.command.kill()
        os.waitpid(page.command.pid, 0)
    _pages.clear()


def try_page(ground: Ground, room: Path, draw: random.Random) -> tuple[str, str | None]:
    """One changed request; the page must answer it as it should, and the next one as before."""
    page = page_of(ground)
    kind = draw.choice(("values", "values", "values", "body", "raw", "path"))
    ways = {"values": _post, "body": _post, "raw": _raw, "path": _get}
    try:
        fault = ways[kind](page.url, draw, kind)
        fault = fault or page.faults()
        if not fault and httpx.get(page.url, timeout=hang_limit(), trust_env=False).is_error:
            fault = "the page is not served any more"
    except httpx.TimeoutException:
        fault = f"hangs: no answer within {hang_limit():.0f} s"
    except httpx.TransportError as error:
        fault = f"the connection breaks ({error}): {page.faults() or 'nothing in the log'}"
    return kind, fault


def _post(url: str, draw: random.Random, kind: str) -> str | None:
    path = draw.choice(PATHS[:4])
    values: Any = GENERATE if "generate" in path else {"prompt": PROMPT}
    if "v2" not in path:
        values = {"data": list(values.values())}
    mutant = of_json(draw, json.dumps(values).encode())
    body = flipped(draw, mutant.content) if kind == "body" else mutant.content
    api = f"{url}/gradio_api"
    with httpx.Client(timeout=hang_limit(), trust_env=False) as client:
        headers = {"Content-Type": "application/json"}
        got = client.post(f"{api}/{path}", content=body, headers=headers)
        if got.status_code >= 500:
            return f"{path} {mutant.kind}: status {got.status_code} {got.text[:200]}"
        if got.status_code >= 400:
            return None
        event = got.json().get("event_id")
        name = path.removeprefix("call/")
        said = client.get(f"{api}/call/{name}/{event}").text
        if "event: complete" in said or "event: error" in said:
            return f"traceback: {said[-200:]}" if "Traceback" in said else None
        return f"{path} {mutant.kind}: neither a result nor an error: {said[-200:]!r}"


def _get(url: str, draw: random.Random, kind: str) -> str | None:
    odd = ("%00", "%ff", "../../etc/passwd", "a" * 20_000, "file=/etc/passwd", "\u202e", "?a=%")
    path = f"gradio_api/{draw.choice((*PATHS, 'file', 'info', ''))}/{draw.choice(odd)}"
    got = httpx.get(f"{url}/{path}", timeout=hang_limit(), trust_env=False)
    if got.status_code >= 500 or "root:" in got.text:
        return f"GET {path[:80]}: status {got.status_code} {got.text[:200]}"
    return None


def _raw(url: str, draw: random.Random, kind: str) -> str | None:
    """Bytes that are no request; the server closes the connection, or says 4xx."""
    host, port = url.removeprefix("http://").split(":")
    head = f"POST /gradio_api/call/categories HTTP/1.1\r\nHost: {host}:{port}\r\n"
    body = json.dumps({"data": [PROMPT]})
    sound = f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    raw = draw.choice(
        (
            flipped(draw, sound.encode(), 20),
            sound.replace("Content-Length: ", "Content-Length: -").encode(),
            sound.replace("Content-Length: ", "Transfer-Encoding: chunked\r\nX: ").encode(),
            (head + "X: " + "a" * 200_000 + "\r\n\r\n").encode(),
            draw.randbytes(500),
            b"\x16\x03\x01\x02\x00\x01\x00",
        )
    )
    with socket.create_connection((host, int(port)), timeout=hang_limit()) as connection:
        said = b""
        try:
            connection.sendall(raw)
            connection.shutdown(socket.SHUT_WR)
            while part := connection.recv(65_536):
                said += part
                if b"\r\n\r\n" in said:
                    break
        except TimeoutError:
            return "hangs: the connection stays open"
        except OSError:
            return None  # it has closed the connection
    status = said.split(b" ", 2)[1:2]
    return f"status {status[0].decode()}" if status and status[0].startswith(b"5") else None
