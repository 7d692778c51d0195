"""PhyGenBench's routes, domains and stages, and every way in which a file can be wrong."""

import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.lab.benchmarks import official

from pila.cli import run
from pila.errors import InputError
from pila.lab.benchmarks import phygenbench
from pila.lab.benchmarks.phygen_stages import (
    cut_one,
    cut_two,
    key_phenomena,
    order_closed,
    order_open,
    read_stages,
)
from pila.lab.benchmarks.phygenbench import aggregate, as_json, average_score, route_score
from pila.lab.benchmarks.prompt_list import read_prompts, write_prompts
from pila.lab.benchmarks.run import combine_stages

DOMAINS = {"mechanics": 40, "optics": 50, "thermal": 30, "material": 40}
stage = st.integers(0, 3)


def constant(*row: int) -> np.ndarray:
    return np.tile(np.array(row), (160, 1))


@given(st.tuples(stage, stage, stage), st.tuples(stage, stage, stage))
def test_routes_are_thirds_rounded_to_the_nearest_and_their_mean_rounded_down(one, other):
    total = sum(one)
    assert route_score(one) == min(range(4), key=lambda k: abs(3 * k - total))
    closed, open_ = route_score(one), route_score(other)
    assert 0 <= (closed + open_) / 2 - average_score(closed, open_) <= 0.5


@pytest.mark.parametrize(
    ("row", "closed", "open_", "average"),
    [
        # single, multi_gpt, multi_llava, video_gpt, video_intern
        ((3, 3, 3, 3, 3), 3, 3, 3),
        ((1, 0, 0, 0, 1), 0, 1, 0),  # 1/3 down; 2/3 up; 1/2 down
        ((2, 1, 3, 1, 2), 1, 2, 1),
        ((0, 3, 0, 2, 0), 2, 0, 1),
        ((3, 2, 3, 3, 2), 3, 3, 3),
    ],
)
def test_small_hand_checked_rows(tmp_path, row, closed, open_, average):
    path = official.write_json(tmp_path / "ours.json", official.phygen_result(constant(*row)))
    scores = as_json(aggregate(path))
    for route, value in (("closed", closed), ("open", open_), ("average", average)):
        assert scores[route] == dict.fromkeys([*DOMAINS, "overall"], value / 3)


def test_domains_and_overall_are_means_over_prompts(tmp_path):
    stages = np.random.default_rng(0).integers(0, 4, (160, 5))
    entries = official.phygen_result(stages)
    path = official.write_json(tmp_path / "ours.json", entries)
    scores = as_json(aggregate(path))
    first = dict(zip(DOMAINS, np.cumsum([0, 40, 50, 30]), strict=True))
    for route in ("closed", "open", "average"):
        values = np.array([entry[f"ours_{route}"] for entry in entries]) / 3
        for domain, count in DOMAINS.items():
            mine = values[first[domain] : first[domain] + count]
            assert scores[route][domain] == pytest.approx(mine.mean())
        assert scores[route]["overall"] == pytest.approx(values.mean())


