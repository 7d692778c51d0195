"""`pila score` on real files: windows, reports, pictures, a page, and what cannot be scored."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pila.cli import run
from pila.data.records import ClipError, View
from pila.errors import InputError
from pila.lab.world import simulate
from pila.physics.layout import Category
from pila.score.page import text
from pila.score.plausibility import load_scorer
from pila.score.report import ScoreRequest, find_videos, score, view_of, windows
from pila.video import write_video


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two videos of the world, one of them twice as long."""
    place = tmp_path_factory.mktemp("videos")
    frames = simulate("ball_collision", 3).frames
    write_video(place / "short.mp4", frames, fps=16)
    write_video(place / "long.mp4", np.concatenate([frames, frames[::-1][1:]]), fps=16)
    return place


def test_windows_share_a_half_and_the_last_ends_with_the_video(folder):
    view = View(height=96, width=96, num_frames=33, fps=16)
    found = list(windows(folder / "long.mp4", view))
    assert [start for _, start in found] == [0.0, 1.0, 2.0]
    assert all(frames.shape == (33, 96, 96, 3) for frames, _ in found)
    assert np.array_equal(found[0][0][16:], found[1][0][:17])
    odd = View(height=96, width=96, num_frames=41, fps=16)
    assert [start for _, start in windows(folder / "long.mp4", odd)] == [0.0, 20 / 16, 24 / 16]
    too_long = View(height=96, width=96, num_frames=81, fps=16)
    with pytest.raises(ClipError, match="too short: 65 frames at 16 per second, 81 are needed"):
        list(windows(folder / "long.mp4", too_long))


def test_reports(folder, tmp_path):
    request = ScoreRequest(
        videos=(folder,),
        caption="two balls collide head-on",
        parser="offline",
        html=tmp_path / "page.html",
        device="cpu",
    )
    results = score(request)
    long, short = results["reports"]
    assert long.file.endswith("long.mp4")
    assert (long.windows, short.windows) == (3, 1)
    assert short.labels == [Category.COLLISION] or Category.COLLISION in short.labels
    assert set(short.categories) == set(Category)
    for report in (long, short):
        assert len(report.times) == len(report.by_frame[Category.COLLISION])
        assert report.times == sorted(set(report.times))
        for name, category in report.categories.items():
            assert 0 <= category.score < 2
            assert category.score == pytest.approx(np.mean(list(category.terms.values())))
            assert category.worst in report.times[1:-1], name
    # Where windows meet, the ends of neither show: each latent frame of the long video is of the
    # window in which it lies farther from an end.
    assert np.allclose(np.diff(long.times), 0.25)
    scorer = load_scorer("embedded", "embedded", device=torch.device("cpu"))
    view = View(height=64, width=64, num_frames=33, fps=16)
    with torch.inference_mode():
        first, second, third = (
            scorer.frames(frames, caption=request.caption, labels=short.labels).by_frame
            for frames, _ in windows(folder / "long.mp4", view)
        )
    fluid = [*first["fluid"][:7], *second["fluid"][3:7], *third["fluid"][3:]]
    assert long.by_frame[Category.FLUID] == pytest.approx(fluid, rel=1e-5)
    # One window: its score is the mean over its latent frames.
    mean = np.mean(short.by_frame[Category.FLUID])
    assert mean == pytest.approx(short.categories[Category.FLUID].score, rel=1e-4)
    page = (tmp_path / "page.html").read_text()
    assert page.count("data:image/png;base64") == 2
    # Pictures are inside; their letters may spell anything.
    written = re.sub(r"base64,[A-Za-z0-9+/=]+", "", page)
    assert "http" not in written.replace("http-equiv", ""), "opens without a network"


def test_what_the_shipped_adapter_scores_are_worth_stands_beside_them(folder):
    """`src/pila/assets/score.json` is of the weights that are shipped with it."""
    results = score(ScoreRequest(videos=(folder / "short.mp4",), device="cpu"))
    assert results["calibrated"], "make the calibration anew: pila experiment score"
    (report,) = results["reports"]
    for name, category in report.categories.items():
        assert category.worth is not None, name
        assert category.worth[1] <= category.worth[0] <= category.worth[2]
        assert category.near_chance == (category.worth[1] < 0.6)
        assert 0 <= category.among_true <= 1
    said = text(results)
    rows = [line for line in said.splitlines() if line.startswith("    *  ")]
    assert ["near chance" in row for row in rows] == [
        c.near_chance for c in report.categories.values()
    ]
    change = report.change
    assert change.worth[1] > 0.6
    assert not change.near_chance
    # What is worth most comes first, and "overall" says what it is worth.
    assert said.splitlines()[1].startswith(f"  steadiness of change  {change.score:+.2f}  above")
    overall = next(line for line in said.splitlines() if line.startswith("  overall"))
    assert f"{report.overall:.3f}: the mean residual of the categories that count (*)" in overall
    assert "says nothing" in overall


