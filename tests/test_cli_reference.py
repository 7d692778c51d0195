"""Every option of every command has a help text, stands on docs/commands.md, and is real."""

import re
from pathlib import Path

import pytest

from pila.cli import run
from pila.cli.reference import PAGE, Reference, common, page, references, write

ROOT = Path(__file__).parents[1]
REFERENCES = references()


def helped(capsys, *words: str) -> str:
    with pytest.raises(SystemExit) as end:
        run([*words, "--help"])
    assert end.value.code == 0
    return capsys.readouterr().out


def test_no_command_is_left_out(capsys):
    def below(words: tuple[str, ...]) -> list[tuple[str, ...]]:
        listed = r"^[│ ]\s+• (\S+)" if words else r"^  (\w+)  "
        found = re.findall(listed, helped(capsys, *words), re.MULTILINE)
        return [leaf for name in found for leaf in below((*words, name))] if found else [words]

    assert {r.words for r in REFERENCES} == set(below(()))


@pytest.mark.parametrize("reference", REFERENCES, ids=lambda r: " ".join(r.words))
def test_options_are_those_of_the_command_and_all_are_explained(reference: Reference, capsys):
    text = helped(capsys, *reference.words)
    real = set(re.findall(r"^[│ ] (?:-\w, )?(--[a-z][\w-]*)", text, re.MULTILINE)) - {"--help"}
    named = {option.name for option in reference.options if option.name.startswith("--")}
    shared = {option.name for option in common()}
    assert named | shared == real
    assert reference.help
    assert [o.name for o in (*common(), *reference.options) if not o.help] == []


def test_the_page_has_every_option_under_its_command():
    sections = re.split(r"^#+ (pila .+)$", page(), flags=re.MULTILINE)
    assert all(f"| `{option.name}` |" in sections[0] for option in common())
    rows = dict(zip(sections[1::2], sections[2::2], strict=True))
    titles = list(rows)
    for reference in REFERENCES:
        title = "pila " + " ".join(reference.words)
        # Commands that share their options stand one below the other, above the one table.
        following = titles[titles.index(title) :]
        table = next(rows[t] for t in following if "| option |" in rows[t])
        for option in reference.options:
            assert re.search(rf"^\| `{re.escape(option.name)}[ `]", table, re.MULTILINE), option


def test_the_committed_page_is_up_to_date(tmp_path):
    write(tmp_path)
    assert (tmp_path / PAGE).read_text() == (ROOT / PAGE).read_text(), "run `make docs`"
