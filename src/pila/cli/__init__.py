"""The command line: subcommands, their printing and their exit codes; nothing else.

0 is success, 2 a user's mistake (`error: ...`, one line), 130 an interrupt, 1 anything else.
"""

import logging
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import tyro
from tyro.conf import CascadeSubcommandArgs, arg, subcommand

from pila import __version__
from pila.benchmark.run import BenchmarkRequest
from pila.cli import data, diagnose, evaluate, experiment, serve, share, single, world
from pila.cli.evaluate_options import Evaluate
from pila.errors import InputError
from pila.options import check_options
from pila.request import GenerateRequest
from pila.score import ScoreRequest
from pila.snapshots import set_unusable_endpoint_aside

Command = (
    Annotated[GenerateRequest, subcommand("generate", prefix_name=False)]
    | Annotated[single.Label, subcommand("label", prefix_name=False)]
    | Annotated[ScoreRequest, subcommand("score", prefix_name=False)]
    | Annotated[world.World, subcommand("world", prefix_name=False)]
    | Annotated[data.Data, subcommand("data", prefix_name=False)]
    | Annotated[single.Train, subcommand("train", prefix_name=False)]
    | Annotated[experiment.Experiment, subcommand("experiment", prefix_name=False)]
    | Annotated[Evaluate, subcommand("evaluate", prefix_name=False)]
    | Annotated[diagnose.Diagnose, subcommand("diagnose", prefix_name=False)]
    | Annotated[BenchmarkRequest, subcommand("benchmark", prefix_name=False)]
    | Annotated[serve.Serve, subcommand("serve", prefix_name=False)]
    | Annotated[share.Push, subcommand("push", prefix_name=False)]
    | Annotated[single.Doctor, subcommand("doctor", prefix_name=False)]
)

CONFIG = (tyro.conf.FlagCreatePairsOff, tyro.conf.OmitSubcommandPrefixes)
"""How tyro reads `Command`: --flag without --no-flag, and plain option names everywhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """A command, and how much is said beside its result; both flags go before or behind it."""

    command: Annotated[Command, arg(name="")]
    quiet: CascadeSubcommandArgs[bool] = False
    """Say nothing but the result and errors: no progress bar, no notes."""
    verbose: CascadeSubcommandArgs[bool] = False
    """Also say what is done, and where an error was noticed."""


COMMANDS: dict[type, Callable[[Any], int | None]] = (
    single.COMMANDS
    | world.COMMANDS
    | data.COMMANDS
    | experiment.COMMANDS
    | diagnose.COMMANDS
    | serve.COMMANDS
    | share.COMMANDS
    | {Evaluate: evaluate.evaluate}
)
"""What runs each command."""

_TALKATIVE = (serve.Serve, single.Train, world.WorldMake, *experiment.COMMANDS)
"""Long work, which says what it is at."""

logger = logging.getLogger("pila")


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
    invocation = tyro.cli(
        Invocation,
        prog="pila",
        description="Physics for frozen Wan video generators. For completion in a shell, "
        "--tyro-print-completion {bash,zsh,tcsh} prints its script.",
        args=list(args),
        config=CONFIG,
    )
    command: Any = invocation.command
    if isinstance(command, world.World | data.Data | experiment.Experiment | diagnose.Diagnose):
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


def _level(command: Any, *, quiet: bool, verbose: bool) -> int:
    """Of the package's logger, which the progress bar heeds as well."""
    if quiet:
        return logging.ERROR
    if verbose:
        return logging.DEBUG
    return logging.INFO if isinstance(command, _TALKATIVE) else logging.WARNING


def _over_file(settings_file: Path, args: Sequence[str]) -> GenerateRequest:
    """`pila generate --from`: the same arguments again, with the file's values as defaults."""
    from pila.settings import read_settings

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
    other = replace(kept, labels=None, refined_prompt=None)
    return request if request.prompt == kept.prompt else parsed(other)
