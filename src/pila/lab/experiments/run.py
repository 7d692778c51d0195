"""What `pila experiment` runs, checked in full before anything is generated."""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from pila.errors import InputError
from pila.files import sole_writer
from pila.generate.plan import check_sampling, check_writable
from pila.lab.experiments import bank, laws, measures
from pila.lab.experiments import score_calibration as score_worth
from pila.lab.experiments.sampling import DEVELOPMENT_SEED, HELD_OUT_SEED, own_world
from pila.lab.experiments.tables import EXPERIMENTS, RESULTS
from pila.lab.experiments.tables.definition import Arm, Experiment, Measure
from pila.lab.experiments.tables.prepared import Setting
from pila.lab.experiments.tables.runs import Runs, chosen_arms
from pila.lab.world.registry import SCENES
from pila.lab.world.scene import SIZE
from pila.pipelines.attachments import check_attachments
from pila.pipelines.locate import find_attachments, find_device, find_model
from pila.pipelines.repository import check_model_folder, check_wan_repository
from pila.provenance import weights_hash

log = logging.getLogger(__name__)
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")
_TAKEN = (laws.TRUE, laws.FROZEN, *measures.CONTROLS)
_RUNNERS: dict[Measure, str] = {
    "laws": "law_table",
    "preference": "preference_table",
    "phyworld": "phyworld_table",
    "physics-iq": "iq_table",
    "probe": "probe_table",
    "maps": "map_table",
    "bank": "bank_table",
}
"""The module in `pila.lab.experiments.tables` that makes each kind of table."""
_GENERATED: tuple[Measure, ...] = ("laws", "phyworld", "physics-iq")
"""Measures of clips that are generated for prompts."""
Table = tuple[dict[str, Any], str]
"""Results as `results.json` has them, and the page that people read."""


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
    """Law errors of the frozen generator and of each adapter; see `pila.lab.experiments.laws.run`.

    Args:
        output: folder for `results.json`, `results.md` and `clips.parquet`.
        model: "embedded", or the folder of a model with a `pila.json` of sampling values.
        adapters: "name=place" each, the place as `pila.lab.experiments.laws.Method` has it.
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
    own_world(folder, model)
    protocol = laws.Protocol(
        model=model,
        prompts=prompts,
        noise_seeds=noise_seeds,
        steps=steps,
        guidance_scale=guidance_scale,
    )
    methods = read_methods(adapters, folder)
    check_writable(output)
    with sole_writer(output):
        return laws.run(methods, output, protocol, processes=processes)


def run_measures(
    *,
    output: Path,
    model: str = "embedded",
    clips: int = 200,
    vae_clips: int | None = None,
    processes: int = 2,
) -> dict[str, Any]:
    """How well the law measures tell true clips from broken ones (`lab.experiments.measures`).

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
        own = own_world(folder, model)
        vae, scenes, size = folder / "vae", tuple(own["scenes"]), own["height"]
    check_writable(output)
    with sole_writer(output):
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
    """How much of the true fields the bank holds; see `pila.lab.experiments.bank.run`.

    Args:
        output: folder for `bank.json` and `bank.md`.
        model: a model with a `pila.json` that names its scenes.
        adapters: "name=place" each; PILA adapters, as plain ones have no bank.
        clips: held-out true clips of each scene.
        processes: jobs at once, one thread each.

    Raises:
        InputError: a value, a model or an adapter that cannot be used; nothing is made then.
    """
    folder, _ = _checked_world(model, processes)
    places = {m.name: m.adapter for m in read_methods(adapters, folder) if m.adapter}
    for name, place in places.items():
        _require_bank(place, f"adapters has {name}={place}")
    check_writable(output)
    with sole_writer(output):
        return bank.run(places, output, model=model, clips=clips, processes=processes)


