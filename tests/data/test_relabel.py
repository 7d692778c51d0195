"""From 17 laws to eight categories: the table, the witnesses, the user's changes."""

import json
import re
import shlex
from pathlib import Path

import pytest
import tyro

from pila.cli import CONFIG, Command
from pila.data.laws import Law
from pila.data.relabel import ENOUGH, MAPPING, MOST, MOVING, Effect, load_mapping, relabel
from pila.errors import InputError
from pila.physics.layout import Category

PAGE = (Path(__file__).parents[2] / "docs" / "wisa.md").read_text()
C = Category


def test_every_law_has_one_to_three_categories_and_every_category_a_law():
    assert set(MAPPING) == set(Law)
    assert all(1 <= len(effect.gives) <= MOST for effect in MAPPING.values())
    assert {c for effect in MAPPING.values() for c in effect.gives} == set(Category)


def test_the_table_in_the_docs_is_the_table_in_the_code():
    rows = re.findall(r"^\| ([a-z ]+) \| ([a-z_, ]+) \| ([a-z_, -]+) \|$", PAGE, re.MULTILINE)
    told = {
        law: Effect(*(tuple(n for n in cell.split(", ") if n != "-") for cell in cells))
        for law, *cells in rows
        if law != "law"
    }
    assert told == {str(law): effect for law, effect in MAPPING.items()}
    assert list(told) == [str(law) for law in Law]


@pytest.mark.parametrize("command", re.findall(r"^    pila (.+?)(?:\s+#.*)?$", PAGE, re.MULTILINE))
def test_the_commands_in_the_docs_are_commands(command):
    tyro.cli(Command, args=shlex.split(command), config=CONFIG)  # pyright: ignore


@pytest.mark.parametrize("law", Law)
def test_the_label_alone_suffices(law):
    expected = MAPPING[law].gives
    assert relabel(label=[law]) == tuple(c for c in Category if c in expected)


def test_the_papers_examples():
    bounce = relabel(label=[Law.COLLISION], caption=[C.RIGID_BODY, C.COLLISION])
    assert bounce == (C.RIGID_BODY, C.COLLISION)
    boil = relabel(label=[Law.VAPORIZATION], caption=[C.PHASE_CHANGE, C.FLUID, C.THERMAL])
    assert boil == (C.FLUID, C.PHASE_CHANGE, C.THERMAL)


@pytest.mark.parametrize(
    ("witnesses", "fluid"),
    [
        ({}, False),
        ({"caption": [C.FLUID]}, True),
        ({"annotation": [Law.LIQUID_MOTION]}, True),
        ({"annotation": [Law.MELTING]}, False),
    ],
    ids=str,
)
def test_a_coupled_category_needs_another_witness(witnesses, fluid):
    assert (C.FLUID in relabel(label=[Law.MELTING], **witnesses)) == fluid


@pytest.mark.parametrize(
    ("witnesses", "optical"),
    [
        ({"annotation": [Law.REFLECTION]}, False),
        ({"caption": [C.OPTICAL]}, False),
        ({"annotation": [Law.REFLECTION], "caption": [C.OPTICAL]}, True),
    ],
    ids=str,
)
def test_beside_a_label_neither_annotation_nor_caption_is_enough_alone(witnesses, optical):
    """A lake mirrors the sky in many clips of ships; the mechanism is the ship's."""
    assert (C.OPTICAL in relabel(label=[Law.RIGID_BODY_MOTION], **witnesses)) == optical


def test_without_a_label_the_annotation_counts_and_without_either_the_caption():
    assert relabel(label=[], annotation=[Law.EXPLOSION]) == (C.COMPRESSIBLE, C.THERMAL)
    assert relabel(label=[], annotation=[Law.REFLECTION], caption=[C.FLUID]) == (C.OPTICAL,)
    assert relabel(label=[], caption=[C.FLUID, C.ELASTIC]) == (C.ELASTIC, C.FLUID)
    assert relabel(label=[]) == ()


def test_a_still_clip_gets_no_category_of_motion():
    assert relabel(label=[Law.RIGID_BODY_MOTION], still=True) == ()
    everything = {"label": list(Law), "annotation": list(Law), "caption": list(Category)}
    assert not MOVING & set(relabel(**everything, still=True))
    assert relabel(label=[Law.COMBUSTION], still=True) == (C.THERMAL,)
    assert relabel(label=[Law.MELTING], still=True) == (C.PHASE_CHANGE, C.THERMAL)
    assert relabel(label=[Law.REFLECTION], still=True) == (C.OPTICAL,)


def test_at_most_three_and_the_best_supported_stay():
    given = relabel(
        label=[Law.VAPORIZATION, Law.COLLISION],
        annotation=[Law.VAPORIZATION],
        caption=[C.COLLISION],
    )
    assert given == (C.PHASE_CHANGE, C.COLLISION, C.THERMAL)
    crowd = relabel(
        label=[Law.MELTING],
        annotation=[Law.GAS_MOTION, Law.REFLECTION],
        caption=[C.COMPRESSIBLE, C.OPTICAL, C.FLUID],
    )
    assert crowd == (C.FLUID, C.PHASE_CHANGE, C.THERMAL)
    assert ENOUGH == 3


def test_a_users_file_overrules_the_laws_that_it_names(tmp_path):
    path = tmp_path / "mine.json"
    changed = {"gas motion": ["compressible", "fluid"], "Scattering": [], "melting": {"gives": []}}
    path.write_text(json.dumps(changed))
    mapping = load_mapping(path)
    assert mapping[Law.GAS_MOTION] == Effect((C.COMPRESSIBLE, C.FLUID))
    assert mapping[Law.SCATTERING] == mapping[Law.MELTING] == Effect(())
    assert mapping[Law.COLLISION] == MAPPING[Law.COLLISION]
    table = tmp_path / "mine.csv"
    table.write_text("Law, gives ,coupled\ngas motion,Compressible; fluid,\nmelting,,thermal\n")
    mapping = load_mapping(table)
    assert mapping[Law.GAS_MOTION] == Effect((C.COMPRESSIBLE, C.FLUID))
    assert relabel(label=[Law.MELTING], mapping=mapping) == ()
    assert relabel(label=[Law.MELTING], caption=[C.THERMAL], mapping=mapping) == (C.THERMAL,)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("m.json", '{"gas moton flows": ["fluid"]}', "unknown law 'gas moton flows'; did you mean"),
        ("m.json", '{"gas motion": ["fluyd"]}', "unknown category 'fluyd'; did you mean fluid"),
        ("m.json", '{"gas motion": 3}', "gives 3; write a list of categories"),
        ("m.json", '{"gas motion": {"give": []}}', "'gas motion' has 'give'; it takes gives"),
        ("m.json", "[]", "is no object of laws"),
        ("m.json", "{", "is not readable JSON"),
        ("m.json", "{}", "names no law"),
        ("m.json", '{"gas motion": ["fluid"], "Gas Motion.": []}', "'gas motion' twice"),
        ("m.json", '{"melting": ["fluid", "thermal", "optical", "elastic"]}', "has 3 at most"),
        ("m.csv", "law;gives\ngas motion;fluid\n", "has no column 'law'"),
        ("m.csv", "law,gives\nmeltdown,fluid\n", "unknown law 'meltdown'"),
        ("m.txt", "", "a mapping is .json or .csv"),
    ],
)
def test_a_wrong_file_is_refused_with_a_suggestion(tmp_path, name, text, message):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(InputError, match=re.escape(message)):
        load_mapping(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        load_mapping(tmp_path / "none.json")
