"""Between the page and the queue: requests in, progress out. Knows nothing of Gradio."""

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

from pila.errors import InputError
from pila.generate.request import GenerateRequest
from pila.labels.parser import ParserUnavailable, check_prompt, make_parser
from pila.web.job_queue import SILENT, Job, JobQueue, Progress, told
from pila.web.models import ServedModel
from pila.web.results import CLIP
from pila.web.schema import GenerateBody, asked, check_length, to_request

logger = logging.getLogger(__name__)

LOOK_EVERY = 0.1
"""Seconds between looks at a job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Handlers:
    """What the page's events need.

    Attributes:
        queue: does the work.
        models: models by name; the first is the default.
        device: where to run.
        dtype: of the denoiser.
        offload: as in `pila generate`.
        parser: who finds the categories where the queue has no parser of its own.
    """

    queue: JobQueue
    models: dict[str, ServedModel]
    device: str = "auto"
    dtype: str = "auto"
    offload: str = "none"
    parser: str = "auto"

    def submit(self, values: dict[str, Any], session: str, client: str | None = None) -> Job:
        """Check what a web user sent and queue it; `client` is whose share of the queue it takes.

        Raises:
            InputError: one line for the user.
        """
        ask = asked(values)
        return self.queue.submit(session, lambda token: self.request(ask, token), client=client)

    async def take(self, values: dict[str, Any], session: str, client: str | None = None) -> Job:
        """`submit` in a thread: its checks read files, and no other user's page waits for them.

        Who leaves meanwhile cancels the job.

        Raises:
            InputError: one line for the user.
        """
        submitting = asyncio.ensure_future(asyncio.to_thread(self.submit, values, session, client))
        try:
            return await asyncio.shield(submitting)
        except asyncio.CancelledError:
            submitting.add_done_callback(self._drop)
            raise

    def _drop(self, submitted: "asyncio.Future[Job]") -> None:
        if not submitted.cancelled() and submitted.exception() is None:
            self.queue.cancel(submitted.result())

    def request(self, ask: GenerateBody, token: str) -> GenerateRequest:
        """The request to generate, with its results under `token`."""
        return to_request(
            ask,
            self.models,
            output=self.queue.results.place(token) / CLIP,
            device=self.device,
            dtype=self.dtype,
            offload=self.offload,
            parser=self.parser,
        )

    def parse(self, prompt: Any) -> dict[str, Any]:
        """What the parser makes of a prompt.

        Raises:
            InputError: no text, or too much of it, or no answer.
        """
        text = check_prompt(asked({"prompt": prompt}).prompt)
        check_length("prompt", text)
        try:
            parse = (self.queue.parser or make_parser(self.parser))(text).to_dict()
        except ParserUnavailable as error:
            logger.warning("%s", error)
            raise InputError(SILENT) from None
        return parse | {"note": told(parse["note"])}

    async def follow(self, job: Job) -> AsyncIterator[Progress]:
        """Each change of a job up to its end; who stops listening cancels it."""
        last = None
        try:
            while True:
                now = job.progress
                if now.state == "running" and job.stop.is_set():
                    now = replace(now, doing="stops after this step")
                if now != last:
                    last = now
                    yield now
                if job.finished:
                    return
                await asyncio.sleep(LOOK_EVERY)
        finally:
            if not job.finished:
                self.queue.cancel(job)
