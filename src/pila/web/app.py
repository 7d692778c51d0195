"""The page: Gradio components, what their events do, and the API beside them."""

from pathlib import Path
from typing import Any

import gradio as gr
from gradio import FileData

from pila.errors import InputError
from pila.physics.layout import Category
from pila.web import fragments
from pila.web.asked import GUIDANCE_LIMIT, PROMPT_LIMIT, Asked
from pila.web.desk import Desk
from pila.web.offer import Offered

OWN_K = "the adapter's own"
EXAMPLES = (
    "a wide hot spot in the middle of a copper plate spreads",
    "two rubber balls collide head-on",
    "a heavy red ball is thrown fast to the right",
)
HERE = Path(__file__).parent
HEAD = f"<script>{(HERE / 'player.js').read_text(encoding='utf-8')}</script>"
CSS = (HERE / "page.css").read_text(encoding="utf-8")
# Messages are read out when they change; the bar that moves at each step is not.
ON_LOAD = """() => {
  document.documentElement.lang = "en";
  document.getElementById("pila-message")?.setAttribute("role", "status");
}"""


def build(desk: Desk) -> gr.Blocks:
    """The page and its API, not yet served."""
    name, first = next(iter(desk.offered.items()))
    own, limits = first.own, first.limits
    with gr.Blocks(title="pila", analytics_enabled=False, delete_cache=(600, 3600)) as page:
        gr.Markdown(
            "# pila\nA frozen video generator and the same generator corrected by a physics "
            "adapter, from the same noise."
        )
        made = gr.State([])  # tokens of this session's results, the oldest first
        with gr.Row(equal_height=False):
            with gr.Column(scale=2, min_width=320):
                prompt = gr.Textbox(
                    label="Prompt",
                    value=EXAMPLES[0],
                    lines=2,
                    max_length=PROMPT_LIMIT,
                    elem_id="pila-prompt",
                )
                gr.Examples([[text] for text in EXAMPLES], prompt, label="Examples")
                labels = gr.CheckboxGroup(
                    [(c.replace("_", " "), str(c)) for c in Category],
                    label="Categories of physics",
                    elem_id="pila-labels",
                )
                found = _html(elem_id="pila-found")
                with gr.Row():
                    auto = gr.Checkbox(
                        True,
                        label="Find when generating",
                        info="Ticking by hand turns this off.",
                        elem_id="pila-auto",
                        min_width=160,
                    )
                    find = gr.Button("Find now", min_width=120)
                with gr.Row():
                    start = gr.Button(
                        "Generate", variant="primary", elem_id="pila-start", min_width=120
                    )
                    cancel = gr.Button(
                        "Cancel", variant="stop", elem_id="pila-cancel", min_width=120
                    )
                with gr.Accordion("Sampling", open=False):
                    with gr.Row():
                        seed = gr.Number(0, label="Seed", precision=0, minimum=0)
                        steps = gr.Slider(1, limits.steps, own.steps, step=1, label="Steps")
                    guidance = gr.Slider(
                        0, GUIDANCE_LIMIT, own.guidance_scale, step=0.5, label="Guidance"
                    )
                    with gr.Row():
                        height = gr.Number(own.height, label="Height", precision=0)
                        width = gr.Number(own.width, label="Width", precision=0)
                        frames = gr.Number(own.num_frames, label="Frames", precision=0)
                    bounds = _html(_bounds(first))
                    negative = gr.Textbox(label="Negative prompt", max_length=PROMPT_LIMIT)
                with gr.Accordion("Correction", open=False):
                    strength = gr.Slider(
                        0, 3, 1, step=0.05, label="Strength", info="0 is the frozen generator."
                    )
                    window = gr.Textbox(
                        label="Step window",
                        placeholder="all steps",
                        info="First and last step to correct, such as 1-8.",
                    )
                    top_k = gr.Dropdown(
                        [OWN_K, *map(str, range(9))], value=OWN_K, label="K, experts at work"
                    )
                    model = gr.Dropdown(list(desk.offered), value=name, label="Model")
                    adapter = gr.Dropdown(
                        list(first.adapters), value=next(iter(first.adapters)), label="Adapter"
                    )
            with gr.Column(scale=3, min_width=320, elem_id="pila-shown"):
                said = _html(elem_id="pila-message")
                bar = _html(elem_id="pila-bar")
                player = _html(
                    fragments.message("The clips will be shown here."), elem_id="pila-view"
                )
                with gr.Tabs():
                    with gr.Tab("Routing"):
                        routing = _html()
                    with gr.Tab("Bank"):
                        bank = _html()
                    with gr.Tab("Where"):
                        where = _html()
                    with gr.Tab("Laws"):
                        laws = _html()
                    with gr.Tab("Settings"):
                        chosen = _html()
        gr.Markdown("## This session's clips")
        gallery = _html(
            fragments.gallery({}),
            elem_id="pila-results",
            js_on_load="""element.addEventListener("click", (event) => {
              const token = event.target.closest("button")?.dataset.token;
              if (token) trigger("select", {token});
            });""",
        )
        view = [player, routing, bank, where, laws, chosen]

        def shown(report: dict[str, Any]) -> dict[Any, Any]:
            return {
                player: fragments.player(report),
                routing: fragments.routing(report),
                bank: fragments.pictures(report, ["bank.png"]),
                where: fragments.pictures(
                    report, ["where.png", "correction.png", "tokens.png", "semantic.png"]
                ),
                laws: fragments.laws(report),
                chosen: fragments.settings(report),
            }

        inputs = {
            prompt: "prompt",
            labels: "labels",
            seed: "seed",
            steps: "steps",
            guidance: "guidance_scale",
            strength: "adapter_scale",
            window: "step_window",
            top_k: "top_k",
            height: "height",
            width: "width",
            frames: "num_frames",
            negative: "negative_prompt",
            model: "model",
            adapter: "adapter",
        }

        async def on_start(values: dict[Any, Any], client: gr.Request) -> Any:
            ask = {key: values[component] for component, key in inputs.items()}
            ask["seed"] = ask["seed"] or 0
            ask["top_k"] = None if ask["top_k"] == OWN_K else ask["top_k"]
            ask["labels"] = None if values[auto] else ask["labels"]
            try:
                job = await desk.take(ask, _session(client))
            except InputError as error:
                yield {said: fragments.message(str(error), kind="error"), bar: ""}
                return
            yield {said: ""}
            async for now in desk.follow(job):
                yield {bar: fragments.progress(now)}
            if job.report is None:
                kind = "error" if job.progress.error else "note"
                text = job.progress.error or job.progress.doing
                yield {said: fragments.message(text.capitalize(), kind=kind), bar: ""}
                return
            report = desk.studio.results.read(job.token)
            tokens = [*values[made], job.token]
            yield shown(report) | {
                said: fragments.message(f"Done in {sum(job.report.seconds.values()):.0f} s."),
                bar: "",
                labels: report["categories"],
                found: fragments.evidence(report) if values[auto] else "",
                made: tokens,
                gallery: fragments.gallery(_reports(desk, tokens)),
            }

        def on_find(text: str) -> Any:
            try:
                parse = desk.parse(text)
            except InputError as error:
                return {said: fragments.message(str(error), kind="error")}
            return {
                labels: parse["categories"],
                found: fragments.evidence(parse),
                auto: True,
                said: "",
            }

        def on_cancel(client: gr.Request) -> str:
            if desk.studio.cancel_session(_session(client)):
                return fragments.message("Stops after the current step.")
            return fragments.message("Nothing is being generated.")

        def on_show(tokens: list[str], event: gr.EventData) -> Any:
            token = event._data.get("token") if isinstance(event._data, dict) else None
            try:
                if token not in tokens:
                    raise InputError("this is not a clip of this session; choose another")
                return shown(desk.studio.results.read(token)) | {said: ""}
            except InputError as error:
                return {said: fragments.message(str(error), kind="error")}

        def on_model(chosen_model: str) -> Any:
            offered = desk.offered.get(chosen_model)
            if offered is None:
                return {said: fragments.message("No such model is on offer.", kind="error")}
            own, names = offered.own, list(offered.adapters)
            return {
                adapter: gr.Dropdown(names, value=names[0]),
                steps: gr.Slider(maximum=offered.limits.steps, value=own.steps),
                guidance: own.guidance_scale,
                height: own.height,
                width: own.width,
                frames: own.num_frames,
                bounds: _bounds(offered),
                said: "",
            }

        def on_leave(client: gr.Request) -> None:
            desk.studio.cancel_session(_session(client))

        private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        gr.on(
            [start.click, prompt.submit],
            on_start,
            {*inputs, auto, made},
            [said, bar, *view, labels, found, made, gallery],
            concurrency_limit=None,  # the studio has its own queue
            trigger_mode="once",
            **private,
        )
        find.click(on_find, prompt, [labels, found, auto, said], **private)
        labels.input(lambda: (False, ""), None, [auto, found], **private)
        cancel.click(on_cancel, None, said, **private)
        gallery.select(on_show, made, [said, *view], **private)
        model.input(
            on_model,
            model,
            [adapter, steps, guidance, height, width, frames, bounds, said],
            **private,
        )
        page.unload(on_leave)
        _add_api(desk)
    # The bound of waiting generations is the studio's; this one is for everything else.
    return page.queue(max_size=1_000, default_concurrency_limit=8)


