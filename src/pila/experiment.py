"""What `pila experiment` runs, checked in full before anything is generated."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pila.backbones.attachments import check_attachments
from pila.backbones.embedded import find_attachments, find_model
from pila.backbones.repository import check_model_folder, check_wan_repository
from pila.errors import InputError
from pila.evaluate import bank, calibration, laws, measures
from pila.plan import check_sampling, check_writable
from pila.provenance import weights_hash
from pila.world.registry import SCENES
from pila.world.scene import SIZE

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")
_TAKEN = (laws.TRUE, laws.FROZEN)


def run_laws(
    *,
    output: Path,
    model: str = "embedded",
    adapters: Sequence[str] = ("pila=embedded",),
    prompts: int = 96,
    noise_seeds: int = 3,
    steps: int | None = None,
    guidance_scale: float | None = None,
    processes: int = 2,
) -> dict[str, Any]:
    """Law errors of the frozen generator and of each adapter; see `pila.evaluate.laws.run`.

    Args:
        output: folder for `results.json`, `results.md` and `clips.jsonl`.
        model: "embedded", or the folder of a model with a `pila.json` of sampling values.
        adapters: "name=place" each, the place as `pila.evaluate.laws.Method` has it.
        prompts: held-out prompts, shared evenly among the scenes.
        noise_seeds: clips of each prompt.
        steps: denoising steps; None takes the model's own.
        guidance_scale: None takes the model's own.
        processes: clips are made in this many processes of one thread each.

    Raises:
        InputError: a value, a model or an adapter that cannot be used; nothing is made then.
    """
    if processes < 1:
        raise InputError(f"processes is {processes}; use at least 1")
    check_sampling(steps=steps, guidance_scale=guidance_scale)
    folder = find_model(model)
    check_wan_repository(folder)
    _own_world(folder, model)
    protocol = laws.Protocol(
        model=model,
        prompts=prompts,
        noise_seeds=noise_seeds,
        steps=steps,
        guidance_scale=guidance_scale,
    )
    methods = read_methods(adapters, folder)
    check_writable(output)
    return laws.run(methods, output, protocol, processes=processes)


def run_measures(
    *,
    output: Path,
    model: str = "embedded",
    clips: int = 200,
    vae_clips: int | None = None,
    processes: int = 2,
) -> dict[str, Any]:
    """How well the law measures tell true clips from broken ones; see `pila.evaluate.measures`.

    Args:
        output: folder for `measures.json` and `measures.md`.
        model: whose VAE, scenes and size are taken; "none" for all scenes, pixels alone.
        clips: clips of each scene and kind.
        vae_clips: how many of them go through the VAE, too; None for all.
        processes: jobs at once, one thread each.

    Raises:
        InputError: a value or a model that cannot be used; nothing is made then.
    """
    if processes < 1:
        raise InputError(f"processes is {processes}; use at least 1")
    vae, scenes, size = None, tuple(SCENES), SIZE
    if model != "none":
        folder = find_model(model)
        check_wan_repository(folder)
        own = _own_world(folder, model)
        vae, scenes, size = folder / "vae", tuple(own["scenes"]), own["height"]
    check_writable(output)
    return measures.run(
        output,
        vae=vae,
        scenes=scenes,
        clips=clips,
        vae_clips=vae_clips,
        size=size,
        processes=processes,
    )


def run_bank(
    *,
    output: Path,
    model: str = "embedded",
    adapters: Sequence[str] = ("pila=embedded",),
    clips: int = 8,
    processes: int = 2,
) -> dict[str, Any]:
    """How much of the true fields the bank holds; see `pila.evaluate.bank.run`.

    Args:
        output: folder for `bank.json` and `bank.md`.
        model: a model with a `pila.json` that names its scenes.
        adapters: "name=place" each; PILA adapters, as plain ones have no bank.
        clips: held-out true clips of each scene.
        processes: jobs at once, one thread each.

    Raises:
        InputError: a value, a model or an adapter that cannot be used; nothing is made then.
    """
    if processes < 1:
        raise InputError(f"processes is {processes}; use at least 1")
    folder = find_model(model)
    check_wan_repository(folder)
    _own_world(folder, model)
    places = {m.name: m.adapter for m in read_methods(adapters, folder) if m.adapter}
    for name, place in places.items():
        kind = check_model_folder(bank.adapter_folder(place))["_class_name"]
        if kind != "PilaAdapter":
            raise InputError(
                f"adapters has {name}={place}, a {kind}; only a PilaAdapter has a bank"
            )
    check_writable(output)
    return bank.run(places, output, model=model, clips=clips, processes=processes)


def run_score(
    *,
    output: Path,
    model: str = "embedded",
    adapter: str = "embedded",
    clips: int = 20,
    processes: int = 2,
) -> dict[str, Any]:
    """What the plausibility score is worth; see `pila.evaluate.calibration.run`.

    Args:
        output: folder for `score.json` and `score.md`.
        model: a model with a `pila.json` that names its scenes.
        adapter: a PILA adapter; plain ones have no bank.
        clips: of each scene and kind.
        processes: jobs at once, one thread each.

    Raises:
        InputError: a value, a model or an adapter that cannot be used; nothing is made then.
    """
    if processes < 1:
        raise InputError(f"processes is {processes}; use at least 1")
    folder = find_model(model)
    check_wan_repository(folder)
    own = _own_world(folder, model)
    kind = check_model_folder(bank.adapter_folder(adapter))["_class_name"]
    if kind != "PilaAdapter":
        raise InputError(f"adapter is {adapter}, a {kind}; only a PilaAdapter has a bank")
    check_writable(output)
    return calibration.run(
        output,
        model=model,
        adapter=adapter,
        scenes=own["scenes"],
        clips=clips,
        size=own["height"],
        processes=processes,
    )


def _own_world(folder: Path, model: str) -> dict[str, Any]:
    """A model's `pila.json`, which must name the scenes that it was trained on."""
    try:
        own = json.loads((folder / "pila.json").read_text())
    except (OSError, ValueError):
        own = {}
    if not own.get("scenes"):
        raise InputError(
            f"{model} has no pila.json that names its scenes; this experiment takes models trained "
            "on the simulated world, such as embedded"
        )
    return own


