"""An adapter to the hub: what is sent is looked at first, then goes up in one commit."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pila.errors import InputError
from pila.files import atomic_write
from pila.generate.plan import check_writable
from pila.hub.card import Training, is_on_hub, read_results, write_card
from pila.pipelines.attachments import Attachment, inspect_folder
from pila.pipelines.locate import EMBEDDED_ADAPTER, HUB_ID, find_adapter
from pila.pipelines.repository import read_json
from pila.snapshots import asking_the_hub

CARD = Path("model_card.md")
"""Where a dry run writes the card."""
KEPT = ("_class_name", "_diffusers_version")
"""What goes up of diffusers' own entries of a config; others say where it lay on this machine."""
LOCAL = "a local folder"
"""What results say of their generator where it was one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """What went up, or would.

    Attributes:
        repo: owner/name.
        private: whether only its owner sees it.
        files: bytes by name.
        left_out: what stays here: files of the folder that are neither safetensors nor the config,
            and entries of JSON files that name places on this machine, as `config.json:
            _name_or_path`.
        card: where a dry run wrote the card, else None.
        url: of the commit; None for a dry run.
    """

    repo: str
    private: bool
    files: dict[str, int]
    left_out: list[str]
    card: str | None
    url: str | None


def push(
    adapter: str,
    repo: str,
    *,
    model: str | None = None,
    results: Path | None = None,
    license: str | None = None,
    card: Path | None = None,
    public: bool = False,
    message: str | None = None,
    dry_run: bool = False,
) -> Pushed:
    """Upload an adapter's safetensors and JSON with a card, private unless told otherwise.

    Args:
        adapter: a folder of an adapter, a ProPhy branch or LoRA updates, or the folder of the run
            that made one; "embedded" for the one that ships with the package.
        repo: owner/name; made where it does not exist.
        model: the generator that it is for, for the card; the run's own by default.
        results: a results.json of `pila experiment laws` with these weights.
        license: an identifier of the hub's, such as apache-2.0.
        card: the card to upload, such as an edited one of a dry run; for a dry run where it goes.
        public: let everyone see the repository.
        message: of the commit.
        dry_run: write the card, send nothing, ask the hub nothing.

    Raises:
        InputError: nothing that can be pushed, results of other weights, no token, a token that
            may not write there, a hub that does not answer, or a public repository without
            `public`.
    """
    if HUB_ID.fullmatch(repo) is None:
        raise InputError(f"the repository is {repo!r}; write owner/name, such as me/my-adapter")
    attachment = _find(adapter)
    training = Training.of(attachment.folder)
    if model is None and attachment.folder == EMBEDDED_ADAPTER:
        model = "embedded"
    found = None if results is None else read_results(results, attachment)
    paths = _paths(attachment.folder)
    left_out = sorted(p.name for p in attachment.folder.iterdir() if p.name not in paths)
    contents: dict[str, Path | bytes] = dict(paths)
    if "config.json" in paths:
        contents["config.json"], dropped = _config_to_send(paths["config.json"])
        left_out += [f"config.json: {key}" for key in dropped]
    if results is not None and found is not None:
        contents["results.json"], local = _results_to_send(results, found)
        left_out += ["results.json: protocol.model"] if local else []
    text = write_card(
        attachment, repo, training=training, model=model, results=found, license=license
    )
    if dry_run:
        place = card or CARD
        if place.exists():
            raise InputError(f"{place} is there already; delete it, or name another --card")
        check_writable(place.parent)
        with atomic_write(place) as part:
            part.write_text(text, encoding="utf-8")
    elif card is not None:
        if not card.is_file():
            raise InputError(f"there is no card {card}; write one with --dry-run first")
        text = card.read_text(encoding="utf-8")
    contents["README.md"] = text.encode()
    files = {
        name: len(content) if isinstance(content, bytes) else content.stat().st_size
        for name, content in contents.items()
    }
    url = None
    if not dry_run:
        url = _upload(repo, contents, public=public, message=message or "Upload with pila push")
    return Pushed(
        repo=repo,
        private=not public,
        files=files,
        left_out=left_out,
        card=str(card or CARD) if dry_run else None,
        url=url,
    )


def _find(adapter: str) -> Attachment:
    if adapter == "none":
        raise InputError("adapter is none; name the folder of an adapter, or of its run")
    folder = Path(adapter).expanduser()
    if not folder.exists() and adapter != "embedded":
        raise InputError(
            f"there is no folder {adapter}; pass an adapter's folder, or that of the run that made "
            "it (`pila train ... --output`)"
        )
    if (folder / "adapter").is_dir():
        return inspect_folder(folder / "adapter")
    found = find_adapter(adapter)
    assert found is not None
    return inspect_folder(found)


def _paths(folder: Path) -> dict[str, Path]:
    names = ["config.json", *sorted(p.name for p in folder.glob("*.safetensors"))]
    names += sorted(p.name for p in folder.glob("*.safetensors.index.json"))
    return {name: folder / name for name in names if (folder / name).is_file()}


def _config_to_send(path: Path) -> tuple[Path | bytes, list[str]]:
    """A config as it goes up, and the names of its entries that stay here."""
    config = read_json(path)
    dropped = [key for key in config if key.startswith("_") and key not in KEPT]
    if not dropped:
        return path, []
    return _as_json({k: v for k, v in config.items() if k not in dropped}), dropped


def _results_to_send(path: Path, results: Mapping[str, Any]) -> tuple[Path | bytes, bool]:
    """Results as they go up, and whether the name of their generator stays here."""
    model = str(results["protocol"].get("model", "embedded"))
    if model == "embedded" or is_on_hub(model, path.resolve().parents):
        return path, False
    protocol = {**results["protocol"], "model": LOCAL}
    return _as_json({**results, "protocol": protocol}), True


def _as_json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()


def _upload(repo: str, contents: Mapping[str, Path | bytes], *, public: bool, message: str) -> str:
    from huggingface_hub import CommitOperationAdd, HfApi, constants, get_token

    if constants.HF_HUB_OFFLINE:
        raise InputError("HF_HUB_OFFLINE is set; unset it to push, or use --dry-run")
    if get_token() is None:
        raise InputError(
            "there is no Hugging Face token; log in with `hf auth login`, or set HF_TOKEN to one "
            "that may write"
        )
    api = HfApi(library_name="pila")
    with _hub_errors(repo), asking_the_hub():
        _prepare_repository(api, repo, public=public)
        operations = [
            CommitOperationAdd(name, str(content) if isinstance(content, Path) else content)
            for name, content in contents.items()
        ]
        return str(api.create_commit(repo, operations, commit_message=message).commit_url)


def _prepare_repository(api: Any, repo: str, *, public: bool) -> None:
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        there = api.model_info(repo)
    except RepositoryNotFoundError:
        api.create_repo(repo, private=not public)
        return
    if not there.private and not public:
        raise InputError(f"{repo} is there and public; pass --public, or name another repository")
    if there.private and public:
        raise InputError(
            f"{repo} is there and private; leave --public out, or change it on the hub first"
        )


@contextmanager
def _hub_errors(repo: str) -> Iterator[None]:
    """Turn the hub client's errors into one line with a remedy."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        # A failed upload of one file comes as a RuntimeError around what went wrong.
        cause = error.__cause__ if isinstance(error, RuntimeError) else None
        message = _explained(cause or error, repo)
        if message is None:
            raise
        raise InputError(message) from error


def _explained(error: BaseException, repo: str) -> str | None:
    """What to tell the user; None for an error that is no fault of hub, network or token."""
    from huggingface_hub import constants
    from huggingface_hub.errors import HfHubHTTPError

    words = " ".join(str(error).split())
    if isinstance(error, HfHubHTTPError):
        status = getattr(error.response, "status_code", None)
        if status not in (401, 403):
            return f"the hub answered {status} ({words}); try again later"
        return (
            f"the hub refused the token for {repo} ({status}); it may have expired, or may not "
            f"write there: make one with write access at {constants.ENDPOINT}/settings/tokens, "
            "then `hf auth login` or set HF_TOKEN"
        )
    if isinstance(error, ValueError):  # the client's word for a card that the hub does not take
        return (
            f"the hub refuses the card of {repo} ({words}); write one with --dry-run, correct it, "
            "and pass it as --card"
        )
    if isinstance(error, OSError):
        return (
            f"the hub at {constants.ENDPOINT} cannot be reached ({words}); check the network and "
            "HF_ENDPOINT, then run the same command again"
        )
    return None
