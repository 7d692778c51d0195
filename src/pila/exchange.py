"""One HTTP request and its reply, within a limit of time and of size."""

import asyncio
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pila.network import Proxy, Way, one_line, way_to

_GRACE = 0.5
"""Seconds that a client may take to close a connection that is given up."""


class NoConnection(Exception):
    """Nobody answers there, so asking again would not help; the message is the fault alone."""


class NoReply(Exception):
    """A connection that gave no whole reply within the limits; the message is the fault alone."""


class TooSlow(NoReply):
    """The limit of time is over."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server answered.

    Attributes:
        status: of HTTP.
        content: the whole body.
        where: the `Location` of an answer that sends elsewhere; may be empty.
    """

    status: int
    content: bytes
    where: str = ""


def post(
    url: str, content: bytes, headers: Mapping[str, str], *, seconds: float, most: int
) -> Reply:
    """Sends one request and reads its reply, both within one limit of time.

    The limit holds for everything together: name, connection, headers, and a body that comes
    byte by byte. Redirections are not followed, since they may lead a key elsewhere.

    Args:
        url: where to.
        content: the body.
        headers: of the request.
        seconds: for all of it; none are left at 0 or below.
        most: bytes of a reply's body.

    Raises:
        NetworkUnusable: the address, its proxy or the certificates cannot be used.
        NoConnection: nobody answers there.
        TooSlow: no whole reply within the time.
        NoReply: too long, cut off, or no HTTP.
    """
    if seconds <= 0:
        raise TooSlow("no time is left")
    way = way_to(url)
    end = time.monotonic() + seconds
    outcome: list[Reply | BaseException] = []

    def ask() -> None:
        try:
            request = _exchange(url, content, headers, way=way, most=most)
            outcome.append(asyncio.run(_before(end, request)))
        except BaseException as error:  # handed over to the thread that asks
            outcome.append(error)

    # A thread of its own, since the caller may be inside of an event loop (notebooks), and since
    # the resolver of names cannot be interrupted.
    thread = threading.Thread(target=ask, name="pila-http", daemon=True)
    thread.start()
    thread.join(max(0.0, end - time.monotonic()) + _GRACE)
    if not outcome or isinstance(outcome[0], TimeoutError):
        raise TooSlow(f"no answer within {seconds:g} s")
    if isinstance(outcome[0], Reply):
        return outcome[0]
    raise _explained(outcome[0], way.proxy) from outcome[0]


async def _before(end: float, request: Any) -> Reply:
    async with asyncio.timeout(max(0.0, end - time.monotonic())):
        return await request


async def _exchange(
    url: str,
    content: bytes,
    headers: Mapping[str, str],
    *,
    way: Way,
    most: int,
) -> Reply:
    import httpx2

    # As it is, since a small packed body may unpack to any size.
    plain = {**headers, "Accept-Encoding": "identity"}
    async with (
        httpx2.AsyncClient(
            proxy=way.proxy.url if way.proxy else None,
            verify=way.verify,
            trust_env=False,
            timeout=None,
        ) as client,
        client.stream("POST", url, content=content, headers=plain) as response,
    ):
        if response.headers.get("Content-Encoding", "identity").lower() not in ("", "identity"):
            raise NoReply("the reply is packed, although none but plain ones are asked for")
        body = bytearray()
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > most:
                raise NoReply(f"the reply has more than {most / 1e6:g} MB")
        return Reply(response.status_code, bytes(body), response.headers.get("Location", ""))


def _explained(error: BaseException, proxy: Proxy | None) -> BaseException:
    """The error of this module for one of the client's; what it cannot raise stays as it is."""
    import httpx2

    if isinstance(error, NoReply):
        return error
    words = one_line(error, 200) or type(error).__name__
    if isinstance(error, httpx2.ConnectError | httpx2.ProxyError | httpx2.InvalidURL):
        by = f" through the proxy {proxy}" if proxy else ""
        remedy = ""
        if "CERTIFICATE_VERIFY" in words:
            remedy = "; name a file of certificates of your own with SSL_CERT_FILE"
        return NoConnection(f"no connection{by} ({words}){remedy}")
    if isinstance(error, httpx2.LocalProtocolError | UnicodeError):
        return NoConnection(f"no request can be sent there ({words})")
    if isinstance(error, httpx2.HTTPError | OSError | ExceptionGroup):
        return NoReply(f"the connection broke ({words})")
    return error