def run_score(
    *,
    output: Path,
    model: str = "embedded",
    adapter: str = "embedded",
    clips: int = 20,
    processes: int = 2,
) -> dict[str, Any]:
    """What the plausibility score is worth; see `pila.lab.experiments.score_calibration.run`.

    Args:
        output: folder for `score.json` and `score.md`.
        model: a model with a `pila.json` that names its scenes.
        adapter: a PILA adapter; plain ones have no bank.
        clips: of each scene and kind.
        processes: jobs at once, one thread each.

    Raises:
        InputError: a value, a model or an adapter that cannot be used; nothing is made then.
    """
    _, own = _checked_world(model, processes)
    _require_bank(adapter, f"adapter is {adapter}")
    check_writable(output)
    with sole_writer(output):
        return score_worth.run(
            output,
            model=model,
            adapter=adapter,
            scenes=own["scenes"],
            clips=clips,
            size=own["height"],
            processes=processes,
        )


def run_prompts(
    *, output: Path, half: str = "both", seed: int = 0, processes: int = 2
) -> dict[str, Any]:
    """Whether free prompts reach their scenes; see `pila.lab.experiments.free_prompts`.

    Args:
        output: folder for `results.json` and `results.md`.
        half: both, development or held_out.
        seed: of the noise and of what prompts leave open.
        processes: prompts drawn at once, one thread each.

    Raises:
        InputError: a value or a place that cannot be used; nothing is made then.
    """
    from pila.lab.experiments.free_prompts import run

    if processes < 1:
        raise InputError(f"processes is {processes}; use at least 1")
    check_writable(output)
    with sole_writer(output):
        return run(output, seed=seed, half=None if half == "both" else half, processes=processes)


def run_table(name: str, *, output: Path | None = None, **options: Any) -> Table:
    """Run one experiment of the registry: train if asked to, generate, measure, write.

    What was made before under the same settings and weights is kept; the same call goes on.

    Args:
        name: in `pila.lab.experiments.tables.EXPERIMENTS`.
        output: folder for results; `out/experiments/NAME` by default, `NAME-development` there for
            a table on development prompts.
        options: see `prepared`.

    Raises:
        InputError: a value that cannot be used, or a training that is missing; nothing is made
            then.
    """
    setting = prepared(name, output=output or _place(RESULTS, name, options), **options)
    return _run(setting)


def run_every_table(*, output: Path | None = None, **options: Any) -> dict[str, Table]:
    """Run every experiment of the registry, into folders of their names below `output`.

    Whatever one of them lacks is said before the first begins.

    Raises:
        InputError: as `run_table`.
    """
    if options.get("only"):
        raise InputError(f"only is {options['only']}; rows are chosen of one experiment at a time")
    if options.get("available"):
        raise InputError("available leaves out rows of one experiment; run each by its own name")
    base = output or RESULTS
    settings = [
        prepared(name, output=_place(base, name, options), **options) for name in EXPERIMENTS
    ]
    return {setting.experiment.name: _run(setting) for setting in settings}


def _place(base: Path, name: str, options: Mapping[str, Any]) -> Path:
    """Folder of a table; one on development prompts never stands where a reported one would."""
    return base / (f"{name}-development" if options.get("development") else name)


