"""`pila push` through the real hub client, to a hub on loopback, and back through --adapter."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.hub import hub_server
from tests.hub.hub_server import READ_TOKEN, WRITE_TOKEN, Hub
from tests.mutations import bad_ones

from pila.cli import run

WEIGHTS = "diffusion_pytorch_model.safetensors"
REPO = "me/ball"


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with hub_server.serve() as hub:
        yield hub


@pytest.fixture(autouse=True)
def empty(hub: Hub) -> None:
    hub.repositories.clear()


@pytest.mark.slow
def test_push_and_load_back(
    hub: Hub,
    adapter_folder: Path,
    wan_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    """In processes of their own: the hub's client reads its endpoint when it is imported."""
    own = {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "hf")}
    own |= {"HF_TOKEN": WRITE_TOKEN, "HF_HUB_DISABLE_XET": "1", "OMP_NUM_THREADS": "1"}

    def pila(*args: str) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-m", "pila.cli", *args, "--json"],
            env={**os.environ, **own},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    pushed = pila("push", str(adapter_folder), REPO, "--license", "apache-2.0")
    there = hub.repositories[REPO]
    assert there.private
    assert pushed["private"]
    assert pushed["url"] == f"{hub.url}/{REPO}/commit/{there.sha}"
    assert set(there.files) == {"README.md", "config.json", WEIGHTS} == set(pushed["files"])
    assert there.files[WEIGHTS] == (adapter_folder / WEIGHTS).read_bytes()
    assert b"license: apache-2.0" in there.files["README.md"]

    made = ["generate", "a red ball falls", "--model", str(wan_folder), "--device", "cpu"]
    made += ["--categories", "none", "--output", str(tmp_path / "clip.mp4"), "--adapter"]
    back = pila(*made, REPO)
    assert run([*made, str(adapter_folder), "--json"]) == 0
    local = json.loads(capsys.readouterr().out)
    assert back["correction_rms"] == pytest.approx(local["correction_rms"], rel=1e-5)
    assert local["correction_rms"] > 0


