"""The table of law measures: real clips, real measures, kept rows, what it says and refuses."""

import json

import numpy as np
import pytest

from pila.errors import InputError
from pila.lab.experiments.measures import (
    BLOCK,
    CONTROLS,
    TRUE,
    controls,
    markdown,
    run,
    tabulate,
    tolerances,
)
from pila.lab.world import SCENES, Canvas, simulate
from pila.pipelines.locate import EMBEDDED_MODEL


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PILA_CACHE", str(tmp_path / "cache"))


def test_a_run_in_pixels_is_complete_and_kept(tmp_path):
    first = run(tmp_path, vae=None, scenes=["thrown_ball"], clips=3, size=64, processes=1)
    entry = first["scenes"]["thrown_ball"]
    assert set(entry["kinds"]) == {*CONTROLS, *SCENES["thrown_ball"].violations}
    assert entry["kinds"]["static"]["pixels"]["worst"][0] == 1.0
    assert json.loads((tmp_path / "measures.json").read_text())["scenes"] == first["scenes"]
    stamps = {p: p.stat().st_mtime_ns for p in (tmp_path / "cache").rglob("*.json")}
    assert len(stamps) == 1 + len(SCENES["thrown_ball"].violations)
    run(tmp_path, vae=None, scenes=["thrown_ball"], clips=3, size=64, processes=1)
    assert stamps == {p: p.stat().st_mtime_ns for p in (tmp_path / "cache").rglob("*.json")}
    text = (tmp_path / "measures.md").read_text()
    assert "| growing |" in text
    assert "3 clips of each kind, 64 px" in text


def test_areas_of_made_up_errors():
    laws = SCENES["hot_spot"].laws

    def rows(errors):
        return [
            {"seconds": 0.1, "pixels": dict.fromkeys(laws, 0.01) | {laws[0]: e}} for e in errors
        ]

    table = tabulate(
        {("hot_spot", TRUE): rows([0.1, 0.2]), ("hot_spot", "stops"): rows([0.3, 0.05])}
    )
    areas = table["scenes"]["hot_spot"]["kinds"]["stops"]["pixels"]
    assert areas["laws"][laws[0]] == 0.5
    assert areas["laws"][laws[1]] == 0.5
    assert "0.500" in markdown(
        table
        | {
            "clips": 2,
            "vae_clips": 0,
            "vae_true_clips": 0,
            "size": 64,
            "first_seed": 0,
            "commit": "abc",
        }
    )


def test_more_clips_keep_whole_blocks(tmp_path):
    kept = tmp_path / "cache" / "measures"
    run(tmp_path, vae=None, scenes=["gliding_puck"], clips=BLOCK, size=32, processes=1)
    before = {p: p.stat().st_mtime_ns for p in kept.iterdir()}
    more = run(tmp_path, vae=None, scenes=["gliding_puck"], clips=BLOCK + 1, size=32, processes=1)
    assert more["clips"] == BLOCK + 1
    assert {p: p.stat().st_mtime_ns for p in kept.iterdir() if p in before} == before
    assert len(list(kept.iterdir())) == 2 * len(before)


def test_some_of_the_clips_may_go_through_the_vae(tmp_path):
    made = run(
        tmp_path,
        vae=EMBEDDED_MODEL / "vae",
        scenes=["hot_spot"],
        clips=BLOCK + 2,
        vae_clips=BLOCK,
        size=32,
        processes=2,
    )
    entry = made["scenes"]["hot_spot"]
    assert set(entry["true"]) == {"pixels", "vae"}
    assert 15 < entry["psnr"] < 60
    assert (
        "22 clips (through the VAE 20 broken and 22 true) of each kind"
        in (tmp_path / "measures.md").read_text()
    )


def test_controls_are_made_of_the_true_clip():
    true = simulate("thrown_ball", 700_000, canvas=Canvas(size=64)).frames
    made = controls(true)
    assert tuple(made) == CONTROLS
    assert np.array_equal(made["reversed"], true[::-1])
    assert np.array_equal(made["half-speed"][2], true[1])
    assert (made["static"] == true[0]).all()
    assert all(clip.shape == true.shape for clip in made.values())


def test_wrong_input_is_named(tmp_path):
    with pytest.raises(InputError, match="clips is 1"):
        run(tmp_path / "out", vae=None, scenes=["hot_spot"], clips=1, size=64)
    some = {"vae": EMBEDDED_MODEL / "vae", "scenes": ["hot_spot"], "size": 64}
    with pytest.raises(InputError, match="vae-clips is 60; take a multiple of 20 of at most 40"):
        run(tmp_path / "out", clips=40, vae_clips=60, **some)
    with pytest.raises(InputError, match="vae-clips is 25; take a multiple of 20 of at most 40"):
        run(tmp_path / "out", clips=40, vae_clips=25, **some)
    with pytest.raises(InputError, match="did you mean 'hot_spot'"):
        run(tmp_path / "out", vae=None, scenes=["hot_spo"], clips=5, size=64)
    assert not (tmp_path / "out").exists()


def test_tolerances_let_95_percent_of_true_clips_pass_all_laws():
    laws = SCENES["thrown_ball"].laws
    draw = np.random.default_rng(0)
    errors = draw.exponential(0.1, (1000, len(laws)))
    rows = [{"pixels": dict(zip(laws, e, strict=True))} for e in errors]
    most = np.array(list(tolerances(rows, "thrown_ball", "pixels").values()))
    assert (errors <= most).all(1).mean() == pytest.approx(0.95, abs=0.002)
    assert (errors <= most).mean(0) == pytest.approx(0.983, abs=0.01)  # all laws alike


def test_a_law_that_says_nothing_of_a_clip_is_never_passed():
    laws = SCENES["thrown_ball"].laws
    rows = [{"vae": dict.fromkeys(laws, 1.0) | {laws[0]: 0.0}}] * 40
    most = tolerances(rows, "thrown_ball", "vae")
    assert max(most.values()) < 1.0
    # A one-sided law that all true clips obey exactly leaves room for a reading's noise.
    assert most[laws[0]] == pytest.approx(0.05)
