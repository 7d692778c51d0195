"""VideoPhy-2 and VideoPhy: joins by path, thresholds, rules in their variants, and wrong files."""

import csv
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pila.cli import run
from pila.errors import InputError
from pila.lab.benchmarks import videophy, videophy2
from pila.lab.benchmarks.prompt_list import Item, PromptList

SA = {"a.mp4": 4, "b.mp4": 5, "c.mp4": 3, "d.mp4": 4}
PC = {"a.mp4": 4, "b.mp4": 3, "c.mp4": 5, "d.mp4": 5}


def write(path, scores, *, captions=True):
    """The judge's own form: an index without a name, floats."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["", *(["caption"] if captions else []), "videopath", "score"])
        for i, (name, score) in enumerate(scores.items()):
            middle = [f"what {name[0]}, then, does"] if captions else []
            writer.writerow([i, *middle, name, score])
    return path


def write_rules(path, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["", "videopath", "rule", "score"]])
        csv.writer(file).writerows([[i, *row] for i, row in enumerate(rows)])
    return path


@pytest.fixture
def files(tmp_path):
    return write(tmp_path / "sa.csv", SA), write(tmp_path / "pc.csv", PC)


def test_hand_checked_table(files, capsys):
    sa, pc = files
    command = ["evaluate", "videophy2", "aggregate", "--sa", str(sa), "--pc", str(pc), "--json"]
    assert run(command) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["joint"], printed["sa"], printed["pc"]) == (0.5, 0.75, 0.75)
    assert printed["videos"] == 4
    assert "4 prompts, of which the benchmark has 590" in printed["notes"]


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=12), st.data()
)
def test_joined_by_path_whatever_the_order_of_rows(tmp_path_factory, scores, data):
    folder = tmp_path_factory.mktemp("csv")
    names = [f"clip {i}, cut.mp4" for i in range(len(scores))]
    order = data.draw(st.permutations(range(len(scores))))
    sa = write(folder / "sa.csv", {n: float(s) for n, (s, _) in zip(names, scores, strict=True)})
    pc = write(folder / "pc.csv", {names[i]: scores[i][1] for i in order}, captions=False)
    result = videophy2.aggregate(sa=sa, pc=pc)
    both = [s >= 4 and p >= 4 for s, p in scores]
    assert result.value("joint") == pytest.approx(np.mean(both))
    assert result.value("joint") <= min(result.value("sa"), result.value("pc"))


def test_rules_in_named_variants(files, tmp_path):
    rows = [("a.mp4", "r1", 1), ("a.mp4", "r2", 0), ("b.mp4", "r1", 1), ("b.mp4", "r3", 2)]
    rows += [("c.mp4", "r1", 2), ("d.mp4", "r1", 1)]
    rule = write_rules(tmp_path / "rule.csv", rows)
    result = videophy2.aggregate(sa=files[0], pc=files[1], rule=rule)
    assert videophy2.as_json(result)["rule"] == {
        "followed_of_told": 3 / 4,
        "followed_of_all": 3 / 6,
        "not_violated": 5 / 6,
        "clips_without_violation": 3 / 4,
    }


def test_clips_with_rules_alone_are_said(files, tmp_path):
    rule = write_rules(tmp_path / "rule.csv", [("a.mp4", "r", 1), ("z.mp4", "r", 0)])
    notes = " ".join(videophy2.aggregate(sa=files[0], pc=files[1], rule=rule).notes)
    assert "no rule is judged for 3 clips: b.mp4; c.mp4; d.mp4" in notes
    assert "rules alone are judged for 1 clips: z.mp4" in notes


@pytest.mark.parametrize(
    ("sa", "pc", "named"),
    [
        (SA, {k: v for k, v in PC.items() if k != "c.mp4"}, r"pc\.csv lacks 1 .*: c\.mp4"),
        ({k: v for k, v in SA.items() if k != "d.mp4"}, PC, r"sa\.csv lacks 1 .*: d\.mp4"),
        (SA, PC | {"b.mp4": 6}, r"b\.mp4 has the score '6'"),
        (SA | {"b.mp4": 0.0}, PC, r"b\.mp4 .*'0\.0', not 1 to 5 \(0 marks"),
        (SA | {"b.mp4": ""}, PC, r"b\.mp4 has the score ''"),
        (SA | {"b.mp4": "nan"}, PC, r"b\.mp4 has the score 'nan'"),
        (SA | {"b.mp4": 4.5}, PC, r"b\.mp4 has the score '4\.5'"),
        (SA, {}, r"pc\.csv has a header and 0 rows"),
    ],
)
def test_wrong_rows_are_named(tmp_path, capsys, sa, pc, named):
    a, b = write(tmp_path / "sa.csv", sa), write(tmp_path / "pc.csv", pc)
    with pytest.raises(InputError, match=named):
        videophy2.aggregate(sa=a, pc=b)
    command = ["evaluate", "videophy2", "aggregate", "--sa", str(a), "--pc", str(b), "--json"]
    assert run(command) == 2
    assert capsys.readouterr().out == ""


def test_repeated_rows_other_captions_and_other_columns(files, tmp_path):
    sa, pc = files
    twice = tmp_path / "twice.csv"
    twice.write_text(sa.read_text() + '9,"what a, then, does",a.mp4,5\n')
    with pytest.raises(InputError, match=r"a\.mp4 is judged twice"):
        videophy2.aggregate(sa=twice, pc=pc)
    other = tmp_path / "other.csv"
    other.write_text(pc.read_text().replace("what b", "who b"))
    with pytest.raises(InputError, match=r"different captions: b\.mp4"):
        videophy2.aggregate(sa=sa, pc=other)
    with pytest.raises(InputError, match="no column rule"):
        videophy2.aggregate(sa=sa, pc=pc, rule=pc)
    with pytest.raises(InputError, match=r"none\.csv cannot be read"):
        videophy2.aggregate(sa=sa, pc=tmp_path / "none.csv")
    rule = write_rules(tmp_path / "rule.csv", [("a.mp4", "r", 3), ("a.mp4", "r", 1)])
    with pytest.raises(InputError, match=r"a\.mp4: r twice; a\.mp4: 'r' has the score '3'"):
        videophy2.aggregate(sa=sa, pc=pc, rule=rule)


def test_with_a_list_every_clip_must_be_judged_with_its_own_prompt(files):
    def items(captions):
        return PromptList(
            benchmark="videophy2",
            source="here",
            items=tuple(Item(key=k, prompt=p, files=(k,)) for k, p in captions.items()),
        )

    captions = {name: f"what {name[0]}, then, does" for name in SA}
    sa, pc = files
    assert videophy2.aggregate(sa=sa, pc=pc, prompts=items(captions)).value("joint") == 0.5
    with pytest.raises(InputError, match=r"lacks 1 clips of here: e\.mp4"):
        videophy2.aggregate(sa=sa, pc=pc, prompts=items(captions | {"e.mp4": "more"}))
    with pytest.raises(InputError, match=r"another prompt: b\.mp4"):
        videophy2.aggregate(sa=sa, pc=pc, prompts=items(captions | {"b.mp4": "swapped"}))


def prompt_csv(path, count, *, rows_each=2):
    """The data set's form: a row for each model's clip, captions repeat, rules are lists."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["caption", "is_hard", *videophy2.RULE_COLUMNS])
        for i in range(count * rows_each):
            lists = [f"['rule {i % rows_each}']", "[]", "['the ball\\'s path bends']"]
            writer.writerow([f"A thing, number {i % count}.", int(i % count < 3), *lists])
    return path


