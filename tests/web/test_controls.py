"""Every control of the page works, whatever came before it.

What can be pressed or filled in is found in the page itself, and each of it must have an exercise
here: a control that is added without one fails the test.
"""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.web.browser import clips, fill, generate, message, needs_browser, served

pytestmark = [pytest.mark.slow, needs_browser]

MARK = r"""() => {
  const all = "a, button, input, select, textarea, summary, audio[controls], video[controls], "
    + "[contenteditable], [tabindex], [role=button], [role=link], [role=switch], [role=tab]";
  const line = (text) => (text ?? "").trim().split("\n")[0].trim();
  const name = (e) => {
    const own = e.getAttribute("aria-label") || line(e.labels?.[0]?.innerText) || line(e.innerText);
    // Not the block's first line: while a value comes from the server, that is the time it takes.
    const slider = own.startsWith("Reset to") && e.closest(".block");
    return slider ? `${own}: ${line(slider.querySelector("label").innerText)}` : own;
  };
  for (const old of document.querySelectorAll("[data-test]")) old.removeAttribute("data-test");
  const names = [];
  for (const e of document.querySelectorAll(all)) {
    if (!e.checkVisibility({ visibilityProperty: true })) continue;
    const type = e.tagName === "INPUT" ? e.type : e.tagName.toLowerCase();
    const found = `${e.getAttribute("role") ?? type}: ${name(e)}`;
    e.setAttribute("data-test", found);
    names.push(found);
  }
  return names;
}"""
LATEST_CLIP = "document.querySelector('pila-player video')?.src ?? ''"


@dataclass
class Visit:
    """One page through all generations.

    Attributes:
        page: Playwright's.
        generation: 1, 2, 3.
        done: controls that were exercised in this generation.
        settings: of the clip that is shown.
    """

    page: Any
    generation: int = 0
    done: set[str] = field(default_factory=set)
    settings: dict[str, Any] = field(default_factory=dict)

    def controls(self) -> list[str]:
        return self.page.evaluate(MARK)

    def at(self, control: str) -> Any:
        self.controls()
        return self.page.locator(f"[data-test={json.dumps(control)}]")

    def choose(self, control: str, option: str) -> None:
        """Out of the control's own list: another's may still be fading away."""
        self.at(control).click()
        options = self.at(control).get_attribute("aria-controls")
        listed = self.page.locator(f"#{options}")
        listed.get_by_role("option", name=option, exact=True).click()

    def by_label(self, label: str) -> Any:
        return self.page.get_by_label(label, exact=True)


Exercise = Callable[[Visit, str], None]
EXERCISES: list[tuple[str, Exercise]] = []
"""In the order in which they are done: a pattern of controls, and what to do with one."""


def exercise(pattern: str) -> Callable[[Exercise], Exercise]:
    def add(act: Exercise) -> Exercise:
        EXERCISES.append((pattern, act))
        return act

    return add


def exercise_of(control: str) -> int:
    found = [i for i, (pattern, _) in enumerate(EXERCISES) if re.fullmatch(pattern, control)]
    assert len(found) == 1, f"{control!r} has {len(found)} exercises here; write one for it"
    return found[0]


# The form -----------------------------------------------------------------------------------------


@exercise(r"button: (Sampling|Correction): .*")
def folds(visit, control):
    """Folded and unfolded; the last leaves it open."""
    first = {"Sampling": "Seed", "Correction": "Model"}[control.split(": ")[1]]
    if visit.by_label(first).is_visible():
        visit.at(control).click()
        visit.by_label(first).wait_for(state="hidden")
    visit.at(control).click()
    visit.by_label(first).wait_for()


@exercise(r"combobox: Model")
def another_model(visit, control):
    """Each model brings its own sizes, its steps and its adapters."""
    for name, side in (("embedded", "64"), ("tiny", "32")):
        visit.choose(control, name)
        visit.page.wait_for_function(
            "side => document.querySelector('[aria-label=Height]').value === side", arg=side
        )
        adapter = visit.by_label("Adapter")
        assert adapter.input_value() == {"tiny": "tiny-adapter"}.get(name, name)
        if name == "embedded" and visit.generation == 2:
            return


@exercise(r"combobox: Adapter")
def an_adapter(visit, control):
    value = visit.at(control).input_value()
    visit.choose(control, value)
    assert visit.at(control).input_value() == value


