"""Tables of methods: paired differences, protocols that differ, files that were changed."""

import csv
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pila.cli import run
from pila.errors import InputError
from pila.lab.benchmarks import videophy
from pila.lab.benchmarks.compare import as_csv, compare, difference, markdown
from pila.lab.benchmarks.results import Result, read_result, write_result

PROTOCOL = {"aggregation": "x", "judged": {"sa": {"judge": {"model": "eye"}}}}
SAMPLING = {"shared": {"seed": 0, "steps": 50}, "prompts": "abc", "method": {"name": "?"}}


def result(method, values, **changes):
    rows = {f"p{i}": (float(v), 1.0) for i, v in enumerate(values)}
    content = {"protocol": PROTOCOL, "sampling": SAMPLING, "measures": {"joint": rows}, **changes}
    return Result(benchmark="videophy2", method=method, **content)


@settings(max_examples=25)
@given(st.lists(st.booleans(), min_size=2, max_size=30), st.floats(-0.5, 0.5))
def test_a_constant_shift_is_a_difference_without_width(values, shift):
    one = result("a", values)
    other = result("b", [v + shift for v in values])
    gap = difference(one, other, "joint")
    assert gap is not None
    for figure in ("value", "low", "high"):
        assert gap[figure] == pytest.approx(shift, abs=1e-9)


def test_pairing_is_by_prompt_and_not_by_order():
    rng = np.random.default_rng(0)
    values = rng.random(40)
    one, other = result("a", values), result("b", values + 0.1)
    shuffled = dict(sorted(other.measures["joint"].items(), key=lambda kv: kv[1]))
    again = result("b", [], measures={"joint": shuffled})
    assert difference(one, again, "joint") == difference(one, other, "joint")


def test_ratios_and_means_have_intervals_over_prompts():
    rows = {"p0": (2.0, 3.0), "p1": (0.0, 0.0), "p2": (3.0, 3.0)}
    mixed = result("a", [], measures={"x": rows, "y": {"q": (1.0, 2.0)}}, means={"z": ("x", "y")})
    assert mixed.value("x") == 5 / 6
    assert mixed.value("z") == (5 / 6 + 1 / 2) / 2
    estimate = mixed.estimate("x")
    assert 2 / 3 <= estimate.low <= estimate.value <= estimate.high <= 1
    with pytest.raises(InputError, match="nothing to count for x"):
        result("a", [], measures={"x": {"p": (0.0, 0.0)}})


def test_a_table_of_three_methods(tmp_path):
    results = [result("frozen", [0, 0, 1, 1]), result("pila", [1, 0, 1, 1])]
    results.append(result("plain", [0, 0, 0, 1]))
    table = compare(results)
    assert [r["scores"]["joint"]["value"] for r in table["rows"]] == [0.5, 0.75, 0.25]
    gaps = {d["method"]: d["scores"]["joint"] for d in table["differences"]}
    assert {m: g["value"] for m, g in gaps.items()} == {"pila": 0.25, "plain": -0.25}
    assert gaps["pila"]["low"] == 0, "no prompt got worse"
    assert table["forced"] == []
    text = markdown(table)
    assert "| pila | 0.250 [0.000," in text
    assert "| Ours-1.3B | 0.740 | 0.965 |" in text
    assert "Route: 344 prompts of VideoPhy" in text
    rows = list(csv.DictReader(as_csv(table).splitlines()))
    (pila,) = [r for r in rows if r["method"] == "pila"]
    assert (pila["value"], pila["difference_value"], pila["forced"]) == ("0.75", "0.25", "False")
    assert {r["source"].partition(":")[0] for r in rows} == {"measured", "paper, Table 2"}
    other = compare(results, baseline="plain")["differences"][0]
    assert (other["method"], other["scores"]["joint"]["value"]) == ("frozen", 0.25)


def _judge(r):
    return {"protocol": {**PROTOCOL, "judged": {"sa": {"judge": {"model": "other"}}}}}


def _seed(r):
    return {"sampling": {**SAMPLING, "shared": {"seed": 1, "steps": 50}}}


def _prompts(r):
    return {"sampling": {**SAMPLING, "prompts": "xyz"}}


def _elsewhere(r):
    return {"sampling": None}