def _add_api(desk: Desk) -> None:
    async def generate(
        prompt: str,
        labels: list[str] | None = None,
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
        values = {name: value for name, value in locals().items() if name in Asked.model_fields}
        try:
            job = await desk.take(values, _session(client))
        except InputError as error:
            raise gr.Error(str(error), print_exception=False) from None
        bar = gr.Progress()
        async for now in desk.follow(job):
            if now.state == "running":
                bar((now.step, now.steps), desc=now.doing, unit="steps")
        if job.report is None:
            text = job.progress.error or job.progress.doing
            raise gr.Error(text, print_exception=False)
        report = desk.studio.results.read(job.token)
        files = report.pop("files")
        clips = (_file(files[key]) for key in ("output", "frozen", "comparison", "settings"))
        return *clips, report  # pyright: ignore[reportReturnType]

    def categories(prompt: str) -> dict:
        """The physical categories that a prompt is about, and the words that decided."""
        try:
            return desk.parse(prompt)
        except InputError as error:
            raise gr.Error(str(error), print_exception=False) from None

    gr.api(generate, api_name="generate", concurrency_limit=None)
    gr.api(categories, api_name="categories")


def _html(value: str = "", **options: Any) -> gr.HTML:
    return gr.HTML(value, elem_classes="pila-html", **options)


def _file(path: str) -> Any:
    return FileData(path=path, orig_name=Path(path).name).model_dump()


def _session(client: gr.Request) -> str:
    return client.session_hash or ""


def _reports(desk: Desk, tokens: list[str]) -> dict[str, Any]:
    results = desk.studio.results
    return {token: results.read(token) for token in tokens if results.has(token)}


def _bounds(model: Offered) -> str:
    limits, (high, wide) = model.limits, model.grid.units
    unit = f"a multiple of {high}" if high == wide else f"multiples of {high} and {wide}"
    return fragments.message(
        f"At most {limits.side} pixels a side ({unit}), {limits.frames} frames "
        f"({model.grid.temporal} n + 1) and {limits.steps} steps."
    )
