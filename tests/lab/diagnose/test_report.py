"""All diagnoses of a tiny real run: figures, numbers against their sources, and the page."""

import base64
import csv
import io
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pila.cli import run as cli
from pila.lab.diagnose import style, training
from pila.lab.diagnose.run import DIAGNOSES, diagnose
from pila.lab.diagnose.run_folder import open_run
from pila.lab.diagnose.subject import Look

pytestmark = pytest.mark.slow

VOID = {"meta", "img", "link", "br", "hr"}


class Page(HTMLParser):
    """Collects what a browser would fetch, what is read aloud, and whether tags are closed."""

    def __init__(self, text):
        super().__init__()
        self.links, self.images, self.headings, self.ids = [], [], [], set()
        self.rows = self.focusable = 0
        self.open = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.links += [v for k, v in attrs if k in ("src", "href", "srcset", "data", "action")]
        self.ids |= {found["id"]} if "id" in found else set()
        self.rows += tag == "tr"
        self.focusable += "tabindex" in found
        if tag == "img":
            self.images.append(found)
        if re.fullmatch(r"h\d", tag):
            self.headings.append(int(tag[1]))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def html(reported):
    return Path(reported["report"]).read_text()


def test_everything_that_the_run_allows_is_there(reported):
    assert tuple(reported["diagnoses"]) == DIAGNOSES
    assert reported["missing"] == {}


def test_the_page_stands_alone(html):
    page = Page(html)
    assert not re.search(r"https?:|//[a-z]|@import|url\(", re.sub(r"base64,[^\"]+", "", html))
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in page.links)
    assert {link[1:] for link in page.links if link.startswith("#")} <= page.ids
    assert "<script" not in html
    assert page.open == []


def test_every_picture_decodes_and_says_what_it_shows(html, reported):
    page = Page(html)
    files = [f for d in reported["diagnoses"].values() for f in d["files"]]
    assert len(page.images) == sum(f.endswith(".png") for f in files) >= 15
    for image in page.images:
        data = base64.b64decode(image["src"].partition(",")[2], validate=True)
        picture = Image.open(io.BytesIO(data))
        picture.load()
        assert picture.width >= 300
        assert np.asarray(picture.convert("L")).std() > 5  # not blank
        assert len(image["alt"]) > 60
        assert re.search(r"\d", image["alt"])


def test_the_page_is_read_by_keyboard_and_aloud(html):
    page = Page(html)
    assert '<html lang="en">' in html
    assert 'name="viewport"' in html
    assert page.headings[0] == 1
    assert page.headings.count(1) == 1
    assert all(b <= a + 1 for a, b in zip(page.headings, page.headings[1:], strict=False))
    assert html.count("What to look for.") == len(page.images)
    assert page.focusable >= len(page.images)
    assert "observe: <code>config.json</code>" in html
    assert page.rows > 40


def test_figures_come_in_vectors_and_numbers_as_json_and_csv(reported):
    for name, numbers in reported["diagnoses"].items():
        files = [Path(f) for f in numbers["files"]]
        pdfs = [f for f in files if f.suffix == ".pdf"]
        assert {f.stem for f in pdfs} == {f.stem for f in files if f.suffix == ".png"}
        assert all(f.read_bytes().startswith(b"%PDF") for f in pdfs)
        kept = json.loads((files[0].parent / f"{name}.json").read_text())
        assert kept == {k: v for k, v in numbers.items() if k != "files"}
        for table in (f for f in files if f.suffix == ".csv"):
            columns, *rows = list(csv.reader(table.read_text().splitlines()))
            assert rows
            assert {len(row) for row in rows} == {len(columns)}
    assert not list(files[0].parent.glob(".*"))


def test_curves_are_what_the_trainer_logged(trained, reported):
    rows = list(csv.DictReader((trained / "diagnose" / "training.csv").read_text().splitlines()))
    logged = [
        (stage, json.loads(line))
        for stage in ("observe", "recover", "couple")
        for line in (trained / stage / "metrics.jsonl").read_text().splitlines()
    ]
    assert [(r["stage"], int(r["step"])) for r in rows] == [(s, m["step"]) for s, m in logged]
    for row, (_, metrics) in zip(rows, logged, strict=True):
        assert all(float(row[name]) == value for name, value in metrics.items() if name != "step")
    assert [int(r["step_of_all"]) for r in rows] == [0, 2, 3, 5, 6, 8]
    stages = reported["diagnoses"]["training"]["stages"]
    assert [s["steps"] for s in stages] == [3, 3, 3]
    assert stages[2]["best"]["step"] == 3


def test_routing_is_told_by_labels(reported):
    arms = reported["diagnoses"]["routing"]["arms"]
    for arm in arms.values():
        assert set(arm["weights"]) == {"rigid_body", "collision", "thermal"}
        assert all(sum(w.values()) == pytest.approx(1) for w in arm["weights"].values())
        assert arm["chance"] == pytest.approx((1 / 8 + 2 / 8) / 2)
        assert 1 <= arm["effective"] <= 4 + 1e-6  # top-k is 4
        assert arm["prompts_of"]["thermal"] == arm["prompts_of"]["collision"] == 2
    # The label prior is worth e: an untrained router knows nothing without it.
    assert arms["labels"]["own"][0] > arms["no labels"]["own"][0]