@pytest.fixture
def online(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """This process's hub client, talking to the hub on loopback."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # the hub here takes LFS
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setenv("HF_TOKEN", WRITE_TOKEN)
    monkeypatch.delenv("HUGGING_FACE_HUB_TOKEN", raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    ("token", "endpoint", "before", "options", "message"),
    [
        ("", None, None, [], "there is no Hugging Face token; log in with `hf auth login`"),
        ("hf_wrong", None, None, [], "the hub refused the token for me/ball (401)"),
        (READ_TOKEN, None, None, [], "refused the token for me/ball (403)"),
        (WRITE_TOKEN, "http://127.0.0.1:9", None, [], "cannot be reached"),
        (WRITE_TOKEN, None, False, [], "is there and public; pass --public"),
        (WRITE_TOKEN, None, True, ["--public"], "is there and private; leave --public out"),
        (WRITE_TOKEN, None, None, ["--card", "{}/wrong.md"], '"tags" must be an array'),
    ],
)
def test_refusals_of_the_hub(
    online: pytest.MonkeyPatch,
    hub: Hub,
    adapter_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    token: str,
    endpoint: str | None,
    before: bool | None,
    options: list[str],
    message: str,
):
    online.setenv("HF_TOKEN", token)
    if endpoint is not None:
        online.setattr("huggingface_hub.constants.ENDPOINT", endpoint)
    (tmp_path / "wrong.md").write_text("---\ntags: pila\n---\n# Ball\n")
    if before is not None:
        hub.repositories[REPO] = hub_server.Repository(private=before)
    options = [o.format(tmp_path) for o in options]
    assert run(["push", str(adapter_folder), REPO, *options]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1
    assert message in printed.err
    assert not any(r.commits for r in hub.repositories.values())


# The hub's client hands bytes to its HTTP library in a way that the latter has deprecated.
@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
def test_public_and_again(
    online: pytest.MonkeyPatch, hub: Hub, adapter_folder: Path, capsys: pytest.CaptureFixture[str]
):
    args = ["push", str(adapter_folder), REPO, "--public"]
    assert run(args) == 0
    assert "3 files in me/ball (public)" in capsys.readouterr().out
    assert not hub.repositories[REPO].private
    assert run([*args, "--license", "mit"]) == 0
    assert len(hub.repositories[REPO].commits) == 2
    assert b"license: mit" in hub.repositories[REPO].files["README.md"]


@pytest.fixture
def trained(tmp_path: Path, adapter_folder: Path) -> Path:
    """A run's folder, as `pila train` leaves it."""
    shutil.copytree(adapter_folder, tmp_path / "run" / "adapter")
    config = {"task": "couple", "model": "Wan-AI/Wan2.1-T2V-1.3B-Diffusers", "data": "/cache"}
    config |= {"optim": {"steps": 1200, "batch": 8}, "seed": 3}
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    (tmp_path / "run" / "commit").write_text("0123abc\n")
    return tmp_path / "run"


@pytest.fixture
def wrote_where_it_lay(trained: Path) -> bytes:
    """The config of an adapter that was loaded and saved again; gives back what may go up."""
    path = trained / "adapter" / "config.json"
    config = json.loads(path.read_text())
    own = {"_name_or_path": "/home/me/secret/run", "_where": "/home/me"}
    path.write_text(json.dumps(config | own))
    return (json.dumps(config, indent=1, ensure_ascii=False) + "\n").encode()


@pytest.fixture
def results(tmp_path: Path, trained: Path) -> Path:
    """In the form that `pila experiment laws` writes, of these weights."""
    from pila.provenance import weights_hash

    row = {"error": [0.7, 0.6, 0.8], "passed": [0.1, 0.0, 0.2]}
    gap = {"gap_closed": 0.25, "gap_closed_low": 0.125, "gap_closed_high": 0.375}
    text = {
        "rows": [{"method": "frozen"} | row | gap, {"method": "pila"} | row | gap],
        "commit": "fedcba",
        "protocol": {
            "model": "embedded",
            "prompts": 96,
            "noise_seeds": 3,
            "steps": 16,
            "guidance_scale": 3.0,
        },
        "weights": {"pila": weights_hash(trained / "adapter")},
    }
    path = tmp_path / "results.json"
    path.write_text(json.dumps(text))
    return path


@pytest.fixture
def dry(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    def call(adapter: Path | str, *options: str) -> tuple[dict[str, Any], str]:
        card = tmp_path / "card.md"
        card.unlink(missing_ok=True)
        args = ["push", str(adapter), REPO, "--dry-run", "--json", "--card", str(card), *options]
        assert run(args) == 0
        return json.loads(capsys.readouterr().out), card.read_text()

    return call


def test_card_of_a_run(dry: Any, trained: Path, results: Path):
    (trained / "adapter" / "notes.txt").write_text("mine")
    pushed, card = dry(trained, "--results", str(results))
    assert set(pushed["files"]) == {"README.md", "config.json", WEIGHTS, "results.json"}
    assert pushed["left_out"] == ["notes.txt"]
    assert pushed["url"] is None
    assert "base_model: Wan-AI/Wan2.1-T2V-1.3B-Diffusers\n" in card
    assert "| couple | a latent cache | 1200 | 8 | 3 |" in card
    assert "commit 0123abc" in card
    assert "--adapter me/ball" in card
    assert "| latent_channels | 16 |" in card
    assert "No license is stated" in card
    assert "$" not in card
    # Figures of the simulated world stand under a sentence that says so, whatever the base is.
    world = card.partition("## Results")[2].partition("## Limits")[0]
    assert world.strip().startswith("**Simulated world, not Wan.** Generator: pila's embedded")
    assert "| this | 0.700 [0.600, 0.800] | 0.100 [0.000, 0.200] | 0.250 [0.125, 0.375] |" in world
    assert "pila train" not in card


def test_no_place_of_this_machine_goes_up(
    dry: Any, trained: Path, results: Path, wrote_where_it_lay: bytes
):
    told = json.loads(results.read_text())
    told["protocol"]["model"] = "/home/me/secret/generator"
    results.write_text(json.dumps(told))
    pushed, card = dry(trained, "--results", str(results))
    assert pushed["files"]["config.json"] == len(wrote_where_it_lay)
    assert pushed["files"]["results.json"] != results.stat().st_size
    assert pushed["left_out"] == [
        "config.json: _name_or_path",
        "config.json: _where",
        "results.json: protocol.model",
    ]
    assert "/home/me" not in card


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
def test_what_goes_up_is_what_a_dry_run_shows(
    online: pytest.MonkeyPatch,
    hub: Hub,
    dry: Any,
    trained: Path,
    results: Path,
    wrote_where_it_lay: bytes,
):
    told = json.loads(results.read_text())
    told["protocol"]["model"] = "models/generator"
    results.write_text(json.dumps(told))
    (results.parent / "models" / "generator").mkdir(parents=True)
    pushed, card = dry(trained, "--results", str(results))
    assert run(["push", str(trained), REPO, "--results", str(results)]) == 0
    there = hub.repositories[REPO].files
    assert {name: len(content) for name, content in there.items()} == pushed["files"]
    assert there["README.md"].decode() == card
    assert there["config.json"] == wrote_where_it_lay
    assert {"_class_name", "_diffusers_version"} <= json.loads(there["config.json"]).keys()
    told["protocol"]["model"] = "a local folder"
    assert json.loads(there["results.json"]) == told


def test_a_folder_is_never_a_hub_id(
    dry: Any, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    config = json.loads((trained / "config.json").read_text())
    (trained / "config.json").write_text(json.dumps(config | {"model": "models/wan-small"}))
    (tmp_path / "models" / "wan-small").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    for place in (tmp_path, tmp_path / "elsewhere"):
        monkeypatch.chdir(place)
        _, card = dry(trained)
        assert "base_model" not in card
        assert "for a generator in a local folder" in card
    # What is said here and now is believed.
    _, card = dry(trained, "--model", "models/wan-small")
    assert "base_model: models/wan-small" in card


def test_cards_are_utf_8_whatever_the_locale(trained: Path, tmp_path: Path):
    code = "import sys; from pila.cli import run; sys.exit(run(sys.argv[1:]))"
    args = ["push", str(trained), REPO, "--dry-run", "--card", str(tmp_path / "card.md")]
    done = subprocess.run(
        [sys.executable, "-X", "warn_default_encoding", "-c", code, *args],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert "pila/share" not in done.stderr, "a file is opened in the locale's encoding"


def test_card_says_what_is_not_known(dry: Any, adapter_folder: Path, plain_adapter_folder: Path):
    _, card = dry(adapter_folder)
    assert "A PILA adapter for a generator that its files do not name" in card
    assert "Not known: it was pushed without its run's folder." in card
    assert "None were given, so nothing is claimed." in card
    assert "base_model" not in card
    _, card = dry(plain_adapter_folder, "--model", "Wan-AI/Wan2.1-T2V-14B-Diffusers")
    assert "A plain adapter (the control without physics) for [Wan-AI/Wan2.1-T2V-14B" in card


def test_an_adapter_beside_a_run_is_not_of_it(dry: Any, adapter_folder: Path, tmp_path: Path):
    mine = shutil.copytree(adapter_folder, tmp_path / "mine")
    other = tmp_path / "other"
    other.mkdir()
    (other / "commit").write_text("0123456789abcdef")
    (other / "config.json").write_text('{"model": "somebody/else"}')
    _, card = dry(mine)
    assert "somebody/else" not in card
    assert "Not known: it was pushed without its run's folder." in card


def test_card_of_the_embedded_adapter(dry: Any):
    _, card = dry("embedded")
    assert "It fits that generator alone, not Wan." in card
    assert "--model embedded" in card


def test_card_of_stages(dry: Any, trained: Path):
    config = json.loads((trained / "config.json").read_text())
    for name in ("commit", "config.json"):
        (trained / name).unlink()
    stages = ("observe", "recover", "couple")
    for stage in stages:
        (trained / stage).mkdir()
        own = config | {"task": stage, "model": f"somebody/{stage}"}
        (trained / stage / "config.json").write_text(json.dumps(own))
        (trained / stage / "commit").write_text(f"c0de-{stage}\n")
    _, card = dry(trained)
    places = [card.index(f"| {stage} | a latent cache |") for stage in stages]
    assert places == sorted(places)
    assert "Code: commit c0de-couple." in card
    assert "base_model: somebody/couple\n" in card


def test_dry_run_keeps_an_edited_card(dry: Any, adapter_folder: Path, tmp_path: Path, capsys: Any):
    dry(adapter_folder)
    args = ["push", str(adapter_folder), REPO, "--dry-run", "--card", str(tmp_path / "card.md")]
    assert run(args) == 2
    assert "is there already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["/nowhere", REPO], "there is no folder /nowhere; pass an adapter's folder"),
        (["none", REPO], "adapter is none"),
        (["{adapter}", "ball"], "the repository is 'ball'; write owner/name"),
        (["{adapter}", REPO, "--results", "/nowhere.json"], "there is no file /nowhere.json"),
        (["{adapter}", REPO, "--results", "{adapter}/config.json"], "is not a results.json of"),
        (["{adapter}", REPO, "--results", "{other}"], "tells of other weights (1234;"),
        (["{adapter}", REPO, "--card", "/nowhere.md"], "write one with --dry-run first"),
        (["{pickle}", REPO], "pickles can run code"),
        (["{adapter}", REPO], "HF_HUB_OFFLINE is set"),
    ],
)
def test_refusals(
    adapter_folder: Path,
    tmp_path: Path,
    results: Path,
    capsys: pytest.CaptureFixture[str],
    args: list[str],
    message: str,
):
    other, pickle = tmp_path / "other.json", tmp_path / "pickle"
    other.write_text(json.dumps(json.loads(results.read_text()) | {"weights": {"pila": "1234"}}))
    shutil.copytree(adapter_folder, pickle)
    (pickle / WEIGHTS).rename(pickle / "model.bin")
    places = {"adapter": adapter_folder, "other": other, "pickle": pickle}
    assert run(["push", *(a.format(**places) for a in args)]) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.err.count("\n") == 1


def test_results_that_are_broken_are_one_line(trained: Path, results: Path, tmp_path: Path):
    from pila.hub.card import Training, read_results, write_card
    from pila.pipelines.attachments import inspect_folder

    attachment = inspect_folder(trained / "adapter")

    def used() -> None:
        read = read_results(results, attachment)
        write_card(attachment, REPO, training=Training(), results=read)

    used()
    assert bad_ones(results, used, count=60) == []
