"""Between page and queue: nobody waits for another's checks, or learns where the server asks."""

import asyncio
import threading

import pytest

import pila.web.job_queue
from pila.errors import InputError
from pila.labels import make_parser
from pila.labels.parser import AutoParser, ParserUnavailable
from pila.web.handlers import Handlers
from pila.web.job_queue import JobQueue
from pila.web.models import served_models
from pila.web.results import Results

PRIVATE = "language model m at http://10.0.0.7:8000: no connection"
SMALL = {"prompt": "a ball", "height": 48, "width": 48, "num_frames": 9, "steps": 1}


def silent(prompt):
    raise ParserUnavailable(PRIVATE)


@pytest.fixture
def desk_with():
    opened = []

    def desk_with(parser):
        results = Results()
        queue = JobQueue(results, parser=parser)
        opened.append((queue, results))
        return Handlers(queue=queue, models=served_models([], []), device="cpu")

    yield desk_with
    for queue, results in opened:
        queue.close()
        results.close()


def made(handlers):
    """A job of `SMALL`, finished."""

    async def follow():
        job = await handlers.take(SMALL, "me")
        async for _ in handlers.follow(job):
            pass
        return job

    return asyncio.run(follow())


def test_nobody_waits_for_anothers_checks(desk_with, monkeypatch):
    handlers, main, go = desk_with(make_parser("offline")), threading.get_ident(), threading.Event()
    real = pila.web.job_queue.prepare

    def slow(request):
        assert threading.get_ident() != main
        assert go.wait(60)
        return real(request)

    monkeypatch.setattr(pila.web.job_queue, "prepare", slow)

    async def one_and_another():
        taken = asyncio.ensure_future(handlers.take(SMALL, "me"))
        await asyncio.sleep(0.05)  # another user's turn
        assert not taken.done()
        go.set()
        handlers.queue.cancel(await taken)

    asyncio.run(one_and_another())


def test_who_leaves_during_the_checks_leaves_no_job(desk_with, monkeypatch):
    handlers, checking, go = desk_with(make_parser("offline")), threading.Event(), threading.Event()
    jobs = []
    real, cancel = pila.web.job_queue.prepare, JobQueue.cancel

    def slow(request):
        checking.set()
        assert go.wait(60)
        return real(request)

    monkeypatch.setattr(pila.web.job_queue, "prepare", slow)
    monkeypatch.setattr(JobQueue, "cancel", lambda self, job: jobs.append(job) or cancel(self, job))

    async def leave():
        taken = asyncio.ensure_future(handlers.take(SMALL, "me"))
        while not checking.is_set():
            await asyncio.sleep(0.01)
        taken.cancel()
        with pytest.raises(asyncio.CancelledError):
            await taken
        go.set()
        while not jobs:
            await asyncio.sleep(0.01)

    asyncio.run(leave())
    assert jobs[0].stop.is_set()


def test_wrong_requests_are_refused(desk_with):
    with pytest.raises(InputError, match="steps is 0"):
        asyncio.run(desk_with(None).take(SMALL | {"steps": 0}, "me"))


def test_users_are_not_told_where_the_language_model_is(desk_with, caplog):
    falls_back = desk_with(AutoParser(silent, make_parser("offline")))
    parse = falls_back.parse("a ball falls")
    assert parse["categories"] == ["rigid_body"]
    assert parse["note"] == "fallback: the language model gave no answer; the server's log says why"
    assert PRIVATE in caplog.text
    job = made(falls_back)
    assert job.report.note == parse["note"]
    assert falls_back.queue.results.read(job.token)["note"] == parse["note"]

    insists = desk_with(silent)
    with pytest.raises(InputError, match=r"^the language model gave no answer; the server's log"):
        insists.parse("a ball falls")
    caplog.clear()
    assert (
        made(insists).progress.error
        == "the language model gave no answer; the server's log says why"
    )
    assert PRIVATE in caplog.text
