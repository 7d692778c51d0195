"""Commands without subcommands: generate, label, score, train, benchmark, doctor."""

import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from tyro.conf import Positional

from pila.errors import InputError
from pila.generate.request import GenerateRequest, ParserName
from pila.score.report import ScoreRequest

LOOK = 0.02
"""Difference of law errors from which on two clips are worth comparing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """Show the physical categories that a prompt is about, and the words that decided."""

    prompt: Positional[str]
    """What a clip would show."""
    parser: ParserName = "auto"
    """Who finds the categories. llm asks model PILA_LLM_MODEL (else OPENAI_MODEL) at
    PILA_LLM_BASE_URL (else OPENAI_BASE_URL, else OpenAI's own) with PILA_LLM_API_KEY (else
    OPENAI_API_KEY); auto does so where a model is named, and answers offline otherwise."""
    json: bool = False
    """Print one JSON object instead of text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Train:
    """Train a recipe; the same command again resumes it."""

    recipe: Positional[str]
    """The recipe's name; an unknown one lists them."""
    output: Path = Path("runs/train")
    """The run's folder: config, metrics, checkpoints, and what was trained."""
    steps: tuple[int, ...] = ()
    """Length of the stages' schedules, at whose end the adapter is written: one number for all
    stages, or one for each; the recipe's own by default."""
    max_steps: int | None = None
    """Stop after this many steps of the schedule, with a checkpoint and no adapter."""
    checkpoint_every: int = 500
    """Steps between checkpoints."""
    checkpoint_minutes: float = 5.0
    """Minutes between further checkpoints, of which the first comes after a tenth of that; 0 writes
    none by time. SIGINT and SIGTERM write one, too."""
    seed: int = 0
    """Seed of the start and of the order of the data."""
    model: str | None = None
    """The generator to train an adapter for, a folder or a hub id; the recipe's own by default."""
    data: Path | None = None
    """A latent cache made with that model (`pila data cache`); the recipe's clips by default."""
    start: str | None = None
    """The adapter to go on from, a folder or a hub id; for a generator the model (`embedded`, or a
    folder) whose weights it begins with. Untrained by default."""
    changes: Annotated[tuple[str, ...], tyro.conf.arg(name="set")] = ()
    """Other values for the recipe's options, such as optim.batch=32 optim.micro_batch=2; a dry run
    with --verbose shows what there is."""
    dry_run: bool = False
    """Say what would be trained, on what, in which time, and what is missing, and train nothing;
    with --verbose the whole configuration, too."""
    json: bool = False
    """Print one JSON object instead of text; of a dry run the whole configuration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Doctor:
    """Say what is installed, on which devices it runs, what fits them, and what is wrong."""

    json: bool = False
    """Print one JSON object instead of text."""


def _doctor(command: Doctor) -> int:
    from pila.doctor import examine, text

    found = examine()
    print(json.dumps(found.to_dict()) if command.json else text(found))
    return 1 if found.problems else 0


def _generate(request: GenerateRequest) -> None:
    from pila.generate.generate import generate

    report = generate(request)
    if request.json:
        print(json.dumps(asdict(report)))
        return
    settings, seconds = report.settings, report.seconds
    print(f"prompt      {report.prompt}")
    if report.drawn_as not in (None, report.prompt):
        print(f"drawn as    {report.drawn_as}")
    if report.hint:
        print(report.hint)
    refined = report.drawn_as is None and request.refine in ("condition", "generator")
    _print_parse(asdict(report), refined=refined)
    routed = sorted(report.routing.items(), key=lambda item: -item[1])
    if routed:
        print("routing     " + ", ".join(f"{name} {w:.2f}" for name, w in routed if w > 0))
    print(f"correction  {report.correction_rms:.4f} RMS (latents have about 1)")
    for note in report.attached:
        print(f"attached    {note}")
    for clip, laws in report.laws.items():
        print(f"laws        {clip:<7}" + ", ".join(f"{k} {v:.3f}" for k, v in laws.items()))
    if report.laws:
        print(f"            errors of scene {report.scene}, measured on the frames; 0 is perfect")
    if look := _where_to_look(report.laws):
        print(f"look at     {look}")
    print(
        f"sampled     {settings['num_frames']} frames of {settings['width']} x "
        f"{settings['height']}, {settings['steps']} steps, guidance {settings['guidance_scale']}, "
        f"seed {settings['seed']}, {settings['device']} {settings['dtype']}"
    )
    print("seconds     " + ", ".join(f"{name} {value:.1f}" for name, value in seconds.items()))
    for name, value in report.files.items():
        for path in [value] if isinstance(value, str) else value:
            print(f"{name:<11} {path}")


def _where_to_look(laws: Mapping[str, Mapping[str, float]]) -> str:
    """The law that the correction improves most and the one that it worsens most; for one clip "".

    Args:
        laws: law errors of the frozen and of the corrected clip.
    """
    if len(laws) < 2:
        return ""
    (first, before), *_, (last, after) = laws.items()
    gains = {law: before[law] - after[law] for law in before}
    best, worst = max(gains, key=gains.__getitem__), min(gains, key=gains.__getitem__)
    said = [
        f"{law.replace('_', ' ')}, {how} with {last}: error {before[law]:.3f} {first}, "
        f"{after[law]:.3f} {last}"
        for law, how, changed in (
            (best, "better", gains[best] >= LOOK),
            (worst, "worse", gains[worst] <= -LOOK),
        )
        if changed
    ]
    return "; ".join(said) or "both clips obey and break the same laws alike"


def _print_parse(parse: dict[str, Any], *, refined: bool = True) -> None:
    note = f" ({parse['note']})" if parse["note"] else ""
    if refined:
        print(f"refined     {parse['refined_prompt']}")
    print(f"parser      {parse['parser']}{note}")
    for name in parse["categories"]:
        words = ", ".join(parse["evidence"].get(name, []))
        print(f"category    {name}" + (f": {words}" if words else ""))
    if not parse["categories"]:
        print("category    none found; routing goes without a label prior")


def _label(command: Label) -> None:
    from pila.labels.parser import make_parser

    parse = make_parser(command.parser)(command.prompt).to_dict()
    if command.json:
        print(json.dumps({"prompt": command.prompt, **parse}))
    else:
        _print_parse(parse)


def _score(request: ScoreRequest) -> None:
    from pila.score.page import as_json, text
    from pila.score.report import score

    results = score(request)
    print(as_json(results) if request.json else text(results))
    if results["failed"]:
        raise InputError(
            f"{len(results['failed'])} of {len(results['failed']) + len(results['reports'])} "
            "videos could not be scored: " + ", ".join(results["failed"])
        )


def _train(command: Train) -> int:
    from pila.recipes.run import run as train
    from pila.train.stopping import Stopped

    try:
        trained = train(
            command.recipe,
            command.output,
            steps=command.steps,
            max_steps=command.max_steps,
            checkpoint_every=command.checkpoint_every,
            checkpoint_minutes=command.checkpoint_minutes,
            seed=command.seed,
            model=command.model,
            data=command.data,
            start=command.start,
            changes=_changes(command.changes),
            dry_run=command.dry_run,
            json=command.json,
        )
    except Stopped as stopped:
        if os.environ.get("RANK", "0") == "0":
            print(stopped, file=sys.stderr)
        return stopped.code
    if command.dry_run:
        return 0
    if command.json:
        print(json.dumps({"recipe": command.recipe, "trained": trained and str(trained)}))
    else:
        print(f"trained: {trained}" if trained else f"stopped early; {command.output} resumes")
    return 0


def _changes(pairs: tuple[str, ...]) -> dict[str, str]:
    """Values by name, from "name=value" each."""
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (name and equals) or name in found:
            again = "is there twice" if name in found else "has no value"
            raise InputError(f"set has {pair!r}, which {again}; write optim.batch=32")
        found[name] = value
    return found


COMMANDS: dict[type, Callable[[Any], int | None]] = {
    Doctor: _doctor,
    GenerateRequest: _generate,
    Label: _label,
    ScoreRequest: _score,
    Train: _train,
}
"""What runs each command; an exit code, or None for 0."""