def test_prompts_of_the_data_set(tmp_path):
    path = prompt_csv(tmp_path / "videophy2_test.csv", 590)
    prompts = videophy2.read_prompts(str(path))
    assert len(prompts.items) == 590
    assert prompts.items[0].files == ("A_thing,_number_0_0.mp4",)
    assert prompts.items[0].details["rules"][0] == "rule 0"
    assert "the ball's path bends" in prompts.items[0].details["rules"]
    assert len(videophy2.read_prompts(str(tmp_path), hard=True).items) == 3
    with pytest.raises(InputError, match="has 589 prompts, and the benchmark 590"):
        videophy2.read_prompts(str(prompt_csv(path, 589)))
    with pytest.raises(InputError, match="there is no nowhere"):
        videophy2.read_prompts("nowhere")


def test_without_network_the_way_out_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError, match="download its CSV and pass it as --source"):
        videophy2.read_prompts()


def test_videophy_reads_rows_without_a_header(tmp_path, capsys):
    question = "Human: <|video|>\nHuman: Does it?\nAI: "

    def write_chances(name, chances):
        with (tmp_path / name).open("w", newline="") as file:
            csv.writer(file).writerows([v, question, c] for v, c in chances.items())
        return str(tmp_path / name)

    sa = write_chances("sa.csv", {"a.mp4": 0.9, "b.mp4": 0.5, "c.mp4": 0.4})
    pc = write_chances("pc.csv", {"c.mp4": 0.9, "b.mp4": 0.8, "a.mp4": 0.1})
    args = ["evaluate", "videophy", "aggregate", "--sa", sa, "--pc", pc, "--json"]
    assert run(args) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["sa"], printed["pc"], printed["joint"]) == (2 / 3, 2 / 3, 1 / 3)
    assert run([*args, "--threshold", "0.85"]) == 0
    assert json.loads(capsys.readouterr().out)["joint"] == 0
    wrong = write_chances("wrong.csv", {"a.mp4": 1.2, "b.mp4": "yes", "d.mp4": 0.5})
    with pytest.raises(InputError, match=r"a\.mp4 has the score '1\.2'.*b\.mp4 .* 'yes'"):
        videophy.read_chances(tmp_path / wrong)
    short = write_chances("short.csv", {"a.mp4": 0.9})
    with pytest.raises(InputError, match=r"lacks 2 clips of the other file: c\.mp4; b\.mp4"):
        videophy.aggregate(sa=tmp_path / short, pc=tmp_path / pc)


def test_videophy_prompts(tmp_path):
    path = tmp_path / "test.csv"
    rows = "".join(f'"A, {i % 344}.",solid-solid\n' for i in range(700))
    path.write_text("caption,states_of_matter\n" + rows)
    prompts = videophy.read_prompts(str(path))
    assert len(prompts.items) == 344
    assert prompts.items[3].files == ("A,_3._0.mp4",)