@exercise(r"combobox: Experts at work \(K\)")
def experts_at_work(visit, control):
    wanted = {1: "2", 2: "3", 3: "the adapter's own"}[visit.generation]
    visit.choose(control, wanted)
    assert visit.at(control).input_value() == wanted


@exercise(r"textarea: Prompt")
def prompt(visit, control):
    visit.at(control).fill("two steel balls collide")
    assert visit.at(control).input_value() == "two steel balls collide"


@exercise(r"button: (a wide hot spot|two rubber balls|a heavy red ball) .*")
def example(visit, control):
    """Twice: after an edit it must come again."""
    for _ in range(2):
        visit.by_label("Prompt").fill("something else")
        visit.at(control).click()
        text = control.removeprefix("button: ")
        visit.page.wait_for_function(
            "text => document.querySelector('#pila-prompt textarea').value === text", arg=text
        )


@exercise(r"button: Find categories now")
def find(visit, control):
    visit.by_label("Prompt").fill("two rubber balls collide head-on")
    visit.at(control).click()
    visit.page.locator("#pila-found", has_text="Found: ").wait_for()
    visit.page.wait_for_function("document.querySelector('#pila-auto input').checked")
    assert visit.by_label("collision").is_checked()


CATEGORIES = "rigid body|elastic|fluid|compressible|phase change|collision|thermal|optical"


@exercise(rf"checkbox: ({CATEGORIES})")
def category(visit, control):
    """A tick by hand is kept, and turns the finding off."""
    before = visit.at(control).is_checked()
    visit.at(control).click()
    visit.page.wait_for_function("!document.querySelector('#pila-auto input').checked")
    # Under load the page shows the tick a moment after it has turned the finding off.
    ticked = visit.at(control).and_(visit.page.locator(":not(:checked)" if before else ":checked"))
    ticked.wait_for()
    assert visit.page.locator("#pila-found p").count() == 0


@exercise(r"checkbox: Find categories when generating")
def find_when_generating(visit, control):
    visit.at(control).set_checked(False)
    visit.at(control).set_checked(True)
    assert visit.at(control).is_checked()


@exercise(r"number: (Seed|Height|Width|Frames)")
def number(visit, control):
    small = {1: (32, 32, 9), 2: (64, 48, 13), 3: (32, 32, 9)}[visit.generation]
    label = control.removeprefix("number: ")
    value = dict(zip(("Height", "Width", "Frames"), small, strict=True)).get(label, 7)
    fill(visit.page, label, value + (label == "Seed") * visit.generation)


@exercise(r"number: number input for (Steps|Guidance|Strength)")
def number_of_a_slider(visit, control):
    what = control.rpartition(" ")[2]
    fill(visit.page, f"number input for {what}", 1)
    assert visit.by_label(f"range slider for {what}").input_value() == "1"


@exercise(r"button: Reset to default value: (Steps|Guidance|Strength)")
def reset(visit, control):
    what = control.rpartition(" ")[2]
    number = visit.by_label(f"number input for {what}")
    fill(visit.page, f"number input for {what}", 3)
    visit.at(control).click()
    visit.page.wait_for_function("e => e.value !== '3'", arg=number.element_handle())


@exercise(r"range: range slider for (Steps|Guidance|Strength)")
def slider(visit, control):
    what = control.rpartition(" ")[2]
    visit.at(control).press("Home")
    for _ in range(visit.generation):
        visit.at(control).press("ArrowRight")
    first, step = {"Steps": (1, 1), "Guidance": (0, 0.5), "Strength": (0, 0.05)}[what]
    shown = float(visit.by_label(f"number input for {what}").input_value())
    assert shown == pytest.approx(first + visit.generation * step)


@exercise(r"textarea: Negative prompt")
def negative_prompt(visit, control):
    visit.at(control).fill(f"blur {visit.generation}")


@exercise(r"textarea: Steps to correct")
def steps_to_correct(visit, control):
    """A window that no clip has is told, and all else goes on."""
    visit.at(control).fill("9-1")
    visit.at("button: Generate").click()
    message(visit.page, "step_window is")
    assert visit.page.locator("#pila-message .pila-error").is_visible()
    if visit.generation > 1:
        the_player_works(visit)
    visit.at(control).fill("1-2")


# Generating ---------------------------------------------------------------------------------------


