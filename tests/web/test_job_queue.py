"""The queue and its worker, with the tiny model: bounds, cancelling, and one pipeline for all."""

import gc
import threading
import time
from dataclasses import replace
from typing import Any

import pytest
from matplotlib.figure import Figure

import pila.web.job_queue
from pila.errors import InputError
from pila.generate.request import GenerateRequest
from pila.web.job_queue import JobQueue, QueueFull
from pila.web.results import Results


@pytest.fixture
def results():
    made = Results()
    yield made
    made.close()


@pytest.fixture
def queue(results):
    made = JobQueue(results, queue_size=2)
    yield made
    made.close()
    assert not made._thread.is_alive()


@pytest.fixture
def ask(results, wan_folder, adapter_folder):
    def ask(token, **changes):
        request = GenerateRequest(
            prompt="a red ball falls",
            model=str(wan_folder),
            adapter=str(adapter_folder),
            device="cpu",
            parser="offline",
            compare=True,
            output=results.place(token) / "pila.mp4",
        )
        return replace(request, **changes)

    return ask


def finish(job, seconds=120):
    end = time.monotonic() + seconds
    while not job.finished:
        assert time.monotonic() < end, "the job hangs"
        time.sleep(0.01)
    return job.progress


@pytest.fixture
def held(monkeypatch):
    """Holds every job at its first denoising step until it is let go."""
    reached, go = threading.Event(), threading.Event()
    real = pila.web.job_queue.generate

    def held(request: Any, *, on_step: Any, **options: Any) -> Any:
        def on_step_held(*step: Any) -> None:
            on_step(*step)
            reached.set()
            assert go.wait(120)

        return real(request, on_step=on_step_held, **options)

    monkeypatch.setattr(pila.web.job_queue, "generate", held)
    yield reached, go
    go.set()


def test_jobs_come_out_in_order_from_one_pipeline(queue, ask, results, monkeypatch):
    loads = []
    real = pila.web.job_queue.load
    monkeypatch.setattr(pila.web.job_queue, "load", lambda r: loads.append(r) or real(r))
    first = queue.submit("a", ask)
    second = queue.submit("b", ask)
    assert finish(second).state == finish(first).state == "done"
    assert len(loads) == 1
    clips = [job.request.output.read_bytes() for job in (first, second)]
    assert clips[0] == clips[1]
    assert results.read(first.token)["files"]["output"] == str(first.request.output)
    other = queue.submit("a", lambda token: ask(token, model="embedded", adapter="embedded"))
    queue.cancel(other)
    assert finish(other).state == "cancelled"


def test_a_full_queue_says_so(queue, ask, held):
    reached, go = held
    running = queue.submit("a", ask)
    assert reached.wait(120)
    waiting = [queue.submit("b", ask) for _ in range(2)]
    assert [job.progress.ahead for job in waiting] == [1, 2]
    with pytest.raises(QueueFull, match="the queue is full: 2 requests wait already"):
        queue.submit("c", ask)
    queue.cancel(waiting[0])
    assert waiting[0].progress.state == "cancelled"
    assert waiting[1].progress.ahead == 1
    queue.submit("c", ask)
    go.set()
    assert finish(running).state == finish(waiting[1]).state == "done"


def test_a_client_has_half_of_the_queue(results, ask, held):
    reached, go = held
    queue = JobQueue(results, queue_size=4)
    try:
        queue.submit("a", ask, client="1.2.3.4")
        assert reached.wait(120)
        mine = [queue.submit(session, ask, client="1.2.3.4") for session in "ab"]
        with pytest.raises(QueueFull, match=r"2 of your requests wait already.* queue of 4"):
            queue.submit("c", ask, client="1.2.3.4")
        queue.submit("d", ask, client="1.2.3.5")
        queue.cancel(mine[0])
        queue.submit("c", ask, client="1.2.3.4")
    finally:
        go.set()
        queue.close()


def test_cancelling_stops_at_the_next_step_and_leaves_nothing(queue, ask, results, held):
    reached, go = held
    job = queue.submit("a", lambda token: ask(token, steps=5))
    assert reached.wait(120)
    assert queue.cancel_session("someone else") == 0
    assert queue.cancel_session("a") == 1
    go.set()
    end = finish(job)
    assert (end.state, end.doing) == ("cancelled", "cancelled after 1 of 10 steps")
    assert list(results.folder.iterdir()) == []
    assert finish(queue.submit("a", ask)).state == "done"


def test_bad_requests_do_not_wait(queue, ask):
    with pytest.raises(InputError, match="steps is 0"):
        queue.submit("a", lambda token: ask(token, steps=0))
    with pytest.raises(InputError, match="did you mean fluid"):
        queue.submit("a", lambda token: ask(token, categories="fluidd"))
    with pytest.raises(InputError, match="try 32"):
        queue.submit("a", lambda token: ask(token, height=33))


def test_a_failure_is_told_and_the_next_job_runs(queue, ask, results, monkeypatch, caplog):
    def broken(request, **_):
        raise {1: InputError("what is\nwrong"), 2: RuntimeError("a secret path")}[request.seed]

    with monkeypatch.context() as patch:
        patch.setattr(pila.web.job_queue, "generate", broken)
        one = queue.submit("a", lambda token: ask(token, seed=1))
        assert (finish(one).state, one.progress.error) == ("failed", "what is wrong")
        two = queue.submit("a", lambda token: ask(token, seed=2))
        assert finish(two).state == "failed"
    assert "secret" not in two.progress.error
    assert "a secret path" in caplog.text
    assert finish(queue.submit("a", ask)).state == "done"


def test_nothing_of_a_finished_job_waits_for_pythons_own_collection(queue, ask, results):
    """Its pictures hold themselves, so that they and what they show would stay for many jobs."""

    def pictures():
        return sum(type(found) is Figure for found in gc.get_objects())

    def with_pictures(token):
        return ask(token, explain=results.place(token) / "explain")

    gc.collect()
    before, on = pictures(), gc.isenabled()
    gc.disable()
    try:
        job = queue.submit("a", with_pictures)
        assert finish(job).state == "done"
        assert list((results.place(job.token) / "explain").glob("*.png"))
        end = time.monotonic() + 60
        while pictures() > before:
            assert time.monotonic() < end, "pictures are kept"
            time.sleep(0.05)
    finally:
        if on:
            gc.enable()


def test_closing_stops_what_runs(results, ask, held):
    reached, go = held
    queue = JobQueue(results, queue_size=2)
    running = queue.submit("a", ask)
    assert reached.wait(120)
    go.set()
    queue.close()
    assert running.finished


def test_bounds(results):
    with pytest.raises(InputError, match="queue is 0"):
        JobQueue(results, queue_size=0)
