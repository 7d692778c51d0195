"""The documentation of the terms, derived from the terms.

`python -m pila.physics.catalogue` writes docs/categories/: a page of all relations, and one
for each category.
"""

import inspect
import logging
from importlib import import_module
from pathlib import Path

from pila.physics import terms as terms_package
from pila.physics.bank import Category, Slot
from pila.physics.residual import Family, Residual
from pila.physics.terms import TERMS, recipe

log = logging.getLogger(__name__)

_FAMILIES = {
    Family.PDE_ANCHOR: "PDE anchor",
    Family.KINEMATIC: "kinematic",
    Family.CLOSURE: "closure",
    Family.STABILIZER: "stabilizer",
}
_NOTATION = (
    "d displacement, u velocity, p pressure, ρ density, T temperature, φ phase, ε strain, "
    "s stress, j impulse, w wave; ⟨·⟩ the mean of the neighbouring cells. Vectors are (x, y), "
    "lengths latent cells, times latent frames. Coefficients are "
    "`pila.physics.Coefficients`."
)


def overview() -> str:
    """The page of all relations: category, relations, file."""
    rows = [
        f"| [{title(category)}]({category}.md) "
        f"| {'; '.join(_cell(term.relation) for term in terms)} "
        f"| `src/pila/physics/terms/{category}.py` |"
        for category, terms in TERMS.items()
    ]
    count = sum(len(terms) for terms in TERMS.values())
    lines = [
        "# Categories and relations",
        "",
        "*Written by `python -m pila.physics.catalogue`; change the terms, not this page.*",
        "",
        f"PILA has an expert for each of {len(TERMS)} physical categories. In training, {count} "
        "relations hold the fields that the experts refine. A relation is a balance whose pieces "
        "add up to zero where it holds.",
        "",
        "| category | relations | file |",
        "|---|---|---|",
        *rows,
        "",
        _NOTATION,
        "",
    ]
    return "\n".join(lines)


def page(category: Category) -> str:
    """One category's page: its terms, what they read and what its expert may change."""
    terms = TERMS[category]
    recipe_rows = [
        f"| {slot} | {slot.components} | {slot.channels.start}-{slot.channels.stop - 1} |"
        for slot in Slot
        if slot in recipe(category)
    ]
    lines = [
        f"# {title(category)}",
        "",
        "*Written by `python -m pila.physics.catalogue`; change the terms, not this page.*",
        "",
        _introduction(category),
        "",
        "| term | family | relation | reads |",
        "|---|---|---|---|",
        *(
            f"| `{term.name}` | {_FAMILIES[term.family]} | {_cell(term.relation)} "
            f"| {', '.join(term.reads)} |"
            for term in terms
        ),
        "",
        _NOTATION,
        "",
        "## Terms",
        "",
        *(line for term in terms for line in _section(term)),
        "## Recipe",
        "",
        "The slots that the terms read are the ones that the expert may change.",
        "",
        "| slot | components | bank channels |",
        "|---|---|---|",
        *recipe_rows,
        "",
    ]
    return "\n".join(lines)


def title(category: Category) -> str:
    """A category's name as prose."""
    return category.replace("_", " ").capitalize()


def write(root: Path) -> None:
    """Write the pages of the project in `root`."""
    folder = root / "docs" / "categories"
    folder.mkdir(parents=True, exist_ok=True)
    for category in Category:
        (folder / f"{category}.md").write_text(page(category), encoding="utf-8")
        log.info("wrote %s", folder / f"{category}.md")
    (folder / "index.md").write_text(overview(), encoding="utf-8")
    log.info("wrote %s", folder / "index.md")


def _introduction(category: Category) -> str:
    module = import_module(f"{terms_package.__name__}.{category}")
    _, _, sentence = (inspect.getdoc(module) or "").partition(": ")
    return sentence[:1].upper() + sentence[1:]


def _section(term: Residual) -> list[str]:
    notes = []
    if term.free_scale:
        notes.append("The loss fits the latent scale, a positive number per sample.")
    if term.free_offset:
        notes.append("The loss compares variation only: each piece's mean is removed.")
    if term.source is not None:
        notes.append("The loss fits the source's latent strength, of either sign, per sample.")
    meaning = term.meaning.split("\n")
    return [
        f"### {term.name}",
        "",
        f"    {term.relation}",
        "",
        *meaning,
        "",
        *([" ".join(notes), ""] if notes else []),
    ]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    write(Path.cwd())
