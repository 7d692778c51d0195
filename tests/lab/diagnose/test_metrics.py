"""metrics.jsonl of runs that were killed, resumed, cut off while writing, or went wrong."""

import json

import numpy as np
import pytest

from pila.errors import InputError
from pila.lab.diagnose.metrics import read_metrics, smoothed


def line(step, **figures):
    return json.dumps({"step": step, "loss": 1.0, **figures})


def read(tmp_path, *lines, end="\n"):
    path = tmp_path / "metrics.jsonl"
    path.write_text("\n".join(lines) + end)
    return read_metrics(path)


def test_a_straight_run(tmp_path):
    found = read(tmp_path, line(0, flow=2.0), line(20), line(39, flow=3.0))
    assert found.names == ("loss", "flow")
    assert found.steps == 40
    assert [s.tolist() for s in found.series("flow")] == [[0, 39], [2, 3]]
    assert found.resumes == found.unreadable == ()
    assert found.non_finite == {}


@pytest.mark.parametrize("cut", ['{"step": 40, "lo', '{"step": 4', "{", '{"step": 40}}', "\0\0\0"])
def test_a_line_that_was_cut_off_hides_nothing_else(tmp_path, cut):
    found = read(tmp_path, line(0), line(20), cut, end="")
    assert [row["step"] for row in found.rows] == [0, 20]
    assert found.unreadable == (3,)
    assert found.resumes == ()  # nothing came after


def test_half_a_character_is_read_over(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(line(0).encode() + b'\n{"step": 20, "\xe2\x82')
    assert read_metrics(path).unreadable == (2,)


def test_what_was_appended_behind_a_cut_off_line_is_found(tmp_path):
    found = read(tmp_path, line(0), line(20), '{"step": 40, "lo' + line(40, loss=7.0), line(60))
    assert [row["step"] for row in found.rows] == [0, 20, 40, 60]
    assert found.rows[2]["loss"] == 7
    assert (found.resumes, found.unreadable) == ((40,), (3,))


def test_of_steps_that_come_twice_the_later_count(tmp_path):
    found = read(
        tmp_path, line(0), line(20), line(40, loss=5.0), line(20, loss=2.0), line(40, loss=3.0)
    )
    assert [(r["step"], r["loss"]) for r in found.rows] == [(0, 1), (20, 2), (40, 3)]
    assert found.resumes == (20,)


def test_a_stop_by_max_steps_shows_between_logged_steps(tmp_path):
    found = read(tmp_path, line(0), line(20), line(29), line(40), line(60), line(79))
    assert found.resumes == (30,)


def test_values_that_are_no_number_are_named_and_drawn_as_gaps(tmp_path):
    found = read(tmp_path, line(0), line(20, loss=float("nan"), grad_norm=float("inf")))
    assert found.non_finite == {20: ("loss", "grad_norm")}
    assert np.isnan(found.series("loss")[1]).tolist() == [False, True]


@pytest.mark.parametrize("text", ["", "\n", '{"step": 0', "[1]\n", '{"loss": 1}\n'])
def test_a_run_without_a_step_yet(tmp_path, text):
    (tmp_path / "metrics.jsonl").write_text(text)
    with pytest.raises(InputError, match="has no metrics yet"):
        read_metrics(tmp_path / "metrics.jsonl")
    with pytest.raises(InputError, match="has not logged a step yet"):
        read_metrics(tmp_path / "other.jsonl")


def test_the_running_mean_knows_gaps_and_ends():
    values = np.array([1.0, 2.0, np.nan, 4.0])
    assert smoothed(values, 3).tolist() == [1.5, 1.5, 3, 4]
    assert smoothed(np.array([5.0]), 5).tolist() == [5]
    assert np.isnan(smoothed(np.full(3, np.nan))).all()
