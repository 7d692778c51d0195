"""The page's pieces: what a user wrote is text, and all that was measured is told."""

import re
from typing import Any

from pila.web import html as fragments
from pila.web.job_queue import Progress

NASTY = '<img src=x onerror="alert(1)"> ${alert(2)} {{value}} </p>'


def report(**changes) -> dict[str, Any]:
    made = {
        "prompt": NASTY,
        "categories": ["phase_change"],
        "evidence": {"phase_change": [NASTY]},
        "routing": {"phase_change": 0.75, "fluid": 0.25, "optical": 0.0},
        "correction_rms": 0.02,
        "scene": "melting_disc",
        "laws": {"frozen": {"front_speed": 0.5}, "PILA": {"front_speed": 0.25}},
        "files": {
            "output": "/r/t/pila.mp4",
            "frozen": "/r/t/pila-frozen.mp4",
            "comparison": "/r/t/pila-compare.mp4",
            "settings": "/r/t/pila-settings.json",
            "explain": ["/r/t/explain/bank.png", "/r/t/explain/strip.png"],
        },
        "settings": {
            "model": "/secret/models/wan",
            "adapter": "/secret/adapters/one",
            "negative_prompt": NASTY,
            "seed": 3,
            "steps": 4,
            "fps": 16,
            "num_frames": 33,
            "width": 96,
            "height": 96,
        },
        "seconds": {"PILA": 1.25},
    }
    return made | changes


def all_of(made):
    return [
        fragments.message(NASTY),
        fragments.progress(Progress(state="running", doing=NASTY, steps=2)),
        fragments.evidence(made),
        fragments.player(made),
        fragments.routing(made),
        fragments.laws(made),
        fragments.pictures(made, ["bank.png", "where.png"]),
        fragments.settings(made),
        fragments.gallery({"a" * 32: made}),
    ]


def test_what_a_user_wrote_is_escaped():
    for html in all_of(report()):
        assert "<img src=x" not in html
        assert 'onerror="' not in html


def test_what_became_of_the_prompt():
    """Fields that a report need not have."""
    drawn = fragments.player(report(drawn_as=f"a small red ball {NASTY}"))
    assert "drawn as: a small red ball &lt;img" in drawn
    hint = fragments.player(report(hint=f"this is none of the scenes {NASTY}", scene=None, laws={}))
    assert "<p>this is none of the scenes &lt;img" in hint
    assert "drawn as" not in fragments.player(report(prompt="a ball", drawn_as="a ball"))
    plain = fragments.player(report(drawn_as=None, hint=None))
    assert plain == fragments.player(report())
    assert "drawn as" not in plain
    assert "No laws were measured" in fragments.laws({"prompt": "p"})


def test_tags_are_closed():
    for html in all_of(report()):
        for tag in ("p", "div", "table", "tr", "ul", "li", "figure", "pila-player"):
            opened = len(re.findall(rf"<{tag}[ >]", html))
            assert opened == html.count(f"</{tag}>"), tag


def test_routing_is_sorted_and_says_what_was_named():
    html = fragments.routing(report())
    assert html.index("phase change") < html.index("fluid") < html.index("optical")
    assert html.count("<td>named</td>") == 1
    assert "strength is 0" in fragments.routing(report(routing={}))


def test_laws_of_both_clips_side_by_side():
    html = fragments.laws(report())
    assert "<td>0.500</td><td>0.250</td>" in html
    assert "front speed" in html
    assert "No laws were measured" in fragments.laws(report(laws={}))


def test_pictures_have_words_and_only_those_that_there_are():
    html = fragments.pictures(report(), ["bank.png", "where.png"])
    assert html.count("<img") == 1
    assert 'alt="The ten slots' in html


def test_the_settings_do_not_show_folders():
    assert "secret" not in fragments.settings(report())


def test_progress():
    assert "2 before this one" in fragments.progress(Progress(ahead=2))
    running = fragments.progress(
        Progress(state="running", doing="PILA: step 1 of 2", steps=4, step=3)
    )
    assert 'max="4" value="3"' in running
    assert fragments.progress(Progress(state="done")) == ""


def test_the_gallery_begins_with_the_newest():
    html = fragments.gallery({"a" * 32: report(prompt="first"), "b" * 32: report(prompt="second")})
    assert html.index("2. second") < html.index("1. first")
    assert 'aria-label="Show clip 2"' in html