def test_overlap_and_r2_are_in_their_bounds(reported):
    experts, bank = (reported["diagnoses"][n] for n in ("experts", "bank"))
    assert set(experts["by_category"]) <= {"rigid_body", "collision", "thermal"}
    assert all(0 <= v["area"][0] <= 1 for v in experts["by_category"].values())
    assert {one["category"] for one in experts["shown"]} == {"rigid_body", "collision", "thermal"}
    levels = bank["r2"]["by_level"]
    assert {"velocity", "temperature"} <= set(levels["0.3"])
    assert all(0 <= low <= v <= high <= 1 for t in levels.values() for v, low, high in t.values())
    assert bank["shown"][0]["scene"] == "ball_collision"  # it has the most slots


def test_the_correction_is_small_and_in_every_step(reported):
    found = reported["diagnoses"]["correction"]
    assert np.array(found["by_step"]["frame_rms"]).shape == (2, 3)
    assert found["by_step"]["sigma"][0] > found["by_step"]["sigma"][1]
    assert 0 < max(found["by_level"]["correction"]) < 1
    rms = np.sqrt(np.mean(np.square(found["by_step"]["frame_rms"]), axis=1))
    assert found["by_step"]["rms"] == pytest.approx(rms.tolist())


def test_a_run_on_a_latent_cache_is_asked_about_its_own_captions(trained, cache, tmp_path):
    (shards,) = (cache / "shards").iterdir()
    shutil.copytree(trained / "couple", tmp_path / "run")
    config = json.loads((tmp_path / "run/config.json").read_text())
    (tmp_path / "run/config.json").write_text(json.dumps(config | {"data": str(shards)}))
    found = diagnose("routing", tmp_path / "run")
    assert found["about"] == f"the last 16 captions of the latent cache {shards}."
    assert found["arms"]["labels"]["prompts"] == 16
    assert (tmp_path / "run/diagnose/routing-weights.pdf").exists()


def test_resumed_and_broken_metrics_are_drawn(trained, tmp_path):
    shutil.copytree(trained / "couple", tmp_path / "run")
    path = tmp_path / "run/metrics.jsonl"
    text = path.read_text()
    broken = {"step": 3, "loss": float("nan"), "grad_norm": float("inf")}
    path.write_text(f'{text}{text}{json.dumps(broken)}\n{{"step": 4, "lo')
    (found,) = diagnose("training", tmp_path / "run")["stages"]
    assert (found["resumes"], found["non_finite"]) == ([0], {"3": ["loss", "grad_norm"]})
    assert found["unreadable_lines"] == [6]
    marks = (tmp_path / "run/diagnose/training-marks.csv").read_text()
    assert "couple,0,went on after a stop" in marks
    assert 'couple,3,"not finite: loss, grad_norm"' in marks


def test_the_command_prints_files_or_numbers(trained, tmp_path, capsys):
    place = ["diagnose", "training", str(trained / "observe"), "--output", str(tmp_path)]
    assert cli(place) == 0
    printed = [Path(p) for p in capsys.readouterr().out.split()]
    assert all(p.is_file() for p in printed)
    assert tmp_path / "training-loss.pdf" in printed
    assert cli([*place, "--json"]) == 0
    (stage,) = json.loads(capsys.readouterr().out)["stages"]
    assert (stage["name"], stage["steps"], stage["planned"]) == ("observe", 3, 3)


def test_a_users_mistake_is_one_line_and_exit_code_2(tmp_path, capsys):
    assert cli(["diagnose", "bank", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert cli(["diagnose", "report", "embedded", "--clips", "1"]) == 2


def test_a_report_of_a_plain_adapter_has_its_correction_alone(plain, model, tmp_path, capsys):
    look = ["--model", str(model), "--scenes", "hot_spot", "--processes", "1", "--json"]
    assert cli(["diagnose", "report", str(plain), "--output", str(tmp_path), *look]) == 0
    printed = capsys.readouterr()
    assert "training left out: " in printed.err
    found = json.loads(printed.out)
    assert set(found["missing"]) == {"training", "routing", "experts", "bank", "paths"}
    assert "is a PlainAdapter and has no router" in found["missing"]["routing"]
    # Untrained, it corrects nothing: maps without a range of their own.
    assert found["diagnoses"]["correction"]["by_level"]["correction"] == [0.0] * 10
    assert found["diagnoses"]["correction"]["by_level"]["flow"] == [1.0] * 10
    assert (tmp_path / "report.html").read_text().count("Not drawn: ") == 5


def test_letters_of_figures_are_letters(trained, tmp_path, monkeypatch):
    monkeypatch.undo()
    assert style.MATPLOTLIB["pdf.fonttype"] == 42
    (picture, *_) = training.diagnose(open_run(trained)).pictures
    with style.styled():
        pdf, _ = style.save(picture.draw(), tmp_path, "loss")
    assert b"/FontFile2" in pdf.read_bytes()  # TrueType, as publishers ask for


def test_seen_twice_is_drawn_alike(trained, reported, model, tmp_path):
    look = Look(model=str(model), processes=1)
    diagnose("experts", trained, output=tmp_path, look=look)
    for name in ("experts-maps.pdf", "experts-maps.png", "experts.csv"):
        again, before = tmp_path / name, trained / "diagnose" / name
        assert again.read_bytes() == before.read_bytes()