def test_clips_that_stop_stand_above_their_true_twins(tmp_path):
    seeds = range(7, 10)
    for seed in seeds:
        frames = simulate("gliding_puck", seed).frames
        write_video(tmp_path / f"b-true-{seed}.mp4", frames, fps=16)
        stopped = np.concatenate([frames[:16], np.repeat(frames[16:17], 17, axis=0)])
        write_video(tmp_path / f"a-broken-{seed}.mp4", stopped, fps=16)
    changes = [r.change for r in score(ScoreRequest(videos=(tmp_path,), device="cpu"))["reports"]]
    broken, true = changes[: len(seeds)], changes[len(seeds) :]
    assert all(b.score > t.score for b, t in zip(broken, true, strict=True))
    places = [np.mean([c.among_true for c in kind]) for kind in (broken, true)]
    assert places[0] > places[1] + 0.3, places


def test_another_adapters_bank_is_not_calibrated_but_the_change_is(folder, tmp_path):
    from pila.adapter import PilaAdapter
    from pila.pipelines.locate import EMBEDDED_ADAPTER

    other: Any = PilaAdapter.from_pretrained(EMBEDDED_ADAPTER)
    torch.nn.init.normal_(other.decoder.out.weight, std=0.2)
    other.save_pretrained(tmp_path / "other")
    results = score(
        ScoreRequest(videos=(folder / "short.mp4",), adapter=str(tmp_path / "other"), device="cpu")
    )
    (report,) = results["reports"]
    assert not results["calibrated"]
    assert all(c.worth is None for c in report.categories.values())
    assert report.change.worth is not None
    assert "not measured" in text(results)


def test_pictures_of_odd_and_long_names(folder, tmp_path):
    names = ["cost $5_$ clip", "\N{SNOWMAN}" * 83 + "a", "\u6c34\u306e\u6ce2 \U0001f30a"]
    for name in names:
        shutil.copy(folder / "short.mp4", tmp_path / f"{name}.mp4")
    pictures = tmp_path / "pictures"
    results = score(ScoreRequest(videos=(tmp_path,), pictures=pictures, device="cpu"))
    assert results["failed"] == {}
    written = sorted(p.name for p in pictures.iterdir())
    shown = ["cost $5_$ clip", "\N{SNOWMAN}" * 66, "\u6c34\u306e\u6ce2 \U0001f30a"]
    assert written == [f"{k:03d}-{name}.png" for k, name in enumerate(shown)]


