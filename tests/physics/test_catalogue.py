"""The committed documentation is the one that the terms give."""

from pathlib import Path

import pytest

from pila.physics import TERMS, Category
from pila.physics.catalogue import BEGIN, END, page, table, with_table, write

ROOT = Path(__file__).parents[2]
REMEDY = "run `python -m pila.physics.catalogue` and commit what it writes"


@pytest.mark.parametrize("category", list(Category))
def test_the_committed_page_is_up_to_date(category: Category):
    committed = ROOT / "docs" / "categories" / f"{category}.md"
    assert committed.read_text(encoding="utf-8") == page(category), REMEDY


def test_the_readmes_table_is_up_to_date():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    if BEGIN not in readme:
        pytest.skip("the README has no table of categories yet")
    assert with_table(readme) == readme, REMEDY


def test_the_table_names_every_relation_and_file():
    text = table()
    for category, terms in TERMS.items():
        assert (ROOT / "src" / "pila" / "physics" / "terms" / f"{category}.py").exists()
        assert f"src/pila/physics/terms/{category}.py" in text
        assert all(term.relation.replace("|", "\\|") in text for term in terms)


def test_writing_puts_pages_and_table_in_place(tmp_path: Path):
    (tmp_path / "README.md").write_text(f"above\n{BEGIN}\nold\n{END}\nbelow\n", encoding="utf-8")
    write(tmp_path)
    readme = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert readme == f"above\n{BEGIN}\n{table()}{END}\nbelow\n"
    assert len(list((tmp_path / "docs" / "categories").glob("*.md"))) == 8
