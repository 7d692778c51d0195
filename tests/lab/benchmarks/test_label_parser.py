"""A label parser on prompts that others wrote, through a mapping."""

import json
from pathlib import Path

import pytest
from tests.lab.benchmarks import official

from pila.cli import run
from pila.data.laws import Law
from pila.data.relabel import MAPPING, Effect
from pila.errors import InputError
from pila.lab.benchmarks.label_parser import (
    PHYGENBENCH,
    Case,
    agreement,
    phygenbench_cases,
    wisa_cases,
)
from pila.labels.parser import Parse
from pila.physics.layout import Category


def parser_of(answers):
    return lambda prompt: Parse(refined_prompt=prompt, categories=answers[prompt], parser="offline")


def test_documented_mapping():
    page = (Path(__file__).parents[3] / "docs" / "evaluation.md").read_text()
    rows = [
        f"| {law} | {', '.join(effect.gives) or 'none'} | {', '.join(effect.coupled)} |"
        for law, effect in PHYGENBENCH.items()
    ]
    assert "\n".join(rows) in page


def test_hand_checked_agreement():
    melt = Effect((Category.PHASE_CHANGE, Category.THERMAL), (Category.FLUID,))
    cases = [
        Case(prompt="a", law="melting", domain="thermal", effect=melt),
        Case(prompt="b", law="melting", domain="thermal", effect=melt),
        Case(prompt="c", law="melting", domain="thermal", effect=melt),
        Case(prompt="d", law="rust", domain="material", effect=Effect(())),
    ]
    answers = {
        "a": (Category.THERMAL, Category.FLUID),  # one of two, what it brings along
        "b": (Category.OPTICAL,),  # wrong
        "c": (),
        "d": (Category.FLUID,),  # chemistry has no category
    }
    report = agreement(cases, parser_of(answers))
    assert (report["prompts"], report["mapped"]) == (4, 3)
    assert (report["own"], report["beyond"], report["silent"]) == (0.3333, 0.5, 0.25)
    assert report["laws"]["rust"] == {
        "effect": {"gives": [], "coupled": []},
        "count": 1,
        "own": None,
        "beyond": 1,
        "silent": 0,
    }
    # Right: thermal of a. Missed: phase change thrice, thermal twice. Extra: optical of b.
    assert report["micro_f1"] == round(2 / (2 + 1 + 5), 4)
    assert report["categories"]["fluid"]["precision"] == 1, "coupled is neither right nor wrong"
    assert report["domains"]["thermal"]["answered"] == {"thermal": 1, "fluid": 1, "optical": 1}


def test_phygenbench_of_a_checkout(tmp_path, capsys):
    checkout = official.phygen_checkout(tmp_path)
    cases = phygenbench_cases(checkout)
    assert len(cases) == 160
    assert {c.law for c in cases} == {law.lower() for law in official.LAW.values()}
    assert run(["evaluate", "labels", "--phygenbench", str(checkout), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)["phygenbench"]
    assert report["prompts"] == 160
    assert report["mapped"] == 145
    assert run(["evaluate", "labels", "--phygenbench", str(checkout)]) == 0
    assert "160 prompts, 145 of laws" in capsys.readouterr().out
    path = checkout / "PhyGenBench" / "prompts.json"
    path.write_text(path.read_text().replace("Melting", "Magic"))
    with pytest.raises(InputError, match="does not know: magic"):
        phygenbench_cases(checkout)


def test_wisa_of_a_list(tmp_path, capsys):
    records = [{"captions": f"clip {n} of {law}", "label": str(law)} for n in (1, 2) for law in Law]
    records += [{"captions": "", "label": "melting"}, {"captions": "x", "label": "no law"}, 7]
    path = official.write_json(tmp_path / "wisa-80k.json", records)
    cases = wisa_cases(path)
    assert len(cases) == 34
    assert {(c.law, c.effect) for c in cases} == {(str(law), MAPPING[law]) for law in Law}
    assert len(wisa_cases(tmp_path, most=1)) == 17
    assert run(["evaluate", "labels", "--wisa", str(path), "--most", "1", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)["wisa"]
    assert len(report["laws"]) == 17
    with pytest.raises(InputError, match="0 records"):
        wisa_cases(official.write_json(tmp_path / "empty.json", []))


@pytest.mark.parametrize(
    ("options", "named"),
    [([], "0 sets of prompts"), (["--wisa", "nowhere"], "nowhere"), (["--most", "0"], "0 sets")],
)
def test_wrong_options(options, named, capsys):
    assert run(["evaluate", "labels", *options]) == 2
    assert named in capsys.readouterr().err
