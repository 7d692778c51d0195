"""The page's left column: what can be asked for, and what is said about it."""

import json
from dataclasses import dataclass, fields
from typing import Any

import gradio as gr

from pila.physics.layout import Category
from pila.web import html as fragments
from pila.web.models import ServedModel
from pila.web.schema import GUIDANCE_LIMIT, PROMPT_LIMIT

OWN_K = "the adapter's own"
EXAMPLES = (
    "a wide hot spot in the middle of a copper plate spreads",
    "two rubber balls collide head-on",
    "a heavy red ball is thrown fast to the right",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """Components whose values make a request, each by its name in `web.schema.GenerateBody`."""

    prompt: gr.Textbox
    categories: gr.CheckboxGroup
    seed: gr.Number
    steps: gr.Slider
    guidance_scale: gr.Slider
    height: gr.Number
    width: gr.Number
    num_frames: gr.Number
    negative_prompt: gr.Textbox
    adapter_scale: gr.Slider
    step_window: gr.Textbox
    top_k: gr.Dropdown
    model: gr.Dropdown
    adapter: gr.Dropdown

    def by_component(self) -> dict[Any, str]:
        """Name by component, as events take their inputs."""
        return {getattr(self, field.name): field.name for field in fields(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """The column's components.

    Attributes:
        inputs: what is asked for.
        found: which categories the prompt is about, and why.
        auto: whether they are found when generating.
        find: finds them now.
        start: generates.
        cancel: stops it.
        said: the last message.
        bar: how far a job is.
        bounds: the limits on sizes, in words.
    """

    inputs: Inputs
    found: gr.HTML
    auto: gr.Checkbox
    find: gr.Button
    start: gr.Button
    cancel: gr.Button
    said: gr.HTML
    bar: gr.HTML
    bounds: gr.HTML


def lay_out(models: dict[str, ServedModel]) -> Form:
    """The column, inside of the Gradio container that is open."""
    first = next(iter(models.values()))
    prompt = gr.Textbox(
        label="Prompt",
        value=EXAMPLES[0],
        lines=2,
        max_length=PROMPT_LIMIT,
        elem_id="pila-prompt",
    )
    examples = gr.Dataset(
        components=[prompt], samples=[[text] for text in EXAMPLES], label="Use an example"
    )
    # In the browser alone. `gr.Examples` asks the server past the queue, by a route that is closed.
    examples.click(
        None, examples, prompt, js=f"(at) => {json.dumps(EXAMPLES)}[at]", api_visibility="private"
    )
    categories = gr.CheckboxGroup(
        [(category.replace("_", " "), str(category)) for category in Category],
        label="Categories of physics that the prompt is about",
        elem_id="pila-labels",
    )
    found = html(elem_id="pila-found")
    auto = gr.Checkbox(
        True,
        label="Find categories when generating",
        info="Ticking categories by hand turns this off.",
        container=False,
        elem_id="pila-auto",
    )
    find = gr.Button("Find categories now", size="md")
    with gr.Row():
        start = gr.Button(
            "Generate", variant="primary", elem_id="pila-start", min_width=120, scale=2
        )
        cancel = gr.Button(
            "Cancel", interactive=False, elem_id="pila-cancel", min_width=80, scale=1
        )
    said, bar = html(elem_id="pila-message"), html(elem_id="pila-bar")
    with gr.Accordion("Sampling: seed, steps, size", open=False):
        sampling, bounds = _sampling(first)
    with gr.Accordion("Correction: strength, steps, adapter", open=False):
        correction = _correction(models)
    return Form(
        inputs=Inputs(prompt=prompt, categories=categories, **sampling, **correction),
        found=found,
        auto=auto,
        find=find,
        start=start,
        cancel=cancel,
        said=said,
        bar=bar,
        bounds=bounds,
    )


def _sampling(model: ServedModel) -> tuple[dict[str, Any], gr.HTML]:
    own, limits = model.own, model.limits
    made: dict[str, Any] = {
        "seed": gr.Number(
            0, label="Seed", info="Another seed is another clip.", precision=0, minimum=0
        ),
        "steps": gr.Slider(
            1, limits.steps, own.steps, step=1, label="Steps", info="Denoising steps of each clip."
        ),
        "guidance_scale": gr.Slider(
            0,
            GUIDANCE_LIMIT,
            own.guidance_scale,
            step=0.5,
            label="Guidance",
            info="How closely the clip follows the prompt.",
        ),
    }
    with gr.Row():
        for name, label in (("height", "Height"), ("width", "Width"), ("num_frames", "Frames")):
            made[name] = gr.Number(getattr(own, name), label=label, precision=0, min_width=80)
    bounds = html(bounds_of(model))
    made["negative_prompt"] = gr.Textbox(
        label="Negative prompt", info="What the clip should not show.", max_length=PROMPT_LIMIT
    )
    return made, bounds


def _correction(models: dict[str, ServedModel]) -> dict[str, Any]:
    name, first = next(iter(models.items()))
    return {
        "adapter_scale": gr.Slider(
            0, 3, 1, step=0.05, label="Strength", info="0 is the frozen generator, 1 as trained."
        ),
        "step_window": gr.Textbox(
            label="Steps to correct",
            placeholder="all steps",
            info="The first and the last, such as 1-8.",
        ),
        "top_k": gr.Dropdown(
            [OWN_K, *map(str, range(len(Category) + 1))],
            value=OWN_K,
            label="Experts at work (K)",
        ),
        "model": gr.Dropdown(list(models), value=name, label="Model"),
        "adapter": gr.Dropdown(
            list(first.adapters), value=next(iter(first.adapters)), label="Adapter"
        ),
    }


def html(value: str = "", **options: Any) -> gr.HTML:
    """A place for a piece of `pila.web.html`."""
    return gr.HTML(value, elem_classes="pila-html", **options)


def bounds_of(model: ServedModel) -> str:
    """The limits on a model's sizes, in words."""
    limits, (high, wide) = model.limits, model.grid.units
    unit = f"a multiple of {high}" if high == wide else f"multiples of {high} and {wide}"
    return fragments.message(
        f"At most {limits.side} pixels a side ({unit}), {limits.frames} frames "
        f"({model.grid.temporal} n + 1) and {limits.steps} steps."
    )
