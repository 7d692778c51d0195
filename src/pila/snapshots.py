"""Repositories of Hugging Face on this machine, and what keeps them from coming here."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pila.errors import InputError
from pila.network import (
    NetworkUnusable,
    clean_environment,
    one_line,
    shown_address,
    through,
    way_to,
)

_HTTP_LIBRARIES = ("httpx", "httpx2", "httpcore", "httpcore2", "requests")
"""The hub's client has changed its HTTP library twice; each has errors of its own."""


_aside: list[str] = []
"""An HF_ENDPOINT with which the hub's client cannot even be imported."""


class HubUnreachable(InputError):
    """The hub does not answer, or cannot be asked from here."""


def download(
    repo: str,
    *,
    what: str,
    remedy: str,
    patterns: Sequence[str],
    revision: str | None = None,
    repo_type: str | None = None,
) -> Path:
    """The snapshot of a repository; from the cache where the hub cannot be asked.

    Args:
        repo: owner/name.
        what: it is called in messages, as "model".
        remedy: what helps beside the network, as "or pass a local folder".
        patterns: the files wanted; never pickles.
        revision: a branch, a tag or a commit.
        repo_type: "dataset" for data sets.

    Raises:
        InputError: the hub has no such repository or revision.
        HubUnreachable: it is neither in the cache nor to be had.
    """
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    wanted: dict[str, Any] = {"revision": revision, "repo_type": repo_type}
    wanted["allow_patterns"] = list(patterns)
    try:
        with asking_the_hub():
            return Path(snapshot_download(repo, **wanted))
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise InputError(
            f"{repo} is no folder here, and the hub has no such {what}"
            f"{f' at revision {revision}' if revision else ''}; check the spelling, or log in with "
            "`hf auth login` if it is private"
        ) from error
    except NetworkUnusable as error:
        fault = error
    except (HubUnreachable, LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        offline = constants.HF_HUB_OFFLINE
        reason = "HF_HUB_OFFLINE is set" if offline else f"the hub did not answer{through(_hub())}"
        raise HubUnreachable(
            f"{repo} is no folder here, is not in the cache, and {reason}; connect to the "
            f"network, {remedy}"
        ) from error
    try:
        return Path(snapshot_download(repo, local_files_only=True, **wanted))
    except (LocalEntryNotFoundError, OSError) as error:
        raise HubUnreachable(
            f"{repo} is no folder here, is not in the cache, and the hub cannot be asked: {fault}; "
            f"{remedy}"
        ) from error


def set_unusable_endpoint_aside() -> None:
    """Keep an HF_ENDPOINT that is no address from failing what asks no hub.

    The hub's client reads it as it is imported, which diffusers, transformers and Gradio do.
    `asking_the_hub` names it later.
    """
    value = os.environ.get("HF_ENDPOINT", "")
    try:
        _ = urlsplit(value).hostname, urlsplit(value).port
    except ValueError:
        _aside[:] = [os.environ.pop("HF_ENDPOINT")]


@contextmanager
def asking_the_hub() -> Iterator[None]:
    """The hub's client with variables that it can use; its HTTP library's errors become one line.

    Raises:
        NetworkUnusable: HF_ENDPOINT, a proxy or the certificates cannot be used.
        HubUnreachable: no connection, or one that broke.
    """
    from huggingface_hub import constants

    if not constants.HF_HUB_OFFLINE:
        way_to(_hub(), "HF_ENDPOINT")
    with clean_environment(_hub()):
        try:
            yield
        except Exception as error:
            # A failed upload of one file comes as a RuntimeError around what went wrong.
            cause = error.__cause__ if isinstance(error, RuntimeError) else None
            library = type(cause or error).__module__.partition(".")[0]
            broken = isinstance(cause or error, ConnectionError | TimeoutError)
            if library not in _HTTP_LIBRARIES and not broken:
                raise
            raise HubUnreachable(
                f"the hub at {shown_address(_hub())} cannot be reached{through(_hub())} "
                f"({one_line(cause or error, 200)}); check the network and HF_ENDPOINT, then run "
                "the same command again"
            ) from error


def _hub() -> str:
    if _aside:
        return _aside[0]
    from huggingface_hub import constants

    return constants.ENDPOINT
