"""`pila score` on real files: windows, reports, pictures, a page, and what cannot be scored."""

import json

import numpy as np
import pytest

from pila.cli import run
from pila.data.records import ClipError, View
from pila.errors import InputError
from pila.physics.layout import Category
from pila.score import ScoreRequest, find_videos, score, windows
from pila.video import write_video
from pila.world import simulate


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
            assert category.worst in report.times, name
    # One window: its score is the mean over its latent frames.
    mean = np.mean(short.by_frame[Category.FLUID])
    assert mean == pytest.approx(short.categories[Category.FLUID].score, rel=1e-4)
    page = (tmp_path / "page.html").read_text()
    assert page.count("data:image/png;base64") == 2
    assert "http" not in page.replace("http-equiv", ""), "opens without a network"


def test_a_mirrored_video_scores_alike(folder, tmp_path):
    """Relations know no left and right; the adapter learned from both."""
    frames = simulate("ball_collision", 3).frames
    write_video(tmp_path / "mirrored.mp4", frames[:, :, ::-1], fps=16)
    both = score(ScoreRequest(videos=(folder / "short.mp4", tmp_path), device="cpu"))
    one, other = (r.categories[Category.COLLISION].score for r in both["reports"])
    assert one == pytest.approx(other, abs=0.15)


def test_command_line(folder, tmp_path, capsys):
    assert run(["score", str(folder / "short.mp4"), "--json", "--device", "cpu"]) == 0
    said = json.loads(capsys.readouterr().out)
    (report,) = said["reports"]
    assert report["labels"] == []
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    (tmp_path / "empty.mp4").touch()
    files = [str(folder / "short.mp4"), str(tmp_path)]
    assert run(["score", *files, "--labels", "collision", "--device", "cpu"]) == 2
    out, err = capsys.readouterr()
    assert "short.mp4" in out
    assert "2 of 3 videos could not be scored" in err
    assert "empty" in out
    assert "corrupt" in out


def test_nothing_to_score_is_refused_before_anything_is_loaded(tmp_path):
    with pytest.raises(InputError, match="no video in"):
        find_videos([tmp_path])
    with pytest.raises(InputError, match="there is no video"):
        find_videos([tmp_path / "none.mp4"])
    (tmp_path / "a.mp4").touch()
    with pytest.raises(InputError, match="unknown categor"):
        score(ScoreRequest(videos=(tmp_path,), labels="magic"))


def test_a_plain_adapter_has_no_bank(folder, tmp_path):
    from pila.adapter import PlainAdapter

    PlainAdapter(text_dim=64, hidden_width=8, num_blocks=1).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="only a PilaAdapter has a bank"):
        score(ScoreRequest(videos=(folder,), adapter=str(tmp_path), device="cpu"))