@exercise(r"button: Cancel")
def cancel(visit, control):
    """Grey and out of reach until there is something to cancel, and then again."""

    def look(disabled, red):
        """Colours change gradually."""
        visit.page.wait_for_function(
            "([disabled, red]) => { const e = document.querySelector('#pila-cancel');"
            " const is = getComputedStyle(e).backgroundColor === 'rgb(185, 28, 28)';"
            " return e.disabled === disabled && is === red; }",
            arg=[disabled, red],
        )

    look(disabled=True, red=False)
    steps = visit.by_label("number input for Steps").input_value()
    fill(visit.page, "number input for Steps", 500)
    generate(visit.page)
    visit.page.wait_for_function("document.querySelector('#pila-bar progress')?.value > 1")
    look(disabled=False, red=True)
    assert visit.at("button: Generate").is_disabled()
    visit.at(control).click()
    message(visit.page, re.compile(r"Cancelled after \d+ of 1000 steps"))
    visit.page.wait_for_function("!document.querySelector('#pila-start').disabled")
    look(disabled=True, red=False)
    fill(visit.page, "number input for Steps", steps)


@exercise(r"button: Generate")
def start(visit, control):
    """Every value of the form is in the settings of the clip."""
    page, before = visit.page, visit.page.evaluate(LATEST_CLIP)
    by_hand = visit.generation == 2
    if by_hand:
        visit.by_label("optical").set_checked(False)
        visit.by_label("optical").set_checked(True)
        page.wait_for_function("!document.querySelector('#pila-auto input').checked")
    else:
        visit.by_label("Find categories when generating").set_checked(True)
    visit.by_label("Prompt").fill(f"two rubber balls collide, number {visit.generation}")
    form = {
        "prompt": visit.by_label("Prompt").input_value(),
        "seed": int(visit.by_label("Seed").input_value()),
        "steps": int(visit.by_label("number input for Steps").input_value()),
        "guidance_scale": float(visit.by_label("number input for Guidance").input_value()),
        "adapter_scale": float(visit.by_label("number input for Strength").input_value()),
        "height": int(visit.by_label("Height").input_value()),
        "width": int(visit.by_label("Width").input_value()),
        "num_frames": int(visit.by_label("Frames").input_value()),
        "negative_prompt": visit.page.get_by_label("Negative prompt").input_value(),
        "top_k": {1: 2, 2: 3, 3: None}[visit.generation],
    }
    assert form["steps"] == 1 + visit.generation
    visit.at(control).click()
    page.locator("#pila-results li").nth(visit.generation - 1).wait_for()
    message(page, "Done in")
    page.wait_for_function(f"before => ({LATEST_CLIP}) !== before", arg=before)
    page.wait_for_function("!document.querySelector('#pila-start').disabled")
    assert page.locator(".pila-prompt").inner_text() == form["prompt"]
    with page.expect_download() as settings:
        page.get_by_role("link", name="Settings (JSON)").click()
    written = json.loads(Path(settings.value.path()).read_text())
    visit.settings = written["settings"]
    assert {name: visit.settings[name] for name in form} == form
    ticked = page.locator("#pila-labels label:has(input:checked)").all_inner_texts()
    given = visit.settings["categories"].replace("_", " ").split(",")
    assert sorted(text.strip() for text in ticked) == sorted(given)
    assert ("optical" in given) is by_hand


# What was made ------------------------------------------------------------------------------------


def the_player_works(visit):
    """Play, pause, the slider and both buttons, on both clips alike."""
    page = visit.page
    fps, frames = visit.settings["fps"], visit.settings["num_frames"]
    for name in ("One frame back", "Frame of both clips", "One frame on", "Speed", "Repeat"):
        assert page.locator("pila-player").get_by_label(name).is_visible(), name
    play = page.locator("pila-player").get_by_role("button", name=re.compile("Play|Pause"))
    slider = page.get_by_label("Frame of both clips")

    def both_stand_at(frame):
        page.wait_for_function(
            "t => [...document.querySelectorAll('video')].every(v => v.paused && !v.seeking"
            " && v.readyState >= 2 && Math.abs(v.currentTime - t) < .01)",
            arg=(frame + 0.5) / fps,
        )
        assert slider.get_attribute("aria-valuetext") == f"frame {frame + 1} of {frames}"
        assert slider.input_value() == str(frame)
        assert page.locator("pila-player output").inner_text() == f"frame {frame + 1} of {frames}"
        assert play.inner_text() == "Play"

    slider.fill("3")
    both_stand_at(3)
    page.get_by_role("button", name="One frame on").click()
    both_stand_at(4)
    page.get_by_role("button", name="One frame back").click()
    both_stand_at(3)
    slider.press("ArrowRight")
    both_stand_at(4)
    slider.press("End")
    both_stand_at(frames - 1)
    slider.press("Home")
    both_stand_at(0)
    play.click()
    both_run(page)
    assert play.inner_text() == "Pause"
    play.click()
    page.wait_for_function("[...document.querySelectorAll('video')].every(v => v.paused)")
    assert play.inner_text() == "Play"