def _measures(r):
    return {"measures": {**r.measures, "rule": {"p0": (1.0, 1.0)}}}


def _fewer(r):
    return {"measures": {"joint": dict(list(r.measures["joint"].items())[:3])}}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (_judge, "judged.sa.judge.model .eye and other."),
        (_seed, "sampling shared.seed .0 and 1."),
        (_prompts, "sampling prompts .abc and xyz."),
        (_elsewhere, "known for one alone"),
        (_measures, "measures rule"),
        (_fewer, "prompts of joint, 1 of one alone: p3"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_other_protocols_are_refused_unless_forced_and_then_marked(change, named):
    one, other = result("a", [0, 1, 0, 1]), result("b", [1, 1, 1, 1])
    other = result("b", [1, 1, 1, 1], **change(other))
    with pytest.raises(InputError, match=named):
        compare([one, other])
    table = compare([one, other], force=True)
    assert len(table["forced"]) == 1
    assert "**Forced: these results were made with different protocols.**" in markdown(table)
    assert "True" in as_csv(table)
    assert table["differences"][0]["scores"]["joint"]["value"] == pytest.approx(
        1 - (1 / 3 if change is _fewer else 1 / 2)
    )


def test_a_method_may_differ_in_itself():
    one = result("a", [0, 1])
    other = result("b", [1, 1], sampling={**SAMPLING, "method": {"name": "b", "adapter": "x"}})
    assert compare([one, other])["forced"] == []


def test_what_cannot_be_compared():
    one = result("a", [0, 1])
    with pytest.raises(InputError, match="a twice"):
        compare([one, one])
    with pytest.raises(InputError, match="baseline is 'c'; the results are of a"):
        compare([one], baseline="c")
    with pytest.raises(InputError, match="phygenbench; videophy2"):
        compare([one, Result(benchmark="phygenbench", method="b", measures=one.measures)])
    with pytest.raises(InputError, match="0 results"):
        compare([])


def test_results_keep_their_rows_and_notice_changes(tmp_path):
    path = tmp_path / "a.json"
    first = result("a", [0, 1, 1], notes=("one",), sources={"x": "y"})
    write_result(path, first)
    assert read_result(path) == first
    content = json.loads(path.read_text())
    assert content["versions"]["pila"]
    assert set(content["scores"]["joint"]) == {"value", "low", "high"}
    content["measures"]["joint"]["p0"] = [1.0, 1.0]
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"changed by hand \(joint\)"):
        read_result(path)
    content["measures"]["joint"]["p0"] = [0.0, 1.0]
    content["protocol"]["aggregation"] = "another"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"changed by hand \(protocol\)"):
        read_result(path)
    path.write_text("{}")
    with pytest.raises(InputError, match="is no result of pila"):
        read_result(path)


def test_command(tmp_path, capsys):
    files = []
    for method, values in (("a", [0, 1]), ("b", [1, 1])):
        files.append(str(tmp_path / f"{method}.json"))
        write_result(tmp_path / f"{method}.json", result(method, values))
    command = ["evaluate", "videophy2", "compare", *files, "--out", str(tmp_path / "table")]
    assert run(command) == 0
    assert "| b | 1.000 [1.000, 1.000] |" in capsys.readouterr().out
    assert sorted(p.name for p in (tmp_path / "table").iterdir()) == [
        "compare.csv",
        "compare.json",
        "compare.md",
    ]
    assert run(["evaluate", "phygenbench", "compare", *files]) == 2
    assert "is of videophy2" in capsys.readouterr().err


def test_videophy_pairs_clips_that_lie_in_folders_of_their_methods(tmp_path):
    files = {}
    for method, good in (("frozen", 0.2), ("pila", 0.9)):
        (tmp_path / method).mkdir()
        for task in ("sa", "pc"):
            lines = [f"out/{method}/clip_{i}.mp4,ask,{good if i else 0.8}" for i in range(4)]
            files[method, task] = tmp_path / method / f"{task}.csv"
            files[method, task].write_text("\n".join(lines) + "\n")
    frozen, pila = (
        videophy.aggregate(sa=files[m, "sa"], pc=files[m, "pc"], judge="eye")
        for m in ("frozen", "pila")
    )
    gap = difference(frozen, pila, "joint")
    assert gap is not None
    assert gap["value"] == pytest.approx(0.75)
