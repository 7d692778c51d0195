"""What reaches Gradio, and what does not."""

import ast
import asyncio
import inspect
import json

import httpx
import pytest
from starlette.exceptions import HTTPException

from pila.web import api
from pila.web.guard import BODY_LIMIT, Guard
from pila.web.schema import GenerateBody


@pytest.fixture
def files(tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "a b.mp4").write_bytes(b"clip")
    (tmp_path / "results" / "out").symlink_to("/etc/passwd")
    (tmp_path / "secret").write_text("secret")
    return (tmp_path / "results").resolve()


class App:
    """Says yes to everything, but no to a login."""

    async def __call__(self, scope, receive, send):
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
        status = 400 if scope["path"].startswith("/login") else 200
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": body})


def ask(guard, method, path, *, base="http://127.0.0.1:7860", **options):
    async def one():
        transport = httpx.ASGITransport(guard)
        async with httpx.AsyncClient(transport=transport, base_url=base) as client:
            return await client.request(method, path, **options)

    return asyncio.run(one())


LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@pytest.fixture
def guard(files):
    return Guard(App(), files=files, hosts=LOOPBACK)


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/config", "/theme.css", "/assets/index.js", "/gradio_api/info"),
        *("/gradio_api/queue/data", "/gradio_api/heartbeat/abc", "/gradio_api/startup-events"),
        "/gradio_api/call/generate/7",
    ],
)
def test_what_the_page_needs(guard, path):
    assert ask(guard, "GET", path).status_code == 200


def test_the_stream_of_a_call_that_gradio_does_not_know_ends(files):
    """It says so, and then raises what Starlette can no longer answer; other errors stay."""

    class Fails:
        async def __call__(self, scope, receive, send):
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"event: error", "more_body": True})
            cause = HTTPException(404) if scope["path"].endswith("unknown") else ValueError("odd")
            raise RuntimeError("response already started") from cause

    guard = Guard(Fails(), files=files, hosts=LOOPBACK)
    assert ask(guard, "GET", "/gradio_api/call/generate/unknown").text == "event: error"
    with pytest.raises(RuntimeError, match="already started"):
        ask(guard, "GET", "/gradio_api/call/generate/broken")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/gradio_api/upload"),
        ("POST", "/gradio_api/run/generate"),
        ("POST", "/gradio_api/component_server"),
        ("POST", "/gradio_api/vibe-edit"),
        ("GET", "/gradio_api/proxy=http://example.com/"),
        ("GET", "/gradio_api/file=http://example.com/"),
        ("GET", "/gradio_api/deep_link"),
        ("GET", "/gradio_api/token"),
        ("GET", "/monitoring"),
        ("GET", "/docs"),
        ("DELETE", "/"),
        ("OPTIONS", "/config"),
    ],
)
def test_what_it_does_not(guard, method, path):
    assert ask(guard, method, path, content=b"").status_code in (403, 404, 405)


def test_files_of_results_only(guard, files):
    assert ask(guard, "GET", f"/gradio_api/file={files}/a%20b.mp4").status_code == 200
    for path in (
        "/etc/passwd",
        f"{files}/../secret",
        f"{files}/%2e%2e/secret",
        f"{files}/out",  # a link out of the folder
        f"{files}",
        f"{files}/none",
        "a%00b",
        "x" * 5_000,
    ):
        assert ask(guard, "GET", f"/gradio_api/file={path}").status_code == 403, path


def test_other_names_and_other_sites(guard, files):
    assert ask(guard, "GET", "/", base="http://evil.example").status_code == 403
    assert ask(guard, "GET", "/", base="http://[::1]:7860").status_code == 200
    anywhere = Guard(App(), files=files, hosts=None)
    assert ask(anywhere, "GET", "/", base="http://lab.example").status_code == 200
    path = "/gradio_api/queue/join"
    foreign = {"origin": "http://evil.example"}
    assert ask(guard, "POST", path, content=b"{}", headers=foreign).status_code == 403
    own = {"origin": "http://127.0.0.1:7860"}
    assert ask(guard, "POST", path, content=b"{}", headers=own).status_code == 200


def test_the_name_of_a_proxy(files):
    """Whether it hands on the name that it was asked by, as it should, or its own of this page."""
    path, public = "/gradio_api/queue/join", "lab.example:8443"
    guard = Guard(App(), files=files, hosts=LOOPBACK, public=public)

    def post(host, origin):
        headers = {"host": host, "origin": origin}
        return ask(guard, "POST", path, content=b"{}", headers=headers).status_code

    assert ask(guard, "GET", "/", base="http://LAB.example").status_code == 200
    assert ask(guard, "GET", "/", base="http://evil.example").status_code == 403
    for host in (public, "127.0.0.1:7860"):
        assert post(host, "https://lab.example:8443") == 200
        assert post(host, "https://evil.example") == 403
        assert post(host, "https://lab.example") == 403
        assert post(host, "null") == 403
    assert post("127.0.0.1:7860", "http://lab.example:8443") == 403
    without = Guard(App(), files=files, hosts=LOOPBACK)
    assert ask(without, "GET", "/", base="http://lab.example").status_code == 403
    anywhere = Guard(App(), files=files, hosts=None, public="lab.example")
    assert ask(anywhere, "GET", "/", base="http://10.0.0.7").status_code == 200


