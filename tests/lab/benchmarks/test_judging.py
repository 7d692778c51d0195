"""From clips through a judge to official files and back to scores."""

import json
from dataclasses import replace

import pytest
from tests.lab.benchmarks import official
from tests.labels.chat_server import serve

from pila.errors import InputError
from pila.lab.benchmarks import phygen_judging, phygenbench, vbench2, videophy, videophy2
from pila.lab.benchmarks.judges.server import ServerConfig, ServerJudge
from pila.lab.benchmarks.prompt_list import Item, PromptList, find_clips
from pila.lab.benchmarks.records import read_record, record_path


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PILA_CACHE", str(tmp_path / "cache"))


def judge_of(chat):
    config = ServerConfig(base_url=chat.url, model="eye", timeout=5.0, pause=0.0, retries=0)
    return ServerJudge(config)


def prompt_list(benchmark, *items):
    return PromptList(benchmark=benchmark, source="here", items=tuple(items))


def clips(folder, prompts):
    for seed, name in enumerate(prompts.files):
        official.write_clip(folder / name, seed)
    return folder


def test_videophy2_writes_what_its_aggregate_reads(tmp_path):
    items = [
        Item(key=f"{n}.mp4", prompt=f"{n} falls", files=(f"{n}.mp4",), details={"rules": rules})
        for n, rules in (("a", ["it falls down", "it stops"]), ("b", []))
    ]
    prompts = prompt_list("videophy2", *items)
    folder = clips(tmp_path / "clips", prompts)
    # sa of a and b, pc of a and b, two rules of a.
    with serve(*"544310") as chat:
        written = videophy2.judge(prompts, folder, tmp_path / "out", judge_of(chat), frames=2)
    assert [path.name for path in written] == ["sa.csv", "pc.csv", "rule.csv"]
    texts = [r["messages"][0]["content"][-1]["text"] for r in chat.requests]
    assert ["a falls" in texts[0], "it falls down" in texts[4]] == [True, True]
    sa, pc, rule = written
    result = videophy2.aggregate(sa=sa, pc=pc, rule=rule, prompts=prompts)
    assert videophy2.as_json(result)["joint"] == 0.5
    assert result.value("rule/followed_of_told") == 0.5
    stated = result.protocol["judged"]["pc"]
    assert (stated["judge"]["model"], stated["questions"]["frames"]) == ("eye", [2])
    assert stated["prompts"] == prompts.digest
    assert not any("no judge is stated" in note for note in result.notes)
    # A file that was edited since is not what its record says.
    pc.write_text(pc.read_text().replace("3.0", "5.0"))
    with pytest.raises(InputError, match=r"pc\.csv was changed after pc\.csv\.record\.json"):
        videophy2.aggregate(sa=sa, pc=pc)


def test_videophy_writes_the_official_rows(tmp_path):
    items = [Item(key=f"{n}.mp4", prompt=f"{n} falls", files=(f"{n}.mp4",)) for n in "ab"]
    prompts = prompt_list("videophy", *items)
    folder = clips(tmp_path / "clips", prompts)
    with serve("yes", "no", "yes", "yes") as chat:
        sa, pc = videophy.judge(prompts, folder, tmp_path / "out", judge_of(chat), frames=2)
    assert list(videophy.read_chances(sa).values()) == [1, 0]
    assert videophy.aggregate(sa=sa, pc=pc, prompts=prompts).value("joint") == 0.5


def test_vbench2_shows_the_frames_that_a_question_is_about(tmp_path):
    items = [
        Item(
            key=f"{group}: p",
            prompt="p",
            group=group,
            files=tuple(f"{group}-{i}.mp4" for i in range(3)),
            details={"questions": ["first?", "second?"]},
        )
        for group in ("Dynamic_Spatial_Relationship", "Material")
    ]
    prompts = prompt_list("vbench2", *items)
    folder = clips(tmp_path / "clips", prompts)
    answers = ["yes", "yes", "yes", "no", "no", "yes", "yes", "yes", "yes", "no", "no", "yes"]
    with serve(*answers) as chat:
        path = vbench2.judge(prompts, folder, tmp_path / "out", judge_of(chat), frames=4)
    shown = [len(r["messages"][0]["content"]) - 1 for r in chat.requests]
    assert shown == [2, 1, 2, 1, 2, 1, 4, 4, 4, 4, 4, 4]
    content = json.loads(path.read_text())
    results = {d: [row["video_results"] for row in rows] for d, (_, rows) in content.items()}
    assert results == {"Dynamic_Spatial_Relationship": [1, 0, 0], "Material": [1, 0, -1]}
    assert content["Material"][0] == 0.5
    result = vbench2.aggregate(path, partial=True, prompts=prompts)
    assert result.value("Material") == 0.5


def phygen_items(*, single=2, moment="Middle Frame"):
    ask = [
        {"Retrieval Prompt": "it goes on", "Statement": "it is going on"},
        {"Retrieval Prompt": "Last Frame", "Statement": "it has ended"},
    ]
    return Item(
        key="output_video_1.mp4",
        prompt="a thing happens",
        group="mechanics",
        files=("output_video_1.mp4",),
        details={
            "physical_laws": "gravity",
            "sub_category": "Gravity",
            "main_category": "Force",
            "singleimage_question": ask[:single],
            "multiimage_question": {
                "Retrieval Prompt": moment,
                "Description1": "starts",
                "Description2": "ends",
            },
            "video_question": {f"Description{n}": f"text {n}" for n in (1, 2, 3, 4)},
            "explicit_caption": "starts and ends",
        },
    )