def prepared(
    name: str,
    *,
    output: Path,
    runs: Path = Path("runs"),
    train: bool = False,
    available: bool = False,
    seeds: Sequence[int] = (0, 1, 2),
    only: Sequence[str] = (),
    model: str | None = None,
    prompts: int | None = None,
    noise_seeds: int | None = None,
    clips: int | None = None,
    scenes: Sequence[str] = (),
    development: bool = False,
    steps: int | None = None,
    guidance_scale: float | None = None,
    device: str = "cpu",
    precision: str = "no",
    processes: int = 2,
) -> Setting:
    """An experiment with everything that it needs, checked.

    Args:
        name: in the registry.
        output: folder for results.
        runs: where finished trainings lie.
        train: train what is missing there first.
        available: leave out what is missing there, rows and training seeds, instead of refusing.
        seeds: training seeds.
        only: only these rows.
        model: the generator instead of the experiment's own.
        prompts: held-out prompts; None takes the experiment's own number, as the next two do.
        noise_seeds: clips of each prompt.
        clips: true clips of each scene that probes look at.
        scenes: only these of the model's; none named stands for all.
        development: generate for the prompts that settings are chosen on.
        steps: denoising steps; None takes the model's own.
        guidance_scale: None takes the model's own.
        device: where generators run.
        precision: of their weights: "no" is float32, or "bf16".
        processes: jobs at once.

    Raises:
        InputError: naming the value, or each training that is missing and what trains it.
    """
    if name not in EXPERIMENTS:
        raise InputError(f"experiment is {name!r}; choose from {', '.join(EXPERIMENTS)}")
    experiment = EXPERIMENTS[name]
    _check_numbers(experiment, seeds, processes=processes, clips=clips, prompts=prompts)
    if noise_seeds is not None and noise_seeds < 1:
        raise InputError(f"noise-seeds is {noise_seeds}; use at least 1")
    if development:
        _check_generates(experiment)
    if train and available:
        raise InputError("train and available are both set; train what is missing, or leave it out")
    check_sampling(steps=steps, guidance_scale=guidance_scale)
    own = Runs(folder=runs, model=None if experiment.model_recipe else model)
    arms = chosen_arms(experiment, only)
    seeds_of = {arm.name: tuple(seeds) for arm in arms}
    if available:
        arms, seeds_of = _available(own, arms, seeds, name)
    against = _there(experiment.against, [a.name for a in arms])
    experiment = replace(experiment, arms=arms, against=against)
    check_writable(output)
    place = str(find_device(device))
    generator = model or _generator_of(experiment, Runs(folder=runs), train=train)
    folder = find_model(generator)
    check_wan_repository(folder)
    if experiment.scenes and not scenes:
        scenes = _scenes_known(experiment, folder, generator)
    protocol = laws.Protocol(
        model=generator,
        prompts=prompts or experiment.prompts,
        noise_seeds=noise_seeds or experiment.noise_seeds,
        steps=steps,
        guidance_scale=guidance_scale,
        first_seed=DEVELOPMENT_SEED if development else HELD_OUT_SEED,
        given_frames=experiment.given_frames,
        scenes_only=tuple(scenes),
        device=place,
        precision=precision,
    )
    if train:
        own.train(experiment.recipes, seeds, processes=_trainings_at_once(processes))
    if not available:
        own.require(experiment.recipes, seeds)
    count = protocol.settings["steps"]
    methods = {arm.name: tuple(own.methods(arm, seeds_of[arm.name], steps=count)) for arm in arms}
    for method in (m for many in methods.values() for m in many):
        if method.adapter is not None:
            _check_place(method.adapter, folder)
    config_diff = own.config_diff(experiment.recipes, seeds)
    _tell_of(config_diff, runs)
    return Setting(
        experiment=experiment,
        arms=methods,
        protocol=protocol,
        seeds=tuple(seeds),
        clips=clips or experiment.clips,
        out=output,
        processes=processes,
        runs=own,
        config_diff=config_diff,
    )


def _check_generates(experiment: Experiment) -> None:
    """Refuse an experiment that measures true clips of its own."""
    elsewhere = [m for m in experiment.measures if m not in _GENERATED]
    if elsewhere:
        raise InputError(
            f"development prompts are generated from, and {experiment.name} also measures "
            f"{', '.join(elsewhere)} on true clips of its own; leave development out"
        )


def _check_numbers(experiment: Experiment, seeds: Sequence[int], **numbers: int | None) -> None:
    """Refuse numbers that the experiment cannot be run with."""
    # Intervals over clips, and chance from other clips, take two of a scene.
    least = {"clips": 2 if {"bank", "maps"} & {*experiment.measures} else 1}
    for option, value in numbers.items():
        if value is not None and value < (bound := least.get(option, 1)):
            raise InputError(f"{option} is {value}; use at least {bound}")
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise InputError(f"seeds is {tuple(seeds)}; name training seeds of 0 or more, each once")


