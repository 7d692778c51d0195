"""`pila push`: an adapter to the hub."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from tyro.conf import Positional


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """Upload an adapter to the Hugging Face hub, with a card; private unless told otherwise.

    Safetensors and JSON alone. The token is that of `hf auth login`, or HF_TOKEN.
    """

    adapter: Positional[str]
    """The folder of an adapter, a ProPhy branch or LoRA updates, or of the run that made one."""
    repo: Positional[str]
    """owner/name; made where it does not exist."""
    model: str | None = None
    """For the card: the generator that it is for, a hub id; the run's own by default."""
    results: Path | None = None
    """results.json of `pila experiment laws` with these weights, for the card and beside it."""
    license: str | None = None
    """For the card: an identifier of the hub's, such as apache-2.0; none is stated by default."""
    card: Path | None = None
    """Upload this card, such as an edited one of a dry run; where a dry run writes it
    (model_card.md by default)."""
    public: bool = False
    """Let everyone see the repository."""
    message: str | None = None
    """Of the commit."""
    dry_run: bool = False
    """Write the card, list the files, and send nothing."""
    json: bool = False
    """Print one JSON object instead of text."""


def _push(command: Push) -> None:
    from pila.hub.push import push

    options = {f.name: getattr(command, f.name) for f in fields(command) if f.name != "json"}
    pushed = push(options.pop("adapter"), options.pop("repo"), **options)
    if command.json:
        print(json.dumps(asdict(pushed)))
        return
    verb = "would go to" if command.dry_run else "in"
    for name, size in pushed.files.items():
        print(f"file        {name} ({size:,} bytes)")
    for name in pushed.left_out:
        print(f"left out    {name}")
    if pushed.card:
        print(f"card        {pushed.card}; edit it and pass it as --card")
    kind = "private" if pushed.private else "public"
    print(f"{len(pushed.files)} files {verb} {pushed.repo} ({kind})")
    if pushed.url:
        print(f"commit      {pushed.url}")


COMMANDS: dict[type, Callable[[Any], int | None]] = {Push: _push}
"""What runs each command."""
