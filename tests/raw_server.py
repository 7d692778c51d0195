"""A server of sockets on loopback that does to a client what a test tells it to."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@dataclass
class Raw:
    """Where it listens, what it was sent, and whether the test is over."""

    url: str = ""
    port: int = 0
    received: list[bytes] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)


Behaviour = Callable[[socket.socket, Raw], None]


@contextmanager
def serve(behaviour: Behaviour) -> Iterator[Raw]:
    """Runs a behaviour for every connection, after its request was read."""
    raw, listener = Raw(), socket.create_server(("127.0.0.1", 0))
    raw.port = listener.getsockname()[1]
    raw.url = f"http://127.0.0.1:{raw.port}/v1"
    threads: list[threading.Thread] = []

    def talk(client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            client.settimeout(10)
            raw.received.append(_request(client))
            behaviour(client, raw)

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=talk, args=(client,)))
            threads[-1].start()

    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield raw
    finally:
        raw.over.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for thread in (accepting, *threads):
            thread.join()


def _request(client: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = client.recv(65536)
        if not chunk:
            return data
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    lines = [line.lower() for line in head.split(b"\r\n")]
    length = next((int(v.split(b":")[1]) for v in lines if v.startswith(b"content-length:")), 0)
    while len(body) < length and (chunk := client.recv(65536)):
        body += chunk
    return head + b"\r\n\r\n" + body


def again_and_again(first: bytes, piece: bytes, *, pause: float = 0.0) -> Behaviour:
    """Sends a beginning, and then a piece until the client goes or the test is over."""

    def behave(client: socket.socket, raw: Raw) -> None:
        client.sendall(first)
        while not raw.over.wait(pause) if pause else not raw.over.is_set():
            client.sendall(piece)

    return behave


def once(data: bytes) -> Behaviour:
    """Sends bytes and closes."""
    return lambda client, raw: client.sendall(data)
