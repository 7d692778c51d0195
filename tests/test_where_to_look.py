"""The one line of `pila generate --compare` on what to look at in its clips."""

from pila.cli.single import _where_to_look

FROZEN = {"gravity": 0.3, "straight_path": 0.2}


def test_the_law_that_improves_most_is_named_with_both_errors():
    said = _where_to_look({"frozen": FROZEN, "PILA": {"gravity": 0.25, "straight_path": 0.05}})
    assert said == "straight path, better with PILA: error 0.200 frozen, 0.050 PILA"


def test_what_got_worse_is_said_too():
    said = _where_to_look({"frozen": FROZEN, "PILA": {"gravity": 0.9, "straight_path": 0.1}})
    better, worse = said.split("; ")
    assert better.startswith("straight path, better")
    assert worse == "gravity, worse with PILA: error 0.300 frozen, 0.900 PILA"


def test_one_clip_or_none_has_nothing_to_compare():
    assert _where_to_look({}) == ""
    assert _where_to_look({"PILA": FROZEN}) == ""


def test_clips_alike():
    assert "alike" in _where_to_look({"frozen": FROZEN, "PILA": FROZEN})