@pytest.mark.parametrize(
    ("item", "answers", "stages"),
    [
        # moment, statement, last frame; three in order; the letter
        (phygen_items(), ["yes", "yes", "no", "yes", "no", "yes", "B"], (2, 2, 1)),
        (phygen_items(), ["no", "yes", "no", "no", "no", "no", "D"], (0, 0, 3)),
        (phygen_items(), ["yes"] * 6 + ["A"], (3, 3, 0)),
        # one question counts without its moment
        (phygen_items(single=1), ["yes", "no", "no", "no", "no", "C"], (0, 0, 2)),
        (phygen_items(single=1), ["no", "yes", "no", "no", "no", "C"], (3, 0, 2)),
        # a moment that is not there closes the second stage
        (
            phygen_items(moment="it breaks"),
            ["no", "no", "no", "no", "yes", "yes", "yes", "A"],
            (0, 0, 0),
        ),
        (
            phygen_items(moment="it breaks"),
            ["no", "no", "no", "yes", "yes", "no", "yes", "A"],
            (0, 2, 0),
        ),
    ],
)
def test_phygenbench_stages_of_one_judge(tmp_path, item, answers, stages):
    prompts = prompt_list("phygenbench", item)
    folder = clips(tmp_path / "ours", prompts)
    with serve(*answers) as chat:
        path = phygen_judging.judge(
            prompts, folder, tmp_path / "out", judge_of(chat), model_name="ours", frames=4
        )
    assert len(chat.requests) == len(answers)
    (entry,) = json.loads(path.read_text())
    assert (entry["single"], entry["multi_gpt"], entry["video_gpt"]) == stages
    assert entry["ours_closed"] == round(sum(stages) / 3)
    result = phygenbench.aggregate(path, routes=("closed",), partial=True, prompts=prompts)
    assert result.value("closed/mechanics") == entry["ours_closed"] / 3


def test_two_judges_fill_both_routes_of_one_file(tmp_path):
    prompts = prompt_list("phygenbench", phygen_items())
    folder = clips(tmp_path / "ours", prompts)
    out = tmp_path / "out"
    with serve(*["yes"] * 6, "D") as chat:
        phygen_judging.judge(prompts, folder, out, judge_of(chat), model_name="ours")
    with serve(*["yes"] * 3, *["no"] * 3, "A") as chat:
        judge = judge_of(chat)
        path = phygen_judging.judge(
            prompts, folder, out, judge, route="open", model_name="ours", frames=4
        )
    (entry,) = json.loads(path.read_text())
    assert [entry[f"ours_{r}"] for r in ("closed", "open", "average")] == [3, 1, 2]
    result = phygenbench.aggregate(path, partial=True)
    assert phygenbench.as_json(result)["average"]["overall"] == 2 / 3
    record = read_record(path)
    assert record is not None
    assert set(record["protocol"]) == {"closed", "open"}
    other = prompt_list("phygenbench", replace(phygen_items(), prompt="another"))
    with serve("yes") as chat, pytest.raises(InputError, match="is of other prompts"):
        phygen_judging.judge(other, folder, out, judge_of(chat), model_name="ours")


def test_questions_that_a_checkout_lacks_are_named(tmp_path):
    item = phygen_items()
    bare = replace(item, details={k: v for k, v in item.details.items() if k != "video_question"})
    with serve("yes") as chat, pytest.raises(InputError, match=r"video_1\.mp4: video_question"):
        phygen_judging.judge(prompt_list("phygenbench", bare), tmp_path, tmp_path, judge_of(chat))
    assert chat.requests == []


def test_clips_that_are_missing_damaged_unknown_or_copies_are_named(tmp_path):
    items = [Item(key=n, prompt=n, files=(f"{n}.mp4",)) for n in "abc"]
    prompts = prompt_list("videophy", *items)
    folder = clips(tmp_path / "clips", prompts)
    assert list(find_clips(prompts, folder)) == ["a.mp4", "b.mp4", "c.mp4"]
    official.write_clip(folder / "d.mp4", 9)
    with pytest.raises(InputError, match=r"d\.mp4 is a clip too many"):
        find_clips(prompts, folder)
    (folder / "d.mp4").rename(folder / "b (1).mp4")
    (folder / "b.mp4").unlink()
    with pytest.raises(InputError, match=r"lacks 1 of 3 clips: b\.mp4 \(.*b \(1\)\.mp4\)"):
        find_clips(prompts, folder)
    (folder / "b (1).mp4").unlink()
    (folder / "b.mp4").touch()
    data = (folder / "c.mp4").read_bytes()
    (folder / "c.mp4").write_bytes(data[: len(data) // 3])
    with pytest.raises(InputError, match=r"b\.mp4 has zero length; c\.mp4 is damaged"):
        find_clips(prompts, folder)
    (folder / "c.mp4").write_bytes(data)
    (folder / "b.mp4").write_bytes(data)
    with pytest.raises(InputError, match=r"b\.mp4 = c\.mp4; delete the copies"):
        find_clips(prompts, folder)
    with pytest.raises(InputError, match="there is no folder"):
        find_clips(prompts, tmp_path / "none")


def test_records_lie_beside_their_files(tmp_path):
    path = official.write_json(tmp_path / "x.json", [])
    assert read_record(path) is None
    assert record_path(path).name == "x.json.record.json"
