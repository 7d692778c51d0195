"""`pila serve`: the page."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from pila.errors import InputError
from pila.generate.request import ParserName


@dataclass(frozen=True, slots=True, kw_only=True)
class Serve:
    """Serve a page, and an API, that generate and compare clips; works offline.

    Takes `pip install -c constraints.txt '.[web]'`. Ends with Ctrl-C, and removes its results.
    """

    port: int = 7860
    """Where to listen; 0 takes any free port."""
    host: str = "127.0.0.1"
    """Which interface; another than loopback takes --password-file."""
    public_host: str | None = None
    """The name under which a proxy in front serves the page by https, such as lab.example; with
    the port where that is not 443. Takes --password-file."""
    password_file: Path | None = None
    """A text file whose first line is the password that the page asks for."""
    model: tuple[str, ...] = ()
    """Models to offer beside the embedded one: folders or hub ids. The first is the default."""
    adapter: tuple[str, ...] = ()
    """Adapters to offer beside the embedded one, as `pila generate --adapter` takes them."""
    queue: int = 8
    """Requests that may wait while one is at work."""
    max_steps: int = 50
    """Most denoising steps of a request."""
    max_side: int | None = None
    """Most pixels of height and width; by default what the model makes by itself."""
    max_frames: int | None = None
    """Most frames; by default what the model makes by itself."""
    keep: int = 50
    """Results kept, of all users together; the oldest are removed."""
    keep_hours: float = 24.0
    """Hours that a result is kept."""
    parser: ParserName = "auto"
    """Who finds a prompt's categories, as in `pila generate`; llm sends prompts to that server."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps ..."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Of the denoiser; auto is bfloat16 on CUDA and float32 elsewhere."""
    offload: Literal["none", "model", "group", "sequential"] = "none"
    """Keep what is not at work in main memory; needs CUDA."""
    json: bool = False
    """Print one JSON object, once the page is served, instead of text."""


def _serve(command: Serve) -> None:
    if find_spec("gradio") is None:
        raise InputError(
            "the page takes gradio, which is not installed; pip install -c constraints.txt '.[web]'"
        )

    from pila.labels.parser import make_parser
    from pila.network import clean_environment
    from pila.pipelines.locate import find_device
    from pila.web.handlers import Handlers
    from pila.web.job_queue import JobQueue
    from pila.web.models import Limits, served_models
    from pila.web.results import Results
    from pila.web.schema import GenerateBody
    from pila.web.serving import (
        Address,
        check_port,
        keep_gradio_in,
        read_password,
        serving,
        signals_heard,
    )

    password = None if command.password_file is None else read_password(command.password_file)
    address = Address(
        host=command.host, port=command.port, password=password, public=command.public_host
    )
    check_port(address)
    find_device(command.device)
    parser = make_parser(command.parser)
    limits = Limits(steps=command.max_steps, side=command.max_side, frames=command.max_frames)
    models = served_models(command.model, command.adapter, limits)
    results = Results(keep=command.keep, keep_hours=command.keep_hours)
    try:
        queue = JobQueue(results, queue_size=command.queue, parser=parser)
        try:
            keep_gradio_in(results.root)
            with clean_environment():  # it makes HTTP clients as it is imported
                from pila.web.app import build

            handlers = Handlers(
                queue=queue,
                models=models,
                device=command.device,
                dtype=command.dtype,
                offload=command.offload,
                parser=command.parser,
            )
            queue.warm_up(handlers.request(GenerateBody(prompt="first"), results.new_token()))
            page = build(handlers)
            # Heard before the address is told: who reads it may end the server at once.
            with (
                signals_heard() as wait_for_a_signal,
                serving(page, address, files=results.root) as url,
            ):
                _announce(command, url, list(models), password is not None)
                wait_for_a_signal()
        finally:
            queue.close()
    finally:
        results.close()


def _announce(command: Serve, url: str, models: list[str], password: bool) -> None:
    if command.json:
        print(json.dumps({"url": url, "models": models, "password": password}), flush=True)
        return
    print(f"page        {url}" + (" (asks for the password)" if password else ""))
    print(f"API         {url} for gradio_client: /generate and /categories")
    print(f"models      {', '.join(models)}")
    print("Ctrl-C ends it and removes its results", flush=True)


COMMANDS: dict[type, Callable[[Any], int | None]] = {Serve: _serve}
"""What runs the command."""