def both_run(page):
    """At least the second of two looks finds both clips elsewhere than the first."""
    start = [time for time, *_ in clips(page)]
    page.wait_for_function(
        "start => [...document.querySelectorAll('video')].every("
        "(v, i) => !v.paused && v.currentTime !== start[i])",
        arg=start,
    )


@exercise(r"button: (Play|Pause)")
def play(visit, control):
    """New clips begin by themselves; then by hand."""
    both_run(visit.page)
    visit.page.get_by_role("button", name="Pause").click()
    the_player_works(visit)


@exercise(r"button: (One frame back|One frame on)|range: Frame of both clips")
def frame_by_frame(visit, control):
    the_player_works(visit)


@exercise(r"select: Speed")
def speed(visit, control):
    """What was chosen holds for the next clips, too."""
    rates = "[...document.querySelectorAll('video')].map(v => v.playbackRate)"
    before = {1: 1, 2: 0.5, 3: 0.25}[visit.generation]
    assert visit.page.evaluate(rates) == [before] * 2
    visit.at(control).select_option(str(before / 2))
    assert visit.page.evaluate(rates) == [before / 2] * 2


@exercise(r"checkbox: Repeat")
def repeat(visit, control):
    """Without it both clips end at the last frame; with it they begin again."""
    page, frames = visit.page, visit.settings["num_frames"]
    slider = page.get_by_label("Frame of both clips")
    visit.at(control).uncheck()
    slider.fill(str(frames - 3))
    page.get_by_role("button", name="Play").click()
    page.wait_for_function(
        "last => [...document.querySelectorAll('video')].every(v => v.paused && !v.seeking)"
        " && document.querySelector('pila-player input').value === last",
        arg=str(frames - 1),
    )
    visit.at(control).check()
    slider.fill(str(frames - 3))
    page.get_by_role("button", name="Play").click()
    page.wait_for_function("document.querySelector('pila-player input').value === '0'")
    both_run(page)


@exercise(r"tab: (Routing|Bank|Where|Laws|Settings)")
def tab(visit, control):
    visit.at(control).click()
    assert visit.at(control).get_attribute("aria-selected") == "true"
    panel = visit.page.get_by_role("tabpanel").locator("visible=true")
    panel.locator("table, figure, p").first.wait_for()
    visit.page.wait_for_function(
        "[...document.querySelectorAll('[role=tabpanel] img')].filter(i => i.checkVisibility())"
        ".every(i => i.complete && i.naturalWidth > 0)"
    )
    the_player_works(visit)


DOWNLOADS = r"(Corrected clip|Frozen clip|Both) \(mp4\)|Settings \(JSON\)"


@exercise(rf"a: ({DOWNLOADS}|Download .*clip \d+ as (mp4|JSON))")
def download(visit, control):
    with visit.page.expect_download() as got:
        visit.at(control).click()
    data = Path(got.value.path()).read_bytes()
    if "JSON" in control:
        assert got.value.suggested_filename.endswith("settings.json")
        assert json.loads(data)["pila_generate"] == 1
    else:
        assert got.value.suggested_filename.endswith(".mp4")
        assert data[4:8] == b"ftyp"


@exercise(r"button: Show clip \d+")
def show(visit, control):
    """An earlier clip comes back whole, and its player works."""
    page, number = visit.page, control.rpartition(" ")[2]
    before = page.evaluate(LATEST_CLIP)
    visit.at(control).click()
    message(page, f"Clip {number} is shown.")
    assert page.locator(".pila-prompt").inner_text().endswith(f"number {number}")
    player = page.locator("pila-player")
    frames = {"1": 9, "2": 13, "3": 9}[number]
    assert player.get_attribute("data-frames") == str(frames)
    fps = float(player.get_attribute("data-fps"))
    visit.settings = {"fps": fps, "num_frames": frames}
    if page.evaluate(LATEST_CLIP) != before:
        both_run(page)
    the_player_works(visit)
    box = page.locator("#pila-view").bounding_box()
    assert -1 < box["y"] < page.viewport_size["height"], "what was asked for is in view"


