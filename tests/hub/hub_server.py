"""A small Hugging Face hub on loopback: what `push` and a download need of its API, over HTTP.

Made from what the client (huggingface_hub 2.4) asks for: create a repository, tell about one,
check a card's header, say how each file goes up, take large files by LFS and the rest in the
commit, and give files back with the headers that the cache wants.
"""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import yaml

WRITE_TOKEN = "hf_write"
READ_TOKEN = "hf_read"


@dataclass
class Repository:
    private: bool
    commits: list[dict[str, bytes]] = field(default_factory=list)

    @property
    def sha(self) -> str:
        return hashlib.sha1(str(len(self.commits)).encode()).hexdigest()

    @property
    def files(self) -> dict[str, bytes]:
        return self.commits[-1] if self.commits else {}


@dataclass
class Hub:
    url: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, format: str, *args: Any) -> None:
        pass

    @property
    def token(self) -> str:
        return self.headers.get("Authorization", "").removeprefix("Bearer ")

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def answer(self, value: Any = None, status: int = 200, **headers: str) -> None:
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        for name, text in headers.items():
            self.send_header(name.replace("_", "-"), text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def repository(self, name: str) -> Repository | None:
        found = self.hub.repositories.get(name)
        if found is None or (found.private and self.token not in (WRITE_TOKEN, READ_TOKEN)):
            # The hub does not tell a missing repository from one that may not be seen.
            self.answer({"error": "Repository not found"}, 404, X_Error_Code="RepoNotFound")
            return None
        return found

    def refused(self) -> bool:
        if self.token == WRITE_TOKEN:
            return False
        status = 403 if self.token == READ_TOKEN else 401
        self.answer({"error": "You don't have the rights"}, status)
        return True

    def do_PUT(self) -> None:
        content = self.body()
        self.hub.objects[hashlib.sha256(content).hexdigest()] = content
        self.answer({})

    def do_POST(self) -> None:
        path, content = self.path.partition("?")[0], self.body()
        self.hub.asked.append(path)
        if self.refused():
            return
        if path == "/api/repos/create":
            wanted = json.loads(content)
            name = f"{wanted['organization']}/{wanted['name']}"
            private = wanted.get("visibility") == "private" or bool(wanted.get("private"))
            self.hub.repositories[name] = Repository(private=private)
            self.answer({"url": f"{self.hub.url}/{name}", "name": name})
        elif path == "/api/validate-yaml":
            header = json.loads(content)["content"].split("---")[1]
            errors = []
            if not isinstance(yaml.safe_load(header).get("tags"), list):
                errors.append({"message": '"tags" must be an array'})
            self.answer({"errors": errors, "warnings": []}, 400 if errors else 200)
        elif path.endswith("/preupload/main"):
            files = json.loads(content)["files"]
            modes = [
                {
                    "path": f["path"],
                    "uploadMode": "lfs" if f["path"].endswith(".safetensors") else "regular",
                    "shouldIgnore": False,
                }
                for f in files
            ]
            self.answer({"files": modes})
        elif path.endswith(".git/info/lfs/objects/batch"):
            objects = [
                o | {"actions": {"upload": {"href": f"{self.hub.url}/lfs/{o['oid']}"}}}
                for o in json.loads(content)["objects"]
            ]
            self.answer({"transfer": "basic", "objects": objects})
        elif path.endswith("/commit/main"):
            name = path.removeprefix("/api/models/").removesuffix("/commit/main")
            repository = self.hub.repositories[name]
            files = dict(repository.files)
            for line in map(json.loads, content.splitlines()):
                value = line["value"]
                if line["key"] == "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    files[value["path"]] = self.hub.objects[value["oid"]]
            repository.commits.append(files)
            url = f"{self.hub.url}/{name}/commit/{repository.sha}"
            self.answer({"commitUrl": url, "commitOid": repository.sha})
        else:
            self.answer({"error": f"no {path}"}, 404)

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.hub.asked.append(path)
        if path.startswith("/api/models/"):
            name, _, rest = path.removeprefix("/api/models/").partition("/revision/")
            name, tree, _ = name.partition("/tree/")
            repository = self.repository(name)
            if repository is None:
                return
            files = [
                {"type": "file", "path": n, "rfilename": n, "size": len(c), "oid": _etag(c)}
                for n, c in repository.files.items()
            ]
            about = {"id": name, "private": repository.private, "sha": repository.sha}
            self.answer(files if tree else about | {"siblings": files, "tags": []})
            return
        name, _, rest = path.removeprefix("/").partition("/resolve/")
        repository = self.repository(name)
        if repository is None:
            return
        content = repository.files.get(rest.partition("/")[2])
        if content is None:
            self.answer({"error": "Entry not found"}, 404, X_Error_Code="EntryNotFound")
            return
        self.answer(content, ETag=f'"{_etag(content)}"', X_Repo_Commit=repository.sha)

    do_HEAD = do_GET


def _etag(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


@contextmanager
def serve() -> Iterator[Hub]:
    """A hub that runs while this lasts."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