def _available(
    runs: Runs, arms: Sequence[Arm], seeds: Sequence[int], name: str
) -> tuple[tuple[Arm, ...], dict[str, tuple[int, ...]]]:
    """The rows whose trainings are there, and of each row's trainings the seeds that are."""
    seeds_of = {arm.name: runs.finished(arm, seeds) for arm in arms}
    there = tuple(arm for arm in arms if seeds_of[arm.name] or not arm.trained)
    if not any(arm.trained for arm in there):
        raise InputError(
            f"{runs.folder} has none of the trainings of {name}; leave available out to see which "
            "they are"
        )
    return there, seeds_of


def _tell_of(config_diff: Mapping[str, Sequence[str]], runs: Path) -> None:
    for run, options in config_diff.items():
        log.warning(
            "%s was trained with another %s than its recipe has; the table says so. To train it "
            "anew, move that folder away",
            runs / run,
            ", ".join(options),
        )


def _generator_of(experiment: Experiment, runs: Runs, *, train: bool) -> str:
    """The generator that an experiment names; trained first where that is asked for."""
    if experiment.model_recipe is None:
        return "embedded"
    if train:
        runs.train([experiment.model_recipe], [0])
    runs.require([experiment.model_recipe], [0])
    return str(runs.place(experiment.model_recipe, 0))


def _scenes_known(experiment: Experiment, folder: Path, generator: str) -> tuple[str, ...]:
    """Those of an experiment's scenes that a model knows."""
    found = _there(experiment.scenes, own_world(folder, generator)["scenes"])
    if not found:
        raise InputError(
            f"{generator} knows none of {', '.join(experiment.scenes)}, which {experiment.name} "
            "takes; use a model that was trained on one"
        )
    return found


def _trainings_at_once(processes: int) -> int:
    """One where they would share an accelerator, which one of them fills."""
    return processes if find_device("auto").type == "cpu" else 1


def _there(names: Sequence[str], among: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in names if name in among)


def _run(setting: Setting) -> Table:
    """The experiment's measures in turn; the first gives `results.json`."""
    tables = []
    with sole_writer(setting.out):
        for measure in setting.experiment.measures:
            module = import_module(f"pila.lab.experiments.tables.{_RUNNERS[measure]}")
            results = module.run(setting)
            tables.append((results, module.markdown(results)))
    return tables[0][0], "\n".join(text for _, text in tables)


def _checked_world(model: str, processes: int) -> tuple[Path, dict[str, Any]]:
    """A model's folder and its `pila.json`, both checked."""
    if processes < 1:
        raise InputError(f"processes is {processes}; use at least 1")
    folder = find_model(model)
    check_wan_repository(folder)
    return folder, own_world(folder, model)


def _require_bank(place: str, said: str) -> None:
    kind = check_model_folder(bank.adapter_folder(place))["_class_name"]
    if kind != "PilaAdapter":
        raise InputError(f"{said}, a {kind}; only a PilaAdapter has a bank")


def read_methods(adapters: Sequence[str], model: Path) -> list[laws.Method]:
    """Methods from "name=place" each, their adapters found and checked against the model.

    Raises:
        InputError: not of that form, a name twice, or an adapter that is not there, is damaged or
            does not fit.
    """
    methods: dict[str, laws.Method] = {}
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
        if not _check_place(place, model):
            raise InputError(f"adapters has {pair!r}; the frozen generator is always compared")
        methods[name] = laws.Method(name=name, adapter=place)
    return list(methods.values())


def _check_place(place: str, model: Path) -> bool:
    """Refuse what does not fit a model; whether there is anything at all to put on it."""
    if laws.is_generator(place):
        _check_alike(Path(place), model)
        return True
    found = find_attachments(place)
    parts = [p for p in ("transformer", "transformer_2") if (model / p / "config.json").is_file()]
    check_attachments(found, {part: check_model_folder(model / part) for part in parts})
    return bool(found)


def _check_alike(generator: Path, model: Path) -> None:
    """Refuse a generator that was not made from this model: another VAE or text encoder."""
    check_wan_repository(generator)
    for part in ("vae", "text_encoder"):
        if weights_hash(generator / part) != weights_hash(model / part):
            raise InputError(
                f"the {part} of {generator} is not that of {model}; compare generators that were "
                "trained from the same parts"
            )
