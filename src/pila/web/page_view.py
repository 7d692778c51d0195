"""The page's right column and its list: what was made."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import gradio as gr

from pila.web import html as fragments
from pila.web.form import html

_PRESSED = """element.addEventListener("click", (event) => {
  const token = event.target.closest("button")?.dataset.token;
  if (token) trigger("select", {token});
});"""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Components that show one result."""

    player: gr.HTML
    routing: gr.HTML
    bank: gr.HTML
    where: gr.HTML
    laws: gr.HTML
    settings: gr.HTML

    def components(self) -> list[gr.HTML]:
        """All of them, as events take their outputs."""
        return [getattr(self, field.name) for field in fields(self)]

    def of(self, report: Mapping[str, Any]) -> dict[Any, str]:
        """What each of them shows of a result."""
        return {
            self.player: fragments.player(report),
            self.routing: fragments.routing(report),
            self.bank: fragments.pictures(report, ["bank.png"]),
            self.where: fragments.pictures(
                report, ["where.png", "correction.png", "tokens.png", "semantic.png"]
            ),
            self.laws: fragments.laws(report),
            self.settings: fragments.settings(report),
        }


def lay_out() -> View:
    """The column, inside of the Gradio container that is open."""
    player = html(fragments.message("The clips will be shown here."), elem_id="pila-view")
    made = {}
    # Wrapped: tabs that do not fit would be hidden in a menu, which phones show without a name.
    with gr.Tabs(overflow_behavior="wrap"):
        for name, label, words in (
            ("routing", "Routing", "How much each expert of the adapter weighs."),
            ("bank", "Bank", "The physical fields that the adapter reads in the clip."),
            ("where", "Where", "Where and when the correction acts."),
            ("laws", "Laws", "How well each clip obeys the laws of its scene."),
            ("settings", "Settings", "All values that the clip was made with."),
        ):
            with gr.Tab(label):
                made[name] = html(fragments.message(words))
    return View(player=player, **made)


def gallery() -> gr.HTML:
    """The list of this session's clips; its `select` event names the token of one."""
    return html(fragments.gallery({}), elem_id="pila-results", js_on_load=_PRESSED)
