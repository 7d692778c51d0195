"""The page: its two columns, and what its events do."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import gradio as gr

from pila.errors import InputError
from pila.web import api, form
from pila.web import html as fragments
from pila.web import page_view as view
from pila.web.form import Form
from pila.web.handlers import Handlers
from pila.web.page_view import View

HERE = Path(__file__).parent
HEAD = f"<script>{(HERE / 'player.js').read_text(encoding='utf-8')}</script>"
CSS = (HERE / "page.css").read_text(encoding="utf-8")
# Messages are read out when they change; the bar that moves at each step is not.
ON_LOAD = """() => {
  document.documentElement.lang = "en";
  document.getElementById("pila-message")?.setAttribute("role", "status");
}"""
# What was asked for may have come, or been refused, above or below what is in view.
REVEAL = """() => requestAnimationFrame(() => {
  const at = document.querySelector("#pila-message .pila-error")
    ?? (document.querySelector("#pila-message .pila-done") && document.getElementById("pila-view"));
  const top = at?.getBoundingClientRect().top;
  if (top < 0 || top > innerHeight - 200) at.scrollIntoView({block: "start"});
})"""
PRESSED = "() => ({__type__: 'update', interactive: false})"
PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}


def build(handlers: Handlers) -> gr.Blocks:
    """The page and its API, not yet served."""
    with gr.Blocks(title="pila", analytics_enabled=False) as page:
        gr.Markdown(
            "# pila\nA frozen video generator and the same generator corrected by a physics "
            "adapter, from the same noise."
        )
        made = gr.State([])  # tokens of this session's results, the oldest first
        with gr.Row(equal_height=False):
            with gr.Column(scale=2, min_width=320):
                asked = form.lay_out(handlers.models)
            with gr.Column(scale=3, min_width=320, elem_id="pila-shown"):
                shown = view.lay_out()
        gr.Markdown("## This session's clips")
        gallery = view.gallery()
        _generates(handlers, asked, shown, gallery, made)
        _finds(handlers, asked)
        _shows(handlers, asked, shown, gallery, made)
        _changes_model(handlers, asked)
        _leaves(handlers, page)
        api.add(handlers)
    # The bound of waiting generations is the queue's; this one is for everything else.
    return page.queue(max_size=1_000, default_concurrency_limit=8)


def _generates(
    handlers: Handlers, asked: Form, shown: View, gallery: gr.HTML, made: gr.State
) -> None:
    """Generate and Cancel: while a job is under way, only the second can be pressed."""
    names = asked.inputs.by_component()
    parse = gr.State(None)  # what was found for the last clip; None where nothing was to be

    async def on_start(values: dict[Any, Any], client: gr.Request) -> Any:
        ask = {name: values[component] for component, name in names.items()}
        ask["seed"] = ask["seed"] or 0
        ask["top_k"] = None if ask["top_k"] == form.OWN_K else ask["top_k"]
        ask["categories"] = None if values[asked.auto] else ask["categories"]
        yield {parse: None}
        try:
            job = await handlers.take(ask, api.session_of(client), api.user_of(client))
            yield {asked.said: "", **_buttons(asked, busy=True)}
            async for now in handlers.follow(job):
                yield {asked.bar: fragments.progress(now)}
            if job.report is None:
                if job.progress.error:
                    raise InputError(job.progress.error)
                yield {asked.said: fragments.message(job.progress.doing.capitalize())}
                return
            report = handlers.queue.results.read(job.token)
        except InputError as error:
            yield {asked.said: fragments.message(str(error), kind="error")}
            return
        reports = _reports(handlers, [*values[made], job.token])
        seconds = sum(job.report.seconds.values())
        yield shown.of(report) | {
            asked.said: fragments.message(f"Done in {seconds:.0f} s.", kind="done"),
            made: list(reports),  # no more than are kept
            gallery: fragments.gallery(reports),
            parse: report if values[asked.auto] else None,
        }

    def on_end(auto: bool, found: dict[str, Any] | None, client: gr.Request) -> Any:
        """However it ended. Categories that were ticked meanwhile stay as they are."""
        busy = handlers.queue.is_busy_for(api.session_of(client))
        told = {} if busy else {asked.bar: ""}
        if auto and found is not None:
            told |= {
                asked.inputs.categories: found["categories"],
                asked.found: fragments.evidence(found),
            }
        return told | _buttons(asked, busy=busy)

    def on_cancel(client: gr.Request) -> Any:
        if handlers.queue.cancel_session(api.session_of(client)):
            return gr.skip()  # the bar says so; a message could come after the job's last one
        return fragments.message("Nothing is being generated.")

    buttons = [asked.start, asked.cancel]
    triggers = [asked.start.click, asked.inputs.prompt.submit]
    # At once, in the browser: a second press would be dropped without a word.
    gr.on(triggers, None, js=PRESSED, outputs=asked.start, **PRIVATE)
    started = gr.on(
        triggers,
        on_start,
        {*names, asked.auto, made},
        [asked.said, asked.bar, *buttons, *shown.components(), made, gallery, parse],
        concurrency_limit=None,  # the handlers have a queue of their own
        trigger_mode="once",
        **PRIVATE,
    )
    outputs = [asked.bar, *buttons, asked.inputs.categories, asked.found]
    for ended in (started.then, started.failure):  # `then` alone does not follow a failure
        ended(on_end, [asked.auto, parse], outputs, **PRIVATE)
    started.then(None, js=REVEAL, **PRIVATE)
    asked.cancel.click(on_cancel, None, asked.said, **PRIVATE)


def _leaves(handlers: Handlers, page: gr.Blocks) -> None:
    """Who closes the page, or loads it anew, wants nothing more."""

    def on_leave(client: gr.Request) -> None:
        handlers.queue.cancel_session(api.session_of(client))

    page.unload(on_leave)


def _finds(handlers: Handlers, asked: Form) -> None:
    """Categories: found when asked to, and no longer once they are ticked by hand."""

    def on_find(text: str) -> Any:
        try:
            parse = handlers.parse(text)
        except InputError as error:
            return {asked.said: fragments.message(str(error), kind="error")}
        return {
            asked.inputs.categories: parse["categories"],
            asked.found: fragments.evidence(parse),
            asked.auto: True,
            asked.said: "",
        }

    outputs = [asked.inputs.categories, asked.found, asked.auto, asked.said]
    asked.find.click(on_find, asked.inputs.prompt, outputs, **PRIVATE)
    # In the browser alone: an answer that comes later would undo what is ticked meanwhile.
    asked.inputs.categories.input(
        None, None, [asked.auto, asked.found], js="() => [false, '']", **PRIVATE
    )


def _shows(handlers: Handlers, asked: Form, shown: View, gallery: gr.HTML, made: gr.State) -> None:
    """The list of clips: one of them is shown again."""

    def on_show(tokens: list[str], event: gr.EventData) -> Any:
        token = event._data.get("token") if isinstance(event._data, dict) else None
        try:
            if token not in tokens:
                raise InputError("this is not a clip of this session; choose another")
            report = handlers.queue.results.read(token)
        except InputError as error:
            return {
                asked.said: fragments.message(str(error), kind="error"),
                gallery: fragments.gallery(_reports(handlers, tokens)),
            }
        text = f"Clip {tokens.index(token) + 1} is shown."
        return shown.of(report) | {asked.said: fragments.message(text, kind="done")}

    outputs = [asked.said, gallery, *shown.components()]
    chosen = gallery.select(on_show, made, outputs, **PRIVATE)
    chosen.then(None, js=REVEAL, **PRIVATE)


def _changes_model(handlers: Handlers, asked: Form) -> None:
    """Another model: its own values, its limits, and the adapters that fit it."""
    inputs = asked.inputs

    def on_model(chosen: str) -> Any:
        models = handlers.models.get(chosen)
        if models is None:
            return {asked.said: fragments.message("No such model is on offer.", kind="error")}
        own, names = models.own, list(models.adapters)
        return {
            inputs.adapter: gr.Dropdown(names, value=names[0]),
            inputs.steps: gr.Slider(maximum=models.limits.steps, value=own.steps),
            inputs.guidance_scale: own.guidance_scale,
            inputs.height: own.height,
            inputs.width: own.width,
            inputs.num_frames: own.num_frames,
            asked.bounds: form.bounds_of(models),
            asked.said: "",
        }

    changed = [inputs.adapter, inputs.steps, inputs.guidance_scale, inputs.height, inputs.width]
    outputs = [*changed, inputs.num_frames, asked.bounds, asked.said]
    inputs.model.input(on_model, inputs.model, outputs, **PRIVATE)


def _buttons(asked: Form, *, busy: bool) -> dict[Any, Any]:
    """What can be pressed; Cancel is red only while there is something to cancel."""
    return {
        asked.start: gr.Button(interactive=not busy),
        asked.cancel: gr.Button(interactive=busy, variant="stop" if busy else "secondary"),
    }


def _reports(handlers: Handlers, tokens: list[str]) -> dict[str, Any]:
    """Those of a session's results that are still kept."""
    reports = {}
    for token in tokens:
        with suppress(InputError):
            reports[token] = handlers.queue.results.read(token)
    return reports
