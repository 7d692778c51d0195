"""What the running server keeps does not grow with what it has done: files, sessions, threads."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import httpx
import psutil
import pytest
from tests.web.browser import SMALL, served

from pila.web.serving import SESSIONS

KEEP = 2


def clip(url, seed):
    """One clip by the API's plain call, which takes a session of its own; its files' addresses."""
    api = f"{url.rstrip('/')}/gradio_api/call"
    asked = {"prompt": "a red ball falls", "seed": seed, **SMALL}
    with httpx.Client(timeout=240, trust_env=False) as client:
        event = client.post(f"{api}/v2/generate", json=asked).raise_for_status().json()["event_id"]
        said = client.get(f"{api}/generate/{event}").text
    assert "event: complete" in said, said[-1000:]
    *files, _ = json.loads(said.rpartition("data: ")[2])
    return [file["url"] for file in files]


@pytest.mark.slow
def test_files_and_threads_after_many_clips(tmp_path):
    """Only the results that are kept lie on the disk: nothing copies them, and all are served."""
    with served(tmp_path, "--keep", str(KEEP)) as url:
        (process,) = [
            child for child in psutil.Process().children() if "serve" in " ".join(child.cmdline())
        ]
        clip(url, 0)
        threads, opened = process.num_threads(), process.num_fds()
        for seed in range(1, 5):
            files = clip(url, seed)
        found = sorted(p.parent.name for p in tmp_path.rglob("pila.mp4"))
        assert len(found) == KEEP
        assert {p.parent.name for p in tmp_path.rglob("pila-compare.mp4")} == set(found)
        assert not [p for p in (tmp_path / "tmp").rglob("gradio/**/*") if p.is_file()]
        for file in files:
            assert httpx.get(file, trust_env=False).raise_for_status().content
        # Gradio's pool may still grow to its own bound; one for each clip would be a leak.
        assert process.num_threads() <= threads + 4
        assert process.num_fds() <= opened + 4


# In a process of its own: Gradio leaves event loops and sockets to the garbage collector.
SERVER = """
import sys
from pathlib import Path
import gradio as gr
from pila.web.serving import Address, serving

def length(text: str) -> int:
    return len(text)

with gr.Blocks(analytics_enabled=False) as page:
    gr.api(length, api_name="categories")
page.queue()
address = Address(host="127.0.0.1", port=0, password=None)
with serving(page, address, files=Path(sys.argv[1])) as url:
    print(url, flush=True)
    sys.stdin.readline()
    print(len(page.state_holder.session_data), flush=True)
    sys.stdin.read()
"""


def test_sessions_that_are_remembered_are_bounded(tmp_path):
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(tmp_path.resolve())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with server:
        assert server.stdin is not None
        assert server.stdout is not None
        api = f"{server.stdout.readline().strip()}gradio_api/call"
        with httpx.Client(timeout=60, trust_env=False) as client:

            def call(number):
                asked = client.post(f"{api}/categories", json={"data": [f"ball {number}"]})
                event = asked.raise_for_status().json()["event_id"]
                assert "event: complete" in client.get(f"{api}/categories/{event}").text

            with ThreadPoolExecutor(4) as pool:
                list(pool.map(call, range(SESSIONS + 20)))
        server.stdin.write("\n")
        server.stdin.flush()
        assert int(server.stdout.readline()) == SESSIONS
