"""The committed documentation is the one that the terms give."""

from pathlib import Path

import pytest

from pila.physics import TERMS, Category
from pila.physics.catalogue import overview, page, write

ROOT = Path(__file__).parents[2]
REMEDY = "run `python -m pila.physics.catalogue` and commit what it writes"


@pytest.mark.parametrize("category", list(Category))
def test_the_committed_page_is_up_to_date(category: Category):
    committed = ROOT / "docs" / "categories" / f"{category}.md"
    assert committed.read_text(encoding="utf-8") == page(category), REMEDY


def test_the_committed_overview_is_up_to_date():
    committed = ROOT / "docs" / "categories" / "index.md"
    assert committed.read_text(encoding="utf-8") == overview(), REMEDY


def test_the_overview_names_every_relation_and_file():
    text = overview()
    for category, terms in TERMS.items():
        assert (ROOT / "src" / "pila" / "physics" / "terms" / f"{category}.py").exists()
        assert f"src/pila/physics/terms/{category}.py" in text
        assert all(term.relation.replace("|", "\\|") in text for term in terms)


def test_writing_puts_all_pages_in_place(tmp_path: Path):
    write(tmp_path)
    assert len(list((tmp_path / "docs" / "categories").glob("*.md"))) == 9