def read_methods(adapters: Sequence[str], model: Path) -> list[laws.Method]:
    """Methods from "name=place" each, their adapters found and checked against the model.

    Raises:
        InputError: not of that form, a name twice, or an adapter that is not there, is damaged or
            does not fit.
    """
    methods: dict[str, laws.Method] = {}
    transformer = check_model_folder(model / "transformer")
    for pair in adapters:
        name, equals, place = pair.partition("=")
        if not (equals and place and _NAME.fullmatch(name)):
            raise InputError(
                f"adapters has {pair!r}; write name=place, such as pila=embedded or "
                "both=embedded+runs/prophy/adapter"
            )
        if name in methods or name in _TAKEN:
            owner = "another adapter" if name in methods else "a method that is always there"
            raise InputError(f"adapters has {pair!r}, but {name} is {owner}; choose another name")
        if laws.is_generator(place):
            _check_alike(Path(place), model)
        else:
            found = find_attachments(place)
            if not found:
                raise InputError(f"adapters has {pair!r}; the frozen generator is always compared")
            check_attachments(found, {"transformer": transformer})
        methods[name] = laws.Method(name=name, adapter=place)
    return list(methods.values())


def _check_alike(generator: Path, model: Path) -> None:
    """Refuse a generator that was not made from this model: another VAE or text encoder."""
    check_wan_repository(generator)
    for part in ("vae", "text_encoder"):
        if weights_hash(generator / part) != weights_hash(model / part):
            raise InputError(
                f"the {part} of {generator} is not that of {model}; compare generators that were "
                "trained from the same parts"
            )
