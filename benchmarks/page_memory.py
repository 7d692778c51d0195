"""What the page's server keeps over many generations: memory, files, threads, sessions.

    python benchmarks/page_memory.py [--generations 1000] [--clients 4] [--output FILE]
    python benchmarks/page_memory.py --rows FILE    # draw what was measured before

Starts `pila serve` in a process of its own. Several clients ask it for small clips of two steps,
each clip in turn by the API's plain call, by the API in a session, and by the page's own event. A
client begins a new session after ten clips, as someone who opens the page anew. Every ten clips
the server is looked at from outside and from inside: what it holds of memory, what malloc has in
use of that, and what Gradio keeps of sessions, events and files. The last look is followed by one
behind a garbage collection, and by one behind `malloc_trim`: what goes then was never needed.
`--trace` adds tracemalloc's largest growth, and makes everything slower.
glibc alone says what malloc has in use.
"""

import argparse
import json
import os
import secrets
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import psutil

SIZES = {"Height": 48, "Width": 48, "Frames": 9, "Steps": 2}
"""By the labels of the page's fields."""
NAMES = {"Height": "height", "Width": "width", "Frames": "num_frames", "Steps": "steps"}
PER_SESSION = 10
PROMPTS = ("a red ball falls", "two steel balls collide", "a drop of ink spreads in water")
MIB = 2**20
INSIDE = """
import ctypes, gc, json, sys, threading, tracemalloc

class MallInfo(ctypes.Structure):
    names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = [(name, ctypes.c_size_t) for name in names.split()]

libc = ctypes.CDLL(None)
if hasattr(libc, "mallinfo2"):
    libc.mallinfo2.restype = MallInfo
first = None

def look():
    found = {"gc_objects": len(gc.get_objects())}
    if hasattr(libc, "mallinfo2"):
        info = libc.mallinfo2()
        found["malloc_used"] = info.uordblks + info.hblkhd
        found["malloc_free"] = info.fordblks
    import gradio
    for page in [o for o in gc.get_objects() if type(o) is gradio.Blocks and o.is_running]:
        queue = page._queue
        found |= {
            "sessions": len(page.state_holder.session_data),
            "streams": len(queue.pending_messages_per_session),
            "sessions_with_events": len(queue.pending_event_ids_session),
            "events": len(queue.event_ids_to_events),
            "analytics": len(queue.event_analytics),
            "known_files": len(page.temp_files) + len(page.upload_file_set),
            "iterators": len(page.app.iterators),
        }
    if tracemalloc.is_tracing():
        global first
        now = tracemalloc.take_snapshot()
        first = first or now
        grown = now.compare_to(first, "lineno")[:12]
        found["grown"] = [[str(s.traceback[0]), s.size_diff, s.count_diff] for s in grown]
    return found

def answer():
    for line in sys.stdin:
        if "collect" in line:
            gc.collect()
        if "trim" in line and hasattr(libc, "malloc_trim"):
            libc.malloc_trim(0)
        print(json.dumps(look()), flush=True)

if sys.argv[1] == "trace":
    tracemalloc.start()
threading.Thread(target=answer, daemon=True).start()
from pila.cli import run
sys.exit(run(["serve", *sys.argv[2:]]))
"""


