"""The page of all commands, derived from the dataclasses that define them.

`python -m pila.cli.reference` writes docs/commands.md. Nothing torch-heavy is imported.
"""

import ast
import inspect
import logging
import textwrap
import types
from collections.abc import Iterator
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from tyro.conf import Positional

log = logging.getLogger(__name__)

PAGE = Path("docs", "commands.md")
_POSITIONAL = get_args(Positional[int])[1]
_WORDS = {str: "TEXT", int: "INT", float: "FLOAT", Path: "PATH"}
_INTRODUCTION = """# Commands

*Written by `python -m pila.cli.reference`; change the commands, not this page.*

`pila COMMAND --help` prints the same. Exit codes: 0 success, 1 a fault, 2 a mistake in what was
asked (`error: ...`, with the remedy), 130 an interrupt. Options that say nothing of a default are
off, empty, or left to the model. `pila --version` prints the version; `pila
--tyro-print-completion bash` (zsh, tcsh) prints the script that completes commands in a shell.

Every command takes, before it or behind it:
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option or argument.

    Attributes:
        name: as it is typed: `--seed`, or `PROMPT` for an argument.
        value: what follows it; empty for a flag, and for an argument unless it repeats.
        default: as text; None where it is required, empty where there is nothing to show.
        help: one paragraph.
    """

    name: str
    value: str
    default: str | None
    help: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A command without further subcommands: its words, what it does, its options."""

    words: tuple[str, ...]
    help: str
    options: tuple[Option, ...]


def references() -> list[Reference]:
    """All commands in the order of `pila --help`."""
    from pila.cli import Command

    return list(_commands(Command, ()))


def common() -> tuple[Option, ...]:
    """What every command takes, before or behind it."""
    from pila.cli import Invocation

    hints = get_type_hints(Invocation, include_extras=True)
    found = (f for f in fields(Invocation) if f.name != "command")
    return tuple(_option(Invocation, field, hints[field.name]) for field in found)


def page(found: list[Reference] | None = None) -> str:
    """The whole page. Commands of a group with the same options share a table."""
    shared: dict[tuple[str, tuple[Option, ...]], list[Reference]] = {}
    for command in references() if found is None else found:
        shared.setdefault((command.words[0], command.options), []).append(command)
    lines, last = [_INTRODUCTION, *_table(common())], ""
    for (group, options), commands in shared.items():
        if group != last:
            lines += [f"## pila {group}", ""]
            last = group
        for command, after in zip(commands, [*commands[1:], None], strict=True):
            if len(command.words) > 1:
                lines += [f"### pila {' '.join(command.words)}", ""]
            if after is None or after.help != command.help:
                lines += [command.help, ""]
        if len(commands) > 1:
            lines += [f"All {len(commands)} take these options.", ""]
        lines += _table(options)
    return "\n".join(lines)


def write(root: Path) -> None:
    """Write the page of the project in `root`."""
    (root / PAGE).parent.mkdir(parents=True, exist_ok=True)
    (root / PAGE).write_text(page(), encoding="utf-8")
    log.info("wrote %s", root / PAGE)


def _commands(kind: Any, words: tuple[str, ...]) -> Iterator[Reference]:
    """The commands of an Annotated dataclass, or of a union of such."""
    if get_origin(kind) in (Union, types.UnionType):
        for part in get_args(kind):
            yield from _commands(part, words)
        return
    made, (subcommand, *_) = _without_notes(kind)
    words = (*words, subcommand.name)
    options: list[Option] = []
    below: list[Any] = []
    hints = get_type_hints(made, include_extras=True)
    for field in fields(made):
        hint, _ = _without_notes(hints[field.name])
        if any(is_dataclass(_without_notes(part)[0]) for part in get_args(hint) or (hint,)):
            below.append(hint)
        else:
            options.append(_option(made, field, hints[field.name]))
    if below:
        yield from _commands(below[0], words)
        return
    text = subcommand.description or inspect.getdoc(made) or ""
    yield Reference(words=words, help=text.strip(), options=tuple(options))


def _option(made: type, field: Field, hint: Any) -> Option:
    kind, notes = _without_notes(hint)
    value = _value(kind)
    said = next((n.help for n in notes if getattr(n, "help", None)), None)
    name = next((n.name for n in notes if getattr(n, "name", None)), None) or field.name
    positional = any(note is _POSITIONAL for note in notes)
    if positional:
        value = "..." if value.endswith("...") else ""
    return Option(
        name=name.upper() if positional else f"--{name.replace('_', '-')}",
        value="" if kind is bool else value,
        default=_default(field),
        help=" ".join((said or _attribute_docs(made).get(field.name, "")).split()),
    )


def _value(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return "/".join(str(choice) for choice in get_args(kind))
    if get_origin(kind) in (Union, types.UnionType):
        return "/".join(_value(part) for part in get_args(kind) if part is not type(None))
    if get_origin(kind) is tuple:
        first, *rest = get_args(kind)
        if rest == [...]:
            return f"{_value(first)} ..."
        return " ".join(_value(part) for part in (first, *rest))
    return _WORDS.get(kind, getattr(kind, "__name__", str(kind)).upper())


def _default(field: Field) -> str | None:
    if field.default is MISSING and field.default_factory is MISSING:
        return None
    value = field.default if field.default_factory is MISSING else field.default_factory()
    if value is None or value is False or value in ((), ""):
        return ""
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _without_notes(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """A type and the notes that Annotated puts on it."""
    if get_origin(hint) is Annotated:
        kind, *notes = get_args(hint)
        return kind, tuple(notes)
    return hint, ()


@cache
def _attribute_docs(made: type) -> dict[str, str]:
    """The text under each field of a dataclass, those of its bases included."""
    found: dict[str, str] = {}
    for base in reversed(made.__mro__):
        try:
            source = inspect.getsource(base)
        except (OSError, TypeError):  # made at run time, or built in
            continue
        tree: Any = ast.parse(textwrap.dedent(source)).body[0]
        for here, after in zip(tree.body, tree.body[1:], strict=False):
            if (
                isinstance(here, ast.AnnAssign)
                and isinstance(here.target, ast.Name)
                and isinstance(after, ast.Expr)
                and isinstance(after.value, ast.Constant)
            ):
                found[here.target.id] = str(after.value.value)
    return found


def _table(options: tuple[Option, ...]) -> list[str]:
    if not options:
        return []
    return ["| option | meaning |", "|---|---|", *(_row(option) for option in options), ""]


def _row(option: Option) -> str:
    typed = f"{option.name} {option.value}".strip()
    meaning = option.help
    if option.default is None:
        meaning += " **Required.**"
    elif option.default:
        meaning += f" *Default:* `{option.default}`"
    return f"| `{typed}` | {meaning.strip()} |"


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    write(Path.cwd())
