import json

import pytest

from pila.labels import evaluate
from pila.physics.bank import Category


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr("sys.argv", ["evaluate", *arguments])
    evaluate.main()


def test_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run(monkeypatch)
    shown = capsys.readouterr().out
    assert "held_out half, 100 prompts" in shown
    assert all(category in shown for category in Category)


def test_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run(monkeypatch, "--half", "all", "--json")
    report = json.loads(capsys.readouterr().out)
    assert report["prompts"] == 200
    assert set(report["categories"]) == set(Category)
    assert sum(c["support"] for c in report["categories"].values()) == report["micro"]["support"]


def test_held_out_errors_are_not_listed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "--show-errors")
    assert "wanted" not in capsys.readouterr().out
    run(monkeypatch, "--half", "development", "--show-errors")
    assert "wanted" in capsys.readouterr().out
