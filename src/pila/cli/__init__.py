"""The command line: subcommands, their printing and their exit codes; nothing else.

0 is success, 2 a user's mistake (`error: ...`, one line), 130 an interrupt, 1 anything else.
"""

import logging
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import tyro
from tyro.conf import subcommand

from pila import __version__
from pila.benchmark.run import BenchmarkRequest
from pila.cli import data, diagnose, evaluate, experiment, single, world
from pila.cli.evaluate_options import Evaluate
from pila.errors import InputError
from pila.request import GenerateRequest
from pila.score import ScoreRequest

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
    | Annotated[single.Doctor, subcommand("doctor", prefix_name=False)]
)

CONFIG = (tyro.conf.FlagCreatePairsOff, tyro.conf.OmitSubcommandPrefixes)
"""How tyro reads `Command`: --flag without --no-flag, and plain option names everywhere."""

COMMANDS = (
    single.COMMANDS
    | world.COMMANDS
    | data.COMMANDS
    | experiment.COMMANDS
    | diagnose.COMMANDS
    | {Evaluate: evaluate.evaluate}
)
"""What runs each command."""

_TALKATIVE = (single.Train, world.WorldMake, *experiment.COMMANDS)
"""Long work, which says what it is at."""


def main() -> None:
    """Entry point of the console script."""
    sys.exit(run(sys.argv[1:]))


def run(args: Sequence[str]) -> int:
    """Run one command and return its exit code; argument errors and --help exit by themselves."""
    if list(args) == ["--version"]:
        print(f"pila {__version__}")
        return 0
    command: Any = tyro.cli(
        Command,  # pyright: ignore[reportArgumentType]
        prog="pila",
        description="Physics for frozen Wan video generators.",
        args=list(args),
        config=CONFIG,
    )
    if isinstance(command, world.World | data.Data | experiment.Experiment | diagnose.Diagnose):
        command = command.command
    logging.basicConfig(stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("pila").setLevel(
        logging.INFO if isinstance(command, _TALKATIVE) else logging.WARNING
    )
    try:
        return COMMANDS[type(command)](command) or 0
    except InputError as error:
        print("error:", " ".join(str(error).split()), file=sys.stderr)
        return 2
    except FloatingPointError as error:
        print("error:", error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; nothing half-written is left", file=sys.stderr)
        return 130