def test_command_prints_routes_by_domain_and_nothing_else(tmp_path, capsys):
    path = official.write_json(
        tmp_path / "ours.json", official.phygen_result(constant(1, 0, 0, 0, 1))
    )
    assert run(["evaluate", "phygenbench", "aggregate", str(path), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == {
        route: dict.fromkeys([*DOMAINS, "overall"], value)
        for route, value in (("closed", 0), ("open", 1 / 3), ("average", 0))
    }


def test_order_of_entries_does_not_matter_and_stages_alone_are_enough(tmp_path):
    entries = official.phygen_result(np.random.default_rng(1).integers(0, 4, (160, 5)))
    whole = as_json(aggregate(official.write_json(tmp_path / "a.json", entries)))
    plain = [{k: v for k, v in e.items() if not k.startswith("ours_")} for e in entries]
    shuffled = [plain[i] for i in np.random.default_rng(2).permutation(160)]
    other = as_json(aggregate(official.write_json(tmp_path / "b.json", shuffled)))
    for route, scores in whole.items():
        assert other[route] == pytest.approx(scores)


def _drop(entries):
    del entries[6]


def _repeat(entries):
    entries[6] = dict(entries[7])


def _range(entries):
    entries[6]["multi_gpt"] = 4


def _single(entries):
    entries[6]["single"] = 7


def _half(entries):
    entries[6]["video_gpt"] = 1.5


def _disagree(entries):
    entries[6]["ours_closed"] = 3 - entries[6]["ours_closed"]


def _average(entries):
    entries[6]["ours_average"] = 3 - entries[6]["ours_average"]


def _domain(entries):
    entries[6]["main_category"] = "Magic"


def _stage(entries):
    del entries[6]["video_intern"], entries[6]["ours_open"]


def _caption(entries):
    del entries[6]["caption"]


def _extra(entries):
    entries.append(entries[0] | {"caption": "another", "video": "output_video_161.mp4"})


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (_drop, "output_video_7.mp4"),
        (_repeat, "output_video_8.mp4 is there twice"),
        (_range, "entry 7 .*multi_gpt is 4"),
        (_single, r"json: entry 7 [^;]*single is 7[^;]*; give the whole"),
        (_half, "entry 7 .*video_gpt is 1.5"),
        (_disagree, "entry 7 .*its stages give"),
        (_average, "entry 7 .*its routes give"),
        (_domain, "'Magic'"),
        (_stage, "entry 7 .*no video_intern"),
        (_caption, "entry 7 has no caption"),
        (_extra, "output_video_161.mp4 is not of 1 to 160"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_is_wrong_is_named(tmp_path, capsys, spoil, named):
    entries = official.phygen_result(constant(1, 0, 0, 0, 1))
    spoil(entries)
    path = official.write_json(tmp_path / "ours.json", entries)
    with pytest.raises(InputError, match=named):
        aggregate(path)
    assert run(["evaluate", "phygenbench", "aggregate", str(path), "--json"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1


@pytest.mark.parametrize("content", ["", "{}", "[1]", "[", '{"a": 1}'])
def test_no_list_is_refused(tmp_path, content):
    path = tmp_path / "ours.json"
    path.write_text(content)
    with pytest.raises(InputError, match=r"ours\.json"):
        aggregate(path)


def test_a_part_is_counted_only_if_asked_for_and_says_so(tmp_path):
    entries = official.phygen_result(constant(3, 3, 3, 3, 3))
    path = official.write_json(tmp_path / "ours.json", entries[:50])
    with pytest.raises(InputError, match="50 of 160 prompts: optics has 10 of 50"):
        aggregate(path)
    part = aggregate(path, partial=True)
    assert part.value("average/overall") == 1
    assert "average/thermal" not in part.names
    assert any("50 of 160" in note for note in part.notes)
    assert part.protocol != aggregate(official.write_json(tmp_path / "all.json", entries)).protocol


def test_two_models_in_one_file_need_a_name(tmp_path):
    entries = official.phygen_result(constant(1, 0, 0, 0, 1))
    for entry in entries:
        entry["theirs_closed"] = entry["ours_closed"]
    path = official.write_json(tmp_path / "both.json", entries)
    with pytest.raises(InputError, match="ours, theirs"):
        aggregate(path)
    assert aggregate(path, model_name="ours").method == "ours"
    with pytest.raises(InputError, match="has no mine"):
        aggregate(path, model_name="mine")


def test_one_route_alone(tmp_path):
    entries = official.phygen_result(constant(2, 2, 0, 2, 0))
    for entry in entries:
        for name in ("multi_llava", "video_intern", "ours_open", "ours_average"):
            del entry[name]
    path = official.write_json(tmp_path / "ours.json", entries)
    with pytest.raises(InputError, match="no multi_llava, video_intern"):
        aggregate(path)
    assert as_json(aggregate(path, routes=("closed",)))["closed"]["overall"] == 2 / 3


def test_prompts_of_a_checkout(tmp_path):
    checkout = official.phygen_checkout(tmp_path / "repository")
    prompts = phygenbench.read_prompts(checkout)
    assert Counter(item.group for item in prompts.items) == DOMAINS
    assert prompts.files[:2] == ["output_video_1.mp4", "output_video_2.mp4"]
    assert prompts.items[0].details["video_question"]["Description4"] == "description 4"
    write_prompts(tmp_path / "prompts.json", prompts)
    again = read_prompts(tmp_path / "prompts.json", "phygenbench")
    assert again == prompts


def test_questions_in_another_order_are_refused(tmp_path):
    checkout = official.phygen_checkout(tmp_path)
    path = checkout / "PhyGenBench" / "multi_question.json"
    entries = json.loads(path.read_text())
    entries[3], entries[4] = entries[4], entries[3]
    path.write_text(json.dumps(entries))
    with pytest.raises(InputError, match=r"not in the order of prompts\.json: entry 4 is"):
        phygenbench.read_prompts(checkout)


def test_clips_judged_with_another_prompt_are_named(tmp_path):
    prompts = phygenbench.read_prompts(official.phygen_checkout(tmp_path / "repository"))
    entries = official.phygen_result(constant(1, 1, 1, 1, 1))
    entries[0]["video"], entries[1]["video"] = entries[1]["video"], entries[0]["video"]
    path = official.write_json(tmp_path / "ours.json", entries)
    assert aggregate(path).value("average/overall") == 1 / 3
    with pytest.raises(InputError, match=r"another order: output_video_2\.mp4 is judged as"):
        aggregate(path, prompts=prompts)


# The raw judge files of the three stages.


@pytest.mark.parametrize(
    ("score", "level"),
    [(0, 0), (0.2499, 0), (0.25, 1), (0.5, 2), (0.7499, 2), (0.75, 3), (1, 3), (-0.01, 3)],
)
def test_cuts_of_one_question(score, level):
    assert cut_one(score) == level


@pytest.mark.parametrize(
    ("total", "level"), [(0, 0), (1, 0), (1.01, 1), (1.5, 1), (1.51, 2), (2.25, 2), (2.26, 3)]
)
def test_cuts_of_two_questions(total, level):
    assert cut_two(total) == level


@given(st.floats(0, 4), st.floats(0, 4))
def test_more_is_never_less(one, other):
    low, high = sorted((one, other))
    assert cut_two(low) <= cut_two(high)
    assert cut_one(low) <= cut_one(high)


def test_one_question_is_measured_from_its_retrieval_unless_it_is_the_last_frame():
    ask = {"Retrieval Prompt": "it falls", "m": 1.1, "clip_retrieval": 0.7}
    assert key_phenomena({"singleimage_question": [ask]}, "m") == 1
    last = ask | {"Retrieval Prompt": "Last Frame", "m": 0.6}
    assert key_phenomena({"singleimage_question": [last]}, "m") == 2
    two = {"singleimage_question": [ask, last], "m_descrete": 2, "m_score": 1.9}
    assert key_phenomena(two, "m") == 2
    with pytest.raises(ValueError, match=r"its score 1\.9 gives 2"):
        key_phenomena(two | {"m_descrete": 3}, "m")


def test_order_with_and_without_retrieved_moments():
    plain = {f"GPT4o_{n}": {"Choice": c} for n, c in ((1, "Yes"), (2, "No"), (3, "yes."))}
    assert order_closed({"multiimage_question": plain}) == 2
    # The official rule looks for "no" first, wherever it is.
    plain["GPT4o_3"] = {"Choice": "Yes, nothing is wrong"}
    assert order_closed({"multiimage_question": plain}) == 1
    moments = {"CLIP_Index": "3,4,6", **{f"GPT4o_{n}_Score": 1.4 + n / 20 for n in (1, 2, 3)}}
    assert order_closed({"multiimage_question": moments}) == 2  # 1.45, 1.5, 1.55


def test_open_order_takes_the_best_moment_of_each_side():
    asked = {"CLIP_Index": "3,4,6", "LLava_3": "Yes"}
    asked |= {"retrieval_1_3": 0.9, "LLava_1_3": "No", "retrieval_1_4": 0.5, "LLava_1_4": "Yes"}
    asked |= {"retrieval_2_4": 0.9, "LLava_2_4": "No", "retrieval_2_5": 0.4, "LLava_2_5": "Yes"}
    assert order_open({"multiimage_question": asked}) == 2  # 1.5 counts, 1.4 does not


def raw_files(folder):
    entries = official.phygen_prompts()

    def file(stage, field, value):
        return official.write_json(folder / f"{stage}.json", [e | {field: value} for e in entries])

    single = [{"Retrieval Prompt": "Last Frame", "m": 0.8}]
    yes = {f"GPT4o_{n}": {"Choice": "Yes"} for n in (1, 2, 3)}
    no = {f"LLava_{n}": "No" for n in (1, 2, 3)}
    return {
        "single": file("single", "singleimage_question", single),
        "multi_gpt": file("multi_gpt", "multiimage_question", yes),
        "multi_llava": file("multi_llava", "multiimage_question", no),
        "video_gpt": file("video_gpt", "GPT4o_score", 2),
        "video_intern": file("video_intern", "InternVideo2_score", 1),
    }


def test_raw_files_become_a_result_file(tmp_path, capsys):
    files = raw_files(tmp_path)
    out = tmp_path / "result.json"
    options = [f"{stage}={path}" for stage, path in files.items()]
    args = ["evaluate", "phygenbench", "aggregate", str(out), "--model-name", "m", "--json"]
    assert run([*args, "--stages", *options]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["closed"]["overall"] == 1  # (3 + 3 + 2) / 3
    assert printed["open"]["overall"] == 1 / 3  # (3 + 0 + 1) / 3
    assert printed["average"]["overall"] == 2 / 3
    assert json.loads(out.read_text())[0]["m_average"] == 2


def test_raw_files_of_other_prompts_or_without_answers_are_refused(tmp_path):
    files = raw_files(tmp_path)
    entries = json.loads(files["multi_gpt"].read_text())
    del entries[2]["multiimage_question"]["GPT4o_2"]
    entries[3]["multiimage_question"]["GPT4o_1"] = {"Choice": "I can see a ball"}
    official.write_json(files["multi_gpt"], entries)
    with pytest.raises(InputError, match=r"entry 3 .*has no 'GPT4o_2'.*entry 4 .*neither yes"):
        read_stages(files, "m")
    official.write_json(files["multi_gpt"], entries[::-1])
    with pytest.raises(InputError, match="another order"):
        read_stages(files, "m")
    official.write_json(files["multi_gpt"], entries[1:])
    with pytest.raises(InputError, match="lacks 'scene number 1 of force'"):
        read_stages(files, "m")
    with pytest.raises(InputError, match="give all of single, multi_gpt, video_gpt"):
        combine_stages({"single": files["single"]}, "m", tmp_path / "out.json")