@pytest.fixture(scope="module")
def url(place, wan_folder, adapter_folder):
    """With a tiny model as the default, so that there is a choice of models, and time for all."""
    for name, folder in (("tiny", wan_folder), ("tiny-adapter", adapter_folder)):
        shutil.copytree(folder, place / name)
    models = ["--model", str(place / "tiny"), "--adapter", str(place / "tiny-adapter")]
    with served(place, *models) as url:
        yield url


@pytest.mark.parametrize("width", [1280, 390])
def test_every_control_in_three_generations(open_page, width):
    visit = Visit(open_page(width))
    for visit.generation in (1, 2, 3):
        visit.done = set()
        while left := set(visit.controls()) - visit.done:
            control = min(left, key=lambda name: (exercise_of(name), name))
            visit.done.add(control)
            if control.startswith("button: P"):  # one button, under two names
                visit.done |= {"button: Play", "button: Pause"}
            EXERCISES[exercise_of(control)][1](visit, control)
        names = visit.controls()
        assert sorted(names) == sorted(set(names)), "two controls have one name"
        used = {exercise_of(control) for control in visit.done}
        assert used == set(range(len(EXERCISES))), "an exercise found nothing to do"


# How it looks -------------------------------------------------------------------------------------

BADLY_LAID_OUT = r"""() => {
  const said = (e) => `${e.tagName} ${e.id} ${(e.ariaLabel ?? e.innerText ?? "").slice(0, 40)}`;
  const seen = [...document.body.querySelectorAll("*")].filter(
    (e) => e.checkVisibility({ visibilityProperty: true, opacityProperty: true })
      && e.getBoundingClientRect().width > 1 && !e.closest(".pila-hidden, .sr-only, svg"));
  const wrong = [];
  if (document.documentElement.scrollWidth > innerWidth) wrong.push("the page scrolls sideways");
  for (const e of seen) {
    const { left, right } = e.getBoundingClientRect();
    if ((left < -0.5 || right > innerWidth + 0.5)) wrong.push(`sticks out: ${said(e)}`);
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    const cut = getComputedStyle(e).overflowX !== "visible" && e.scrollWidth > e.clientWidth + 1;
    if (own && cut) wrong.push(`is cut off: ${said(e)}`);
  }
  const kinds = "a, button, input, select, textarea, video, img, p, th, td, label, output";
  const apart = seen.filter((e) => e.matches(kinds));
  for (const [i, one] of apart.entries()) for (const two of apart.slice(i + 1)) {
    if (one.contains(two) || two.contains(one)) continue;
    const a = one.getBoundingClientRect(), b = two.getBoundingClientRect();
    const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
    const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
    if (wide > 1.5 && high > 1.5) wrong.push(`overlap: ${said(one)} / ${said(two)}`);
  }
  return wrong;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 768, 390, 320])
def test_nothing_overflows_and_nothing_overlaps(open_page, width, scheme):
    page = open_page(width, color_scheme=scheme)
    assert page.evaluate(BADLY_LAID_OUT) == []
    for name in ("Sampling", "Correction"):
        page.get_by_role("button", name=name).click()
    page.get_by_label("Model", exact=True).wait_for()
    fill(page, "number input for Steps", 2)
    page.get_by_label("Prompt", exact=True).fill("a ball " + "W" * 200)
    page.get_by_label("Steps to correct").fill("9-1")
    generate(page)
    message(page, "step_window is")
    assert page.evaluate(BADLY_LAID_OUT) == []
    page.get_by_label("Steps to correct").fill("")
    generate(page)
    message(page, "Done in")
    for name in ("Bank", "Where", "Laws", "Settings", "Routing"):
        page.get_by_role("tab", name=name).click()
        page.wait_for_function(
            "name => document.querySelector('[role=tab][aria-selected=true]').innerText === name",
            arg=name,
        )
        page.wait_for_function(
            "[...document.images].filter(i => i.checkVisibility() && i.loading !== 'lazy')"
            ".every(i => i.complete)"
        )
        assert page.evaluate(BADLY_LAID_OUT) == [], name
