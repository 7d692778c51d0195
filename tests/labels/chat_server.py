"""A real HTTP server on loopback that speaks the chat-completions protocol from a script."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HANG = object()
"""Scripted in place of a reply: keep the client waiting until the test is over."""


@dataclass
class Chat:
    """The script still to be played (the last reply repeats), and what was asked so far."""

    script: list[Any]
    url: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def next(self) -> Any:
        return self.script.pop(0) if len(self.script) > 1 else self.script[0]


@contextmanager
def serve(*script: Any) -> Iterator[Chat]:
    """Serves scripted replies: text or a list is the model's message, an int an HTTP status,
    bytes a raw body under status 200, a dict a JSON body, a tuple a status with one of these,
    `HANG` nothing at all, a function what it makes of the request."""
    chat = Chat(list(script))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            chat.requests.append(json.loads(self.rfile.read(length)))
            chat.headers.append({k.lower(): v for k, v in self.headers.items()})
            assert self.path == "/v1/chat/completions"
            reply, status = chat.next(), 200
            if callable(reply):
                reply = reply(chat.requests[-1])
            if reply is HANG:
                chat.over.wait(10)
                self.close_connection = True
                return
            if isinstance(reply, tuple):
                status, reply = reply
            if isinstance(reply, int):
                status, body = reply, b'{"error": {"message": "scripted"}}'
            elif isinstance(reply, bytes):
                body = reply
            elif isinstance(reply, dict):
                body = json.dumps(reply).encode()
            else:
                body = json.dumps(completion(reply)).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    chat.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield chat
    finally:
        chat.over.set()
        server.shutdown()
        thread.join()
        server.server_close()


def completion(content: Any, **message: Any) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "tiny",
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": content, **message},
            }
        ],
    }
