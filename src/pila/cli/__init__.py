"""The command line: subcommands, their printing and their exit codes; nothing else.

0 is success, 2 a user's mistake (`error: ...`, one line), 130 an interrupt, 1 anything else.
"""

import inspect
import logging
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Union, get_args

import tyro
from tyro.conf import CascadeSubcommandArgs, arg, subcommand

from pila import __version__
from pila.cli import data, serve, share, single
from pila.errors import InputError
from pila.generate.request import GenerateRequest
from pila.options import check_options
from pila.score.report import ScoreRequest
from pila.snapshots import set_unusable_endpoint_aside

DESCRIPTION = (
    "Physics for frozen Wan video generators. For completion in a shell, "
    "--tyro-print-completion {bash,zsh,tcsh} prints its script."
)
DIGITS = 40
"""Of a number that is looked at: more are a slip, and thousands are not read by Python."""
Handler = Callable[[Any], int | None]
_CORE: tuple[Any, ...] = (
    Annotated[GenerateRequest, subcommand("generate", prefix_name=False)],
    Annotated[single.Label, subcommand("label", prefix_name=False)],
    Annotated[ScoreRequest, subcommand("score", prefix_name=False)],
    Annotated[data.Data, subcommand("data", prefix_name=False)],
    Annotated[single.Train, subcommand("train", prefix_name=False)],
    Annotated[serve.Serve, subcommand("serve", prefix_name=False)],
    Annotated[share.Push, subcommand("push", prefix_name=False)],
    Annotated[single.Doctor, subcommand("doctor", prefix_name=False)],
)


def _laboratory() -> tuple[tuple[Any, ...], dict[type, Handler], tuple[type, ...]]:
    """The laboratory's commands, what runs them, and which of them talk while they work.

    None where the laboratory is not installed.
    """
    try:
        from pila.cli import diagnose, evaluate, experiment, profile, world
        from pila.cli.evaluate_options import Evaluate
    except ModuleNotFoundError as error:
        logger.debug("no laboratory: %s", error)
        return (), {}, ()
    commands = (
        Annotated[profile.ProfileRequest, subcommand("profile", prefix_name=False)],
        Annotated[world.World, subcommand("world", prefix_name=False)],
        Annotated[experiment.Experiment, subcommand("experiment", prefix_name=False)],
        Annotated[Evaluate, subcommand("evaluate", prefix_name=False)],
        Annotated[diagnose.Diagnose, subcommand("diagnose", prefix_name=False)],
    )
    handlers = profile.COMMANDS | world.COMMANDS | experiment.COMMANDS | diagnose.COMMANDS
    talkative = (world.WorldMake, *experiment.COMMANDS)
    return commands, handlers | {Evaluate: evaluate.evaluate}, talkative


logger = logging.getLogger("pila")
_LAB, _LAB_HANDLERS, _LAB_TALKATIVE = _laboratory()
Command = Union[(*_CORE, *_LAB)]

