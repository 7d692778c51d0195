"""What programs may call: the page's two functions under names of their own."""

from ipaddress import ip_address
from pathlib import Path
from typing import Any

import gradio as gr
from gradio import FileData

from pila.errors import InputError
from pila.web.handlers import Handlers
from pila.web.schema import GenerateBody


def add(handlers: Handlers) -> None:
    """Add both to the page that is being built."""

    async def generate(
        prompt: str,
        categories: list[str] | None = None,
        model: str | None = None,
        adapter: str | None = None,
        seed: int = 0,
        steps: int | None = None,
        guidance_scale: float | None = None,
        adapter_scale: float = 1.0,
        step_window: str | None = None,
        top_k: int | None = None,
        height: int | None = None,
        width: int | None = None,
        num_frames: int | None = None,
        negative_prompt: str | None = None,
        client: gr.Request = None,  # pyright: ignore[reportArgumentType]
    ) -> tuple[FileData, FileData, FileData, FileData, dict]:
        """Generate a clip with and without the correction.

        Returns the corrected clip, the frozen one, both beside each other (mp4), the settings
        (JSON, for `pila generate --from`), and the report. None leaves a value to the model.
        """
        values = {
            name: value for name, value in locals().items() if name in GenerateBody.model_fields
        }
        try:
            job = await handlers.take(values, session_of(client), user_of(client))
        except InputError as error:
            raise gr.Error(str(error), print_exception=False) from None
        bar = gr.Progress()
        async for now in handlers.follow(job):
            if now.state == "running":
                bar((now.step, now.steps), desc=now.doing, unit="steps")
        if job.report is None:
            text = job.progress.error or job.progress.doing
            raise gr.Error(text, print_exception=False)
        report = handlers.queue.results.read(job.token)
        files = report.pop("files")
        clips = (_file(files[key]) for key in ("output", "frozen", "comparison", "settings"))
        return *clips, report  # pyright: ignore[reportReturnType]

    def categories(prompt: str) -> dict:
        """The physical categories that a prompt is about, and the words that decided."""
        try:
            return handlers.parse(prompt)
        except InputError as error:
            raise gr.Error(str(error), print_exception=False) from None

    gr.api(generate, api_name="generate", concurrency_limit=None)
    gr.api(categories, api_name="categories")


def session_of(client: gr.Request) -> str:
    """Whose call it is: one open page, or one client of the API."""
    return client.session_hash or ""


def user_of(client: gr.Request) -> str:
    """Whose share of the queue a call takes: an address, since anyone can name sessions.

    Many users may come from this machine's own, through a tunnel; there it is the session.
    """
    address = client.client.host if client.client else ""
    try:
        alike = ip_address(address).is_loopback
    except ValueError:
        alike = True
    return f"session {session_of(client)}" if alike else address


def _file(path: str) -> Any:
    return FileData(path=path, orig_name=Path(path).name).model_dump()