class Server:
    """`pila serve` in a process that can be looked into."""

    def __init__(self, folder: Path, *, trace: bool, options: list[str]) -> None:
        self.folder = folder
        command = [sys.executable, "-W", "ignore", "-c", INSIDE, "trace" if trace else "plain"]
        command += ["--port", "0", "--json", "--parser", "offline", "--device", "cpu", *options]
        with (folder / "log").open("w") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=os.environ | {"TMPDIR": str(folder)},
            )
        self.url = json.loads(self._line())["url"].rstrip("/")

    def _line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError((self.folder / "log").read_text())
        return line

    def look(self, generations: int, *, first: str = "") -> dict[str, Any]:
        """What it holds; `first` may be "collect" or "collect trim", done before."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{first}\n")
        self.process.stdin.flush()
        inside = json.loads(self._line())
        process = psutil.Process(self.process.pid)
        memory = process.memory_full_info()
        sizes = list(_file_sizes(self.folder))
        return {
            "generations": generations,
            "after": first,
            "rss": memory.rss,
            "uss": memory.uss,
            "threads": process.num_threads(),
            "open_files": process.num_fds(),
            "files": len(sizes),
            "file_bytes": sum(sizes),
            **inside,
        }

    def end(self) -> None:
        self.process.terminate()
        self.process.communicate()


def _file_sizes(folder: Path) -> Iterator[int]:
    """Bytes of the files below a folder, whose server goes on removing some."""
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                yield (Path(place) / name).stat().st_size


class User:
    """One session after another, as a browser has them: a page, a heartbeat, events."""

    def __init__(self, url: str) -> None:
        self._api = f"{url}/gradio_api"
        self._url = url
        self._client = httpx.Client(timeout=600, trust_env=False)
        config = self._client.get(f"{url}/config").json()
        parts = {part["id"]: part for part in config["components"]}
        dependencies = config["dependencies"]
        (api,) = (d for d in dependencies if d["api_name"] == "generate")
        # The page's own event is the one that is told of the most fields.
        page = max(dependencies, key=lambda d: len(d["inputs"]))
        self._events = api["id"], page["id"]
        self._fields = [parts[i]["props"] for i in page["inputs"]]

    @contextmanager
    def session(self) -> Iterator[str]:
        """A page that is open while this lasts."""
        name = secrets.token_hex(6)
        self._client.get(self._url)
        with self._client.stream("GET", f"{self._api}/heartbeat/{name}"):
            yield name

    def generate(self, session: str, number: int) -> None:
        """One clip; raises where there is none."""
        prompt = PROMPTS[number % len(PROMPTS)]
        if number % 3 == 0:
            given = {"prompt": prompt, "seed": number}
            given |= {NAMES[label]: value for label, value in SIZES.items()}
            asked = self._client.post(f"{self._api}/call/v2/generate", json=given)
            event = asked.raise_for_status().json()["event_id"]
            said = self._client.get(f"{self._api}/call/generate/{event}").text
            if "event: complete" not in said:
                raise RuntimeError(f"no clip: {said[-2000:]}")
            return
        if number % 3 == 1:
            data: list[Any] = [prompt, None, None, None, number, SIZES["Steps"], None, 1.0, None]
            data += [None, SIZES["Height"], SIZES["Width"], SIZES["Frames"], None]
        else:
            given = SIZES | {"Prompt": prompt, "Seed": number}
            data = [given.get(f.get("label"), f.get("value")) for f in self._fields]
        call = {"data": data, "fn_index": self._events[number % 3 - 1], "session_hash": session}
        asked = self._client.post(f"{self._api}/queue/join", json=call)
        event = asked.raise_for_status().json()["event_id"]
        stream = self._client.stream(
            "GET", f"{self._api}/queue/data", params={"session_hash": session}
        )
        with stream as lines:
            for line in lines.iter_lines():
                said = json.loads(line.removeprefix("data: ")) if line else {}
                if said.get("msg") == "process_completed" and said["event_id"] == event:
                    made = "pila-done" in line or "pila.mp4" in line
                    if not said["success"] or not made:
                        raise RuntimeError(f"no clip: {line[:2000]}")


def measure(
    generations: int,
    clients: int,
    *,
    every: int,
    trace: bool,
    options: list[str],
    keep: Callable[[list[dict[str, Any]]], None],
) -> None:
    """Looks at a server that makes so many clips; `keep` is given all of them after each."""
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder), trace=trace, options=options)
        looks: list[dict[str, Any]] = []

        def look(made: int, first: str = "") -> None:
            looks.append(server.look(made, first=first))
            print(_line(looks[-1]), first, flush=True)
            keep(looks)

        try:
            look(0)
            _use(server.url, generations, clients, lambda made: made % every or look(made))
            for first in ("", "collect", "collect trim"):
                look(generations, first)
        finally:
            server.end()


def _use(url: str, generations: int, clients: int, on_made: Callable[[int], Any]) -> None:
    """Have clients make so many clips between them; after each, alone, the count is told."""
    lock, numbers, made, failed = threading.Lock(), iter(range(generations)), count(1), []

    def use() -> None:
        user = User(url)
        while not failed:
            with user.session() as session:
                for _ in range(PER_SESSION):
                    with lock:
                        number = next(numbers, None)
                    if number is None:
                        return
                    user.generate(session, number)
                    with lock:
                        on_made(next(made))

    def guarded() -> None:
        try:
            use()
        except Exception as error:
            failed.append(error)

    users = [threading.Thread(target=guarded) for _ in range(clients)]
    for user in users:
        user.start()
    for user in users:
        user.join()
    if failed:
        raise failed[0]


def _line(look: dict[str, Any]) -> str:
    mib = {k: look.get(k, 0) / MIB for k in ("rss", "uss", "malloc_used", "malloc_free")}
    counts = ("threads", "open_files", "files", "sessions", "streams", "gc_objects")
    return f"{look['generations']:5}  " + "  ".join(
        [*(f"{k} {v:.0f}" for k, v in mib.items()), *(f"{k} {look.get(k)}" for k in counts)]
    )


def draw(records: dict[str, Any], path: Path) -> None:
    """Memory of each record over its generations: what is held, and what malloc has in use."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axis = figure.subplots()
    for index, (name, record) in enumerate(records.items()):
        looks = [look for look in record["looks"] if not look["after"]]
        xs = [look["generations"] for look in looks]
        for key, style in (("rss", "-"), ("malloc_used", "--")):
            label = name if style == "-" else None
            axis.plot(xs, [k[key] / MIB for k in looks], style, color=f"C{index}", label=label)
    axis.set_xlabel("generations of two steps")
    axis.set_ylabel("MiB held; dashed: in use by malloc")
    axis.set_ylim(bottom=0)
    axis.legend(loc="center right")
    figure.savefig(path, dpi=170)


def main() -> None:
    parser = argparse.ArgumentParser(description="What the page's server keeps.")
    parser.add_argument("--generations", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--every", type=int, default=10, help="generations between looks")
    parser.add_argument("--trace", action="store_true", help="with tracemalloc")
    parser.add_argument("--output", type=Path, help="JSON: records by name; this one is added")
    parser.add_argument("--name", default="now", help="of this record")
    parser.add_argument("--rows", type=Path, help="draw such a file, and measure nothing")
    parser.add_argument("--picture", type=Path, default=Path("docs/page-memory.png"))
    parser.add_argument("--serve", nargs=argparse.REMAINDER, default=[], help="last: its options")
    options = parser.parse_args()
    if options.rows:
        draw(json.loads(options.rows.read_text()), options.picture)
        return
    output: Path | None = options.output
    records = json.loads(output.read_text()) if output and output.exists() else {}
    records[options.name] = record = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "clients": options.clients,
        "environment": {k: v for k, v in os.environ.items() if k.startswith(("MALLOC_", "OMP_"))},
    }

    def keep(looks: list[dict[str, Any]]) -> None:
        record["looks"] = looks
        if output:
            output.write_text(json.dumps(records, indent=1) + "\n")

    measure(
        options.generations,
        options.clients,
        every=options.every,
        trace=options.trace,
        options=options.serve,
        keep=keep,
    )


if __name__ == "__main__":
    main()