def test_where_nothing_moves_there_is_no_number(tmp_path, capsys):
    frames = simulate("gliding_puck", 7).frames
    write_video(tmp_path / "still.mp4", np.repeat(frames[:1], 65, axis=0), fps=16)
    still, html = str(tmp_path / "still.mp4"), tmp_path / "page.html"
    assert run(["score", still, "--json", "--html", str(html), "--device", "cpu"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["why_not"] == "nothing moves"
    assert report["overall"] is None
    assert report["change"] is None
    assert report["categories"] == {}
    assert run(["score", still, "--device", "cpu"]) == 0
    (first, second, *_) = capsys.readouterr().out.splitlines()
    assert first.startswith(still)
    assert second.strip() == "nothing moves: there is no number"
    assert "nothing moves" in html.read_text()
    assert "AUC" not in html.read_text()


def test_what_stands_still_for_a_while_counts_while_it_moves(tmp_path):
    frames = simulate("gliding_puck", 7).frames
    write_video(tmp_path / "a.mp4", frames, fps=16)
    write_video(tmp_path / "b.mp4", np.concatenate([frames, frames[-1:].repeat(64, 0)]), fps=16)
    alone, longer = score(ScoreRequest(videos=(tmp_path,), device="cpu"))["reports"]
    assert alone.still == 0
    assert 2 < longer.still < longer.seconds
    assert longer.windows < 5
    said = text({"reports": [longer], "failed": {}, "pictures": {}, "note": ""})
    assert "which do not count" in said


@pytest.mark.parametrize(
    ("count", "fps", "seen"),
    [
        (40, 16, (16, 33)),
        (40, 15, (15, 33)),
        (24, 16, (16, 21)),
        (40, 8, (8, 33)),
        (30, 12.5, (12.5, 29)),
        (26, 25, (25, 25)),
        (60, 30, (16.27, 33)),
        (70, 30, (16, 33)),
        (300, 187.5, (20.07, 33)),
    ],
)
def test_rate_and_length_at_which_a_video_is_seen(tmp_path, count, fps, seen):
    frames = np.zeros((count, 32, 32, 3), np.uint8)
    write_video(tmp_path / "a.mp4", frames, fps=fps)
    own = View(height=64, width=64, num_frames=33, fps=16)
    view = view_of(tmp_path / "a.mp4", own)
    assert (view.fps, view.num_frames) == (pytest.approx(seen[0], rel=1e-2), seen[1])
    assert next(windows(tmp_path / "a.mp4", view))[0].shape == (seen[1], 64, 64, 3)


def test_too_little_is_refused_with_a_remedy(tmp_path):
    own = View(height=64, width=64, num_frames=33, fps=16)
    write_video(tmp_path / "short.mp4", np.zeros((12, 32, 32, 3), np.uint8), fps=16)
    with pytest.raises(ClipError, match=r"too short: 12 frames; at least 13 are needed"):
        view_of(tmp_path / "short.mp4", own)
    write_video(tmp_path / "slow.mp4", np.zeros((40, 32, 32, 3), np.uint8), fps=5)
    with pytest.raises(ClipError, match=r"too slow: 5 frames .* at least 8 are needed: film"):
        view_of(tmp_path / "slow.mp4", own)


def test_another_rate_is_scored_and_what_that_is_worth_is_not_claimed(tmp_path):
    frames = simulate("gliding_puck", 7).frames
    images = [Image.fromarray(frame) for frame in frames]
    for kind in ("webp", "png"):
        images[0].save(tmp_path / f"a.{kind}", save_all=True, append_images=images[1:], duration=80)
    files = (tmp_path / "a.webp", tmp_path / "a.png")
    results = score(ScoreRequest(videos=files, device="cpu"))
    assert results["failed"] == {}
    for report in results["reports"]:
        assert (report.fps, report.frames) == (pytest.approx(12.5), 33)
        assert not report.as_calibrated
        assert report.change.score is not None
        assert report.change.among_true is None
        assert all(c.worth is None for c in report.categories.values())
    assert text(results).count("was not measured how well the numbers tell") == 2


def test_filmed_clips_are_scored():
    clips = Path("/work/shared/clips")
    if not clips.is_dir():
        pytest.skip("the seven filmed clips are not here")
    results = score(ScoreRequest(videos=(clips,), device="cpu"))
    assert results["failed"] == {}
    assert len(results["reports"]) == 7
    assert all(r.why_not is None and r.change is not None for r in results["reports"])


def test_a_mirrored_video_scores_alike(folder, tmp_path):
    """Relations know no left and right; the adapter learned from both."""
    frames = simulate("ball_collision", 3).frames
    write_video(tmp_path / "mirrored.mp4", frames[:, :, ::-1], fps=16)
    both = score(ScoreRequest(videos=(folder / "short.mp4", tmp_path), device="cpu"))
    one, other = (r.categories[Category.COLLISION].score for r in both["reports"])
    assert one == pytest.approx(other, abs=0.15)


def test_command_line(folder, tmp_path, capsys):
    assert run(["score", str(folder / "short.mp4"), "--json", "--device", "cpu"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["labels"] == []
    assert report["why_not"] is None
    assert report["overall"] > 0
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    (tmp_path / "empty.mp4").touch()
    files = [str(folder / "short.mp4"), str(tmp_path)]
    assert run(["score", *files, "--categories", "collision", "--device", "cpu"]) == 2
    out, err = capsys.readouterr()
    assert "short.mp4" in out
    assert "2 of 3 videos could not be scored" in err
    assert "empty" in out
    assert "corrupt: not a video" in out
    assert "Errno" not in out
    assert run(["score", *files, "--json", "--device", "cpu"]) == 2
    bad, empty = json.loads(capsys.readouterr().out)[1:]
    assert (bad["overall"], bad["change"]) == (None, None)
    assert bad["why_not"].startswith("corrupt")
    assert empty["why_not"].startswith("empty")


def test_nothing_to_score_is_refused_before_anything_is_loaded(tmp_path):
    with pytest.raises(InputError, match="no video in"):
        find_videos([tmp_path])
    with pytest.raises(InputError, match="there is no video"):
        find_videos([tmp_path / "none.mp4"])
    (tmp_path / "a.mp4").touch()
    with pytest.raises(InputError, match="unknown categor"):
        score(ScoreRequest(videos=(tmp_path,), categories="magic"))


def test_a_plain_adapter_has_no_bank(folder, tmp_path):
    from pila.adapter import PlainAdapter

    PlainAdapter(text_dim=64, hidden_width=8, num_blocks=1).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="only a PilaAdapter has a bank"):
        score(ScoreRequest(videos=(folder,), adapter=str(tmp_path), device="cpu"))
