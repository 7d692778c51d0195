"""`pila train --dry-run`: some ten lines on what a run trains, takes and lacks."""

import json
import signal

import pytest

from pila import cli
from pila.errors import InputError
from pila.lab.embedded.text import TextTask
from pila.pipelines.known import KNOWN
from pila.recipes.run import configs, run
from pila.train import stopping
from pila.train.estimate import estimate

WAN = "Wan-AI/Wan2.1-T2V-1.3B-Diffusers"


@pytest.fixture
def shown(capsys, tmp_path):
    """Lines by their first word; a list where a word comes again."""

    def show(recipe, *options):
        output = [] if "--output" in options else ["--output", str(tmp_path / "run")]
        assert cli.run(["train", recipe, "--dry-run", *output, *options]) == 0
        said = capsys.readouterr()
        assert said.err == ""
        found: dict[str, list[str]] = {}
        for line in said.out.splitlines():
            name, text = line.split(maxsplit=1)
            found.setdefault(name, []).append(text)
        assert not (tmp_path / "run").exists()
        return {name: " | ".join(texts) for name, texts in found.items()}

    return show


def test_the_summary_has_some_ten_lines(shown):
    lines = shown("embedded")
    assert list(lines) == [
        *("trains", "model", "data", "steps", "batch", "precision", "memory", "time", "disk"),
        *("begins", "missing"),
    ]
    assert lines["trains"].startswith("PILA's adapter, 488,294 parameters, in stages observe, rec")
    assert lines["model"] == "embedded, 9.0 million parameters that rest"
    assert "16,384 clips of 24 scenes" in lines["data"]
    assert lines["steps"] == "observe 900; recover 600; couple 300"
    assert "29 minutes of one core" in lines["time"]
    assert lines["missing"] == "nothing"
    assert "29 minutes" not in shown("embedded", "--steps", "7")["time"]


@pytest.mark.parametrize(
    ("model", "parameters", "years"),
    [(WAN, "1.4 billion", "days"), ("Wan-AI/Wan2.2-T2V-A14B-Diffusers", "28.6 billion", "days")],
)
def test_wan_is_counted_without_its_weights(shown, model, parameters, years):
    lines = shown("wan2.1-1.3b", "--model", model, "--data", "/nowhere")
    assert lines["model"] == f"{model}, {parameters} parameters that rest"
    assert " GB a process" in lines["memory"]
    assert years in lines["time"]
    for text in (
        f"{model} is not on this machine",
        "/nowhere has no cache.json",
    ):
        assert text in lines["missing"]


def test_known_models_have_the_sizes_that_their_authors_name():
    billions = {"1.3B": 1.4, "14B": 14.3, "A14B": 28.6, "5B": 5.0}
    from dataclasses import replace

    from pila.recipes import RECIPES

    for model, known in KNOWN.items():
        config = RECIPES["wan2.1-1.3b"]()["couple"]
        adapter = replace(config.couple.adapter, latent_channels=known.latents[0])
        couple = replace(config.couple, adapter=adapter)
        optim = replace(config.optim, batch=1)
        found = estimate(replace(config, model=model, couple=couple, optim=optim))
        assert found is not None
        assert found.latents == known.latents
        size = model.split("-")[3]
        assert found.frozen_parameters / 1e9 == pytest.approx(billions[size], rel=0.03)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--model", "/nope"], "there is no model /nope"),
        (["--model", "someone/else"], "someone/else is neither on this machine nor one of Wan-AI"),
        (["--model", WAN], "has no clips for Wan-AI.*--data CACHE"),
        (["--start", "/nope"], "there is no adapter /nope"),
        (
            ["--model", "Wan-AI/Wan2.2-TI2V-5B-Diffusers"],
            "--set couple.adapter.latent_channels=48",
        ),
        (["--set", "optim.batch=60000"], "memory: this machine has"),
    ],
)
def test_what_is_missing_is_said(shown, options, text):
    import re

    assert re.search(text, shown("embedded-couple", *options)["missing"])


def test_what_cannot_be_meant_is_refused_all_the_same(tmp_path, capsys):
    command = ["train", "embedded-text", "--dry-run", "--data", str(tmp_path)]
    assert cli.run(command) == 2
    assert "trains no adapter" in capsys.readouterr().err


def test_a_run_that_was_stopped_says_where_it_goes_on_and_its_own_rate(
    tmp_path, capsys, monkeypatch
):
    real = TextTask.loss

    def loss(self, draws):
        if draws.step == 2:
            signal.raise_signal(signal.SIGTERM)
        return real(self, draws)

    with monkeypatch.context() as patch:
        patch.setattr(TextTask, "loss", loss)
        with pytest.raises(stopping.Stopped):
            run("embedded-text", tmp_path, steps=5, changes={"optim.batch": 4}, progress=False)
    same = ["--output", str(tmp_path), "--steps", "5", "--set", "optim.batch=4"]
    assert cli.run(["train", "embedded-text", "--dry-run", *same]) == 0
    said = capsys.readouterr().out
    assert f"begins      goes on at step 3 of text in {tmp_path}\n" in said
    assert "seconds left, as measured in this run on " in said


def test_the_whole_configuration_comes_with_json_or_verbose(capsys, tmp_path):
    command = ["train", "embedded-couple", "--dry-run", "--output", str(tmp_path / "run")]
    assert cli.run([*command, "--json"]) == 0
    whole = json.loads(capsys.readouterr().out)
    assert whole["optim"]["batch"] == 256
    assert whole["missing"] == []
    assert cli.run([*command, "--verbose"]) == 0
    summary, brace, rest = capsys.readouterr().out.partition("\n{")
    assert summary.startswith("trains ")
    assert json.loads(brace + rest)["optim"] == whole["optim"]


def test_steps_are_one_number_for_all_stages_or_one_for_each():
    def lengths(*steps):
        return [config.optim.steps for config in configs("embedded", steps=steps).values()]

    assert lengths(5) == [5, 5, 5]
    assert lengths(5, 6, 7) == [5, 6, 7]
    own = [config.optim.steps for config in configs("embedded").values()]
    assert lengths() == own


@pytest.mark.parametrize(
    ("recipe", "steps", "message"),
    [
        (
            "embedded",
            (5, 6),
            r"steps has 2 numbers, but embedded has 3 stages \(observe, recover, ",
        ),
        ("embedded-vae", (5, 6), "but embedded-vae has 1 stage; give one number"),
    ],
)
def test_another_number_of_steps_than_stages_is_refused(recipe, steps, message):
    with pytest.raises(InputError, match=message):
        configs(recipe, steps=steps)
