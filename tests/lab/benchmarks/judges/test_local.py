"""A judge on this machine: a small model of a real class, loaded as any other."""

import numpy as np
import pytest
from tests.lab.benchmarks.judges import tiny_judge
from tests.lab.benchmarks.official import write_clip

from pila.errors import InputError
from pila.lab.benchmarks.judges import Question
from pila.lab.benchmarks.judges.asking import ask_all
from pila.lab.benchmarks.judges.local import LocalJudge


@pytest.fixture(scope="module")
def random_model(tmp_path_factory):
    return tiny_judge.save(tmp_path_factory.mktemp("random"))


@pytest.fixture(scope="module")
def says_four(tmp_path_factory):
    return tiny_judge.save(tmp_path_factory.mktemp("four"), says="4")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PILA_CACHE", str(tmp_path / "cache"))


def question(folder, answers="score"):
    clip = write_clip(folder / "a.mp4", 0)
    return Question(key="a", video=clip, text="how good?", answers=answers, frames=3)


def test_written_answer_is_read(tmp_path, says_four):
    judge = LocalJudge(str(says_four), device="cpu")
    assert ask_all(judge, [question(tmp_path)]) == {"a": 4}
    about = judge.describe()
    assert (about["class"], about["way"]) == ("LlavaForConditionalGeneration", "write")
    assert len(about["weights"]) == 16


def test_a_random_model_rambles_and_is_not_believed(tmp_path, random_model):
    judge = LocalJudge(str(random_model), device="cpu", max_new_tokens=8)
    with pytest.raises(InputError, match=r"1 of 1 questions have no answer: a \(it names"):
        ask_all(judge, [question(tmp_path, "description")])


def test_a_choice_always_fits_and_depends_on_the_frames(random_model):
    judge = LocalJudge(str(random_model), device="cpu", way="choose")
    rng = np.random.default_rng(0)
    answers = set()
    for scale in range(1, 13):
        frames = rng.integers(0, 20 * scale, (2, 16, 16, 3), dtype=np.uint8)
        answers.add(judge.reply(frames, "how good?", [], "012345"))
    assert answers <= set("012345")
    assert len(answers) > 1, "a random model looks at its frames"


def test_weights_are_in_the_description(random_model, says_four):
    one = LocalJudge(str(random_model), device="cpu").describe()
    other = LocalJudge(str(says_four), device="cpu").describe()
    assert one["weights"] != other["weights"]


def test_pickles_and_half_models_are_refused(tmp_path, random_model):
    with pytest.raises(InputError, match="there is no folder"):
        LocalJudge(str(tmp_path / "none"), device="cpu")
    folder = tmp_path / "pickled"
    folder.mkdir()
    (folder / "config.json").write_text((random_model / "config.json").read_text())
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(InputError, match="pickles can run code"):
        LocalJudge(str(folder), device="cpu")
    with pytest.raises(InputError, match="no folder here, is not in the cache, and HF_HUB_OFFLINE"):
        LocalJudge("nobody/nothing", device="cpu")


def test_a_model_with_code_of_its_own_is_refused(tmp_path, random_model):
    import json
    import shutil

    folder = tmp_path / "coded"
    shutil.copytree(random_model, folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "mine", "architectures": ["Mine"]}
    config["auto_map"] = {
        name: f"mine.{name}" for name in ("AutoConfig", "AutoModelForImageTextToText")
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(InputError, match="does not load as a vision-language model"):
        LocalJudge(str(folder), device="cpu")
    assert not (tmp_path / "ran").exists()


def test_a_model_without_a_processor_is_refused(tmp_path, random_model):
    import shutil

    folder = tmp_path / "bare"
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copy(random_model / name, folder)
    with pytest.raises(InputError, match="does not load as a vision-language model"):
        LocalJudge(str(folder), device="cpu")