def test_bodies_are_bounded(guard):
    path = "/gradio_api/queue/join"
    longest = b'"' + b"x" * (BODY_LIMIT - 2) + b'"'
    assert ask(guard, "POST", path, content=longest).status_code == 200
    assert ask(guard, "POST", path, content=longest + b" ").status_code == 413

    async def chunks():
        yield b"x"

    assert ask(guard, "POST", path, content=chunks()).status_code == 413  # no length stated


def file_at(address: str) -> dict:
    return {"path": address, "meta": {"_type": "gradio.FileData"}}


@pytest.mark.parametrize(
    "body",
    [
        {"data": [file_at("https://example.com/large")], "fn_index": 0},
        {"data": [["a", {"b": [file_at("https://example.com/large")]}]]},
        {"prompt": file_at("/etc/passwd")},
        {"prompt": {"path": "https://example.com/", "meta": None}},
    ],
)
@pytest.mark.parametrize("path", ["/queue/join", "/call/generate", "/call/v2/generate/", "/cancel"])
def test_nothing_is_fetched_for_a_caller(guard, path, body):
    """Gradio downloads, and then serves, what an object of this shape names."""
    answer = ask(guard, "POST", f"/gradio_api{path}", json=body)
    assert answer.status_code == 400
    assert "files are not taken" in answer.json()["detail"]
    for encoding in ("utf-16", "utf-32-le", "utf-8-sig"):
        written = json.dumps(body).encode(encoding)
        assert ask(guard, "POST", f"/gradio_api{path}", content=written).status_code == 400


def test_a_call_is_json_and_arrives_whole(files):
    came = []

    async def app(scope, receive, send):
        came.append((await receive())["body"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    guard = Guard(app, files=files, hosts=LOOPBACK)
    path = "/gradio_api/queue/join"
    call = {"data": ["the path of a ball", ["fluid"], 3, None], "event_data": {"token": "a"}}
    assert ask(guard, "POST", path, json=call).status_code == 200
    assert json.loads(came[0]) == call
    assert ask(guard, "POST", path, content=b"").status_code == 200  # FastAPI says what is missing
    pair = b'{"data": ["\\ud83d\\ude00"]}'  # both halves of one character
    assert ask(guard, "POST", path, content=pair).status_code == 200
    for odd in (
        b'{"data": [NaN]}',
        b'{"data": {"seed": -Infinity}}',
        b"[1e999]",
        b'{"data": ["a \\ud83d ball"]}',
        b'{"\\udc00": 1}',
    ):
        answer = ask(guard, "POST", path, content=odd)
        assert answer.status_code == 400, odd
        assert answer.json()["detail"]
    for odd in (b"{", b"path", b"[" * 100_000, b"\xff"):
        assert ask(guard, "POST", path, content=odd).status_code == 400
    assert len(came) == 3


def test_wrong_passwords_are_slowed_down(files):
    now = [0.0]
    guard = Guard(App(), files=files, hosts=LOOPBACK, clock=lambda: now[0])
    answers = [ask(guard, "POST", "/login", content=b"x").status_code for _ in range(12)]
    assert answers == [400] * 10 + [429] * 2
    now[0] += 61
    assert ask(guard, "POST", "/login", content=b"x").status_code == 400


@pytest.mark.parametrize(
    ("call", "body", "reason"),
    [
        ("generate", {"prompt": "a ball", "\0": 1}, "generate has no value"),
        ("generate", {"seed": 1}, "generate needs a prompt"),
        ("generate", ["a ball"], "takes a JSON object"),
        ("categories", {"prompt": "a ball", "seed": 1}, "categories has no value 'seed'"),
        ("categories", None, "takes a JSON object"),
    ],
)
def test_values_by_names_that_a_call_has_not(guard, call, body, reason):
    answer = ask(guard, "POST", f"/gradio_api/call/v2/{call}", content=json.dumps(body).encode())
    assert answer.status_code == 400
    assert reason in answer.json()["detail"]


@pytest.mark.parametrize("data", [[], ["a ball", None], ["a ball"] * 40, "a ball", None])
def test_another_number_of_values_than_a_call_has(guard, data):
    body = json.dumps({"data": data}).encode()
    answer = ask(guard, "POST", "/gradio_api/call/generate", content=body)
    assert answer.status_code == 400
    assert "generate takes 14: prompt, categories" in answer.json()["detail"]
    one = json.dumps({"data": ["a ball"]}).encode()
    assert ask(guard, "POST", "/gradio_api/call/categories", content=one).status_code == 200


def test_the_values_of_generate_are_its_parameters_in_their_order():
    """What the guard lets through is what the API takes."""
    source = ast.parse(inspect.getsource(api.add))
    (taken,) = (n for n in ast.walk(source) if isinstance(n, ast.AsyncFunctionDef))
    names = [argument.arg for argument in taken.args.args if argument.arg != "client"]
    assert names == list(GenerateBody.model_fields)
