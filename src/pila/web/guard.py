"""What may reach Gradio: the routes that the page and its API need, and nothing else.

Gradio serves uploads, proxies and monitoring besides; a page without uploads is safer without them.
It also fetches whatever address a value names that is shaped like a file of its own, and serves
what came; no value of this page is a file.
"""

import json
import math
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from starlette.exceptions import HTTPException

from pila.web.schema import GenerateBody

BODY_LIMIT = 200_000
"""Bytes of one request; the longest prompt allowed takes some 8,000."""
LOGIN_TRIES, LOGIN_SECONDS, LOGIN_CLIENTS = 10, 60.0, 10_000
"""Failed logins of one address within so many seconds, and addresses that are remembered."""

_API = "/gradio_api"
_GET = re.compile(
    rf"/|/config/?|/theme\.css|/favicon\.ico|/manifest\.json|/robots\.txt|/pwa_icon(/\d+)?|/logout|"
    rf"/(assets|static|svelte)/.*|"
    rf"{_API}/(info|openapi\.json|app_id|user|login_check|startup-events|theme\.css|queue/data)/?|"
    rf"{_API}/(heartbeat|call)/.+"
)
_POST = re.compile(rf"/login/?|{_API}/(queue/join|cancel|reset)/?|{_API}/call/.+")
_CALL = re.compile(rf"{_API}/call/(?P<named>v2/)?(?P<name>\w+)/?")
_VALUES = {"generate": tuple(GenerateBody.model_fields), "categories": ("prompt",)}
"""What a call's values are named, in their order; Gradio ends in a traceback at any others."""
_FILE = re.compile(rf"{_API}/file=(.+)", re.DOTALL)