CONFIG = (tyro.conf.FlagCreatePairsOff, tyro.conf.OmitSubcommandPrefixes)
"""How tyro reads `Command`: --flag without --no-flag, and plain option names everywhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """A command, and how much is said beside its result; both flags go before or behind it."""

    command: Annotated[Command, arg(name="")]  # pyright: ignore[reportInvalidTypeForm]
    quiet: CascadeSubcommandArgs[bool] = False
    """Say nothing but the result and errors: no progress bar, no notes."""
    verbose: CascadeSubcommandArgs[bool] = False
    """Also say what is done, and where an error was noticed."""


COMMANDS: dict[type, Handler] = (
    single.COMMANDS | data.COMMANDS | serve.COMMANDS | share.COMMANDS | _LAB_HANDLERS
)
"""What runs each command."""

_TALKATIVE = (serve.Serve, single.Train, *_LAB_TALKATIVE)
"""Long work, which says what it is at."""


def main() -> None:
    """Entry point of the console script."""
    try:
        code = run(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        # Who reads the output has gone, as `head` does; what is left must not fail at exit again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141  # as a shell has it for SIGPIPE
    sys.exit(code)


def run(args: Sequence[str]) -> int:
    """Run one command and return its exit code; argument errors and --help exit by themselves."""
    if list(args) == ["--version"]:
        print(f"pila {__version__}")
        return 0
    if list(args) in ([], ["--help"], ["-h"]):
        print(overview())
        raise SystemExit(0 if args else 2)
    if fault := _endless_number(args):
        print("error:", fault, file=sys.stderr)
        return 2
    invocation = tyro.cli(
        Invocation,
        prog="pila",
        description=DESCRIPTION,
        args=list(args),
        config=CONFIG,
    )
    command: Any = invocation.command
    if type(command) not in COMMANDS:  # a group, of which one has been chosen
        command = command.command
    logging.basicConfig(stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    logger.setLevel(_level(command, quiet=invocation.quiet, verbose=invocation.verbose))
    logger.debug("%s", command)
    try:
        if invocation.quiet and invocation.verbose:
            raise InputError("--quiet and --verbose exclude each other; use one of them")
        if isinstance(command, GenerateRequest) and command.settings_file is not None:
            check_options(command)
            command = _over_file(command.settings_file, args)
        check_options(command)
        set_unusable_endpoint_aside()
        return COMMANDS[type(command)](command) or 0
    except InputError as error:
        logger.debug("noticed here", exc_info=True)
        print("error:", " ".join(str(error).split()), file=sys.stderr)
        return 2
    except FloatingPointError as error:
        print("error:", error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; nothing half-written is left", file=sys.stderr)
        return 130


def overview() -> str:
    """What `pila --help` prints: the commands in two groups, a line each."""
    core, lab = list(_CORE), list(_LAB)
    core += lab[:1]  # profile: of use to everybody, though the laboratory has its code
    lines = [
        "usage: pila [--quiet | --verbose] COMMAND [options]",
        "       pila COMMAND --help | pila --version",
        "",
        DESCRIPTION,
        "",
        *_listed("commands", core),
    ]
    lines += _listed("laboratory: the simulated world, its tables, the field's benchmarks", lab[1:])
    if not lab:
        lines.append("The laboratory's commands come with: pip install 'pila[lab]'")
    return "\n".join(lines).rstrip()


def _listed(title: str, commands: Sequence[Any]) -> list[str]:
    if not commands:
        return []
    rows = [(get_args(c)[1].name, inspect.getdoc(get_args(c)[0]) or "") for c in commands]
    said = [f"  {name:<12}{doc.split(chr(10) * 2)[0].replace(chr(10), ' ')}" for name, doc in rows]
    return [f"{title}:", *said, ""]


def _endless_number(args: Sequence[str]) -> str | None:
    """What is wrong with an option's number of more digits than Python reads; None for none."""
    words = [word for arg in args for word in (arg.split("=", 1) if arg[:2] == "--" else [arg])]
    for option, value in pairwise(words):
        digits = value.lstrip("+-")
        if option.startswith("--") and len(digits) > DIGITS and digits.isdecimal():
            return f"{option} is a number of {len(digits):,} digits; give one of at most {DIGITS}"
    return None


def _level(command: Any, *, quiet: bool, verbose: bool) -> int:
    """Of the package's logger, which the progress bar heeds as well."""
    if quiet:
        return logging.ERROR
    if verbose:
        return logging.DEBUG
    return logging.INFO if isinstance(command, _TALKATIVE) else logging.WARNING


def _over_file(settings_file: Path, args: Sequence[str]) -> GenerateRequest:
    """`pila generate --from`: the same arguments again, with the file's values as defaults."""
    from pila.generate.settings_file import read_settings

    # How much is said has been read already, and is no part of the request.
    rest = [arg for arg in args if arg not in ("--quiet", "--verbose")]
    rest.remove("generate")

    def parsed(default: GenerateRequest) -> GenerateRequest:
        return tyro.cli(
            GenerateRequest,
            prog="pila generate",
            args=rest,
            default=default,
            config=CONFIG,
        )

    kept = read_settings(settings_file)
    request = parsed(kept)
    # The file's categories and refinement are those of its prompt; another prompt has its own.
    other = replace(kept, categories=None, refined_prompt=None)
    return request if request.prompt == kept.prompt else parsed(other)