class Guard:
    """ASGI middleware; see the module.

    Args:
        app: what it guards.
        files: the folder below which files are served.
        public: the name under which a proxy serves the page by https, as browsers show it: with
            the port where that is not 443.
        hosts: names under which the page may be asked for; None is any. A page on another site
            that has its name point to this machine would use the user's browser otherwise.
        clock: seconds, for the pause after failed logins.
    """

    def __init__(
        self,
        app: Any,
        *,
        files: Path,
        hosts: frozenset[str] | None,
        public: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app, self._files, self._hosts, self._clock = app, files, hosts, clock
        if hosts is not None and public is not None:
            self._hosts = hosts | {_host_name(public)}
        self._public_origin = None if public is None else f"https://{public}"
        self._failed: OrderedDict[str, list[float]] = OrderedDict()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Hand a request on, or answer it with the reason why not."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] != "http":
            await send({"type": "websocket.close"})
        elif refusal := self._refusal(scope):
            await _answer(send, *refusal)
        elif scope["method"] == "POST":
            await self._post(scope, receive, send)
        elif scope["path"].startswith(f"{_API}/call/"):
            await self._follow(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _follow(self, scope: Any, receive: Any, send: Any) -> None:
        """A call's events. Where Gradio knows no such call it says so, and then raises.

        The client has its error event by then; what is left is to end the stream as others end.
        """
        try:
            await self._app(scope, receive, send)
        except RuntimeError as error:
            if not isinstance(error.__cause__, HTTPException):
                raise
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _post(self, scope: Any, receive: Any, send: Any) -> None:
        body = await _whole(receive)
        if body is None:
            return
        if scope["path"].startswith("/login"):
            send = self._watched(scope, send)
        elif refusal := _refusal_of(body) or _refusal_of_values(scope["path"], body):
            await _answer(send, *refusal)
            return
        await self._app(scope, _again(body, receive), send)

    def _refusal(self, scope: Any) -> tuple[int, str] | None:
        headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}
        method, path = scope["method"], scope["path"]
        if self._hosts is not None and _host_name(headers.get("host", "")) not in self._hosts:
            return 403, "this page has another name; a proxy's is given by --public-host"
        if method == "POST":
            origin, host = headers.get("origin"), headers.get("host")
            if origin not in (None, self._public_origin) and origin.partition("://")[2] != host:
                return 403, "requests from pages of other sites are refused"
            length = headers.get("content-length", "")
            if not length.isdecimal() or int(length) > BODY_LIMIT:
                return 413, f"a request has a stated length of at most {BODY_LIMIT} bytes"
            if not _POST.fullmatch(path):
                return 404, "there is nothing here"
            if path.startswith("/login") and self._tried_too_often(_client(scope)):
                return 429, f"too many wrong passwords; wait {LOGIN_SECONDS:.0f} s"
        elif method in ("GET", "HEAD"):
            if found := _FILE.fullmatch(path):
                if not self._is_ours(found[1]):
                    return 403, "only results of this page are served"
            elif not _GET.fullmatch(path):
                return 404, "there is nothing here"
        else:
            return 405, "use GET or POST"
        return None

    def _is_ours(self, name: str) -> bool:
        try:
            path = Path(unquote(name)).resolve()
        except (OSError, ValueError):
            return False
        return path.is_relative_to(self._files) and path.is_file()

    def _tried_too_often(self, client: str) -> bool:
        since = self._clock() - LOGIN_SECONDS
        recent = [t for t in self._failed.get(client, []) if t > since]
        return len(recent) >= LOGIN_TRIES

    def _watched(self, scope: Any, send: Any) -> Any:
        async def watched(message: Any) -> None:
            if message["type"] == "http.response.start" and message["status"] >= 400:
                times = self._failed.setdefault(_client(scope), [])
                times.append(self._clock())
                del times[:-LOGIN_TRIES]
                self._failed.move_to_end(_client(scope))
                while len(self._failed) > LOGIN_CLIENTS:
                    self._failed.popitem(last=False)
            await send(message)

        return watched


async def _whole(receive: Any) -> bytes | None:
    """A request's body; None where the client left, or sent more than it stated."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        if message["type"] == "http.disconnect" or len(body) > BODY_LIMIT:
            return None
        more = message.get("more_body", False)
    return body


def _again(body: bytes, receive: Any) -> Any:
    """`receive` that begins with a body that was taken from it."""
    given = False

    async def again() -> Any:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _refusal_of(body: bytes) -> tuple[int, str] | None:
    """Why a call's body is not handed on; None where it is."""
    try:
        left = [json.loads(body)] if body else []  # as FastAPI reads it
    except (ValueError, RecursionError):
        return 400, "a request is JSON"
    while left:
        value = left.pop()
        if isinstance(value, dict):
            if "path" in value:
                return 400, "files are not taken here, nor addresses of any"
            left += [*value, *value.values()]
        elif isinstance(value, list):
            left += value
        elif isinstance(value, float) and not math.isfinite(value):
            return 400, "a number is not finite; give one that is"
        elif isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value):
            return 400, "a text holds half of a character (a lone surrogate); leave it out"
    return None


def _refusal_of_values(path: str, body: bytes) -> tuple[int, str] | None:
    """Why a call's values are not handed on; None where they are."""
    call = _CALL.fullmatch(path)
    if call is None or (known := _VALUES.get(call["name"])) is None:
        return None
    name, takes = call["name"], ", ".join(known)
    given = json.loads(body) if body else {}
    if not isinstance(given, dict):
        return 400, f"{name} takes a JSON object"
    if not call["named"]:
        values = given.get("data")
        if not isinstance(values, list) or len(values) != len(known):
            count = len(values) if isinstance(values, list) else "no list of"
            return 400, f"data has {count} values; {name} takes {len(known)}: {takes}"
        return None
    if unknown := sorted(given.keys() - set(known)):
        return 400, f"{name} has no value {unknown[0][:40]!r}; it takes {takes}"
    if "prompt" not in given:
        return 400, f'{name} needs a prompt; give one as "prompt"'
    return None


def _client(scope: Any) -> str:
    return scope["client"][0] if scope.get("client") else ""


def _host_name(host: str) -> str:
    host = host.lower()
    return host.rpartition("]")[0].lstrip("[") if host.startswith("[") else host.split(":")[0]


async def _answer(send: Any, status: int, reason: str) -> None:
    # The shape in which FastAPI says why, so that clients show it.
    body = json.dumps({"detail": reason}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
