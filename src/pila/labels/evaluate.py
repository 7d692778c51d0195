"""How well a parser agrees with labelled prompts: `python -m pila.labels.evaluate`."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from pila.labels.parser import Parser, make_parser
from pila.labels.prompt_set import load_prompts
from pila.physics.layout import Category


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Counts of one category, or of all together, and what follows from them."""

    true_positives: int
    false_positives: int
    false_negatives: int

    @property
    def support(self) -> int:
        """How many prompts carry the label."""
        return self.true_positives + self.false_negatives

    @property
    def precision(self) -> float:
        """tp / (tp + fp)."""
        return _ratio(self.true_positives, self.true_positives + self.false_positives)

    @property
    def recall(self) -> float:
        """tp / (tp + fn)."""
        return _ratio(self.true_positives, self.support)

    @property
    def f1(self) -> float:
        """2 tp / (2 tp + fp + fn); 1 where there is neither a label nor an answer."""
        wrong = self.false_positives + self.false_negatives
        return _ratio(2 * self.true_positives, 2 * self.true_positives + wrong)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Agreement over a set of prompts: `micro` pools all labels, `exact` counts whole sets."""

    prompts: int
    exact: int
    micro: Agreement
    categories: dict[Category, Agreement]

    @property
    def macro_f1(self) -> float:
        """Mean F1 over the eight categories."""
        return sum(a.f1 for a in self.categories.values()) / len(self.categories)


def compare(pairs: Iterable[tuple[Sequence[Category], Sequence[Category]]]) -> Report:
    """Compares (expected, answered) category sets; order within a set does not matter."""
    sets = [(frozenset(expected), frozenset(answered)) for expected, answered in pairs]

    def count(categories: Sequence[Category]) -> Agreement:
        hits = [(c in e, c in a) for e, a in sets for c in categories]
        return Agreement(
            true_positives=sum(e and a for e, a in hits),
            false_positives=sum(a and not e for e, a in hits),
            false_negatives=sum(e and not a for e, a in hits),
        )

    return Report(
        prompts=len(sets),
        exact=sum(expected == answered for expected, answered in sets),
        micro=count(tuple(Category)),
        categories={category: count((category,)) for category in Category},
    )


def evaluate(parser: Parser, half: Literal["development", "held_out"] | None) -> Report:
    """Runs a parser over the labelled prompts, one half or all of them."""
    return compare((item.categories, parser(item.prompt).categories) for item in load_prompts(half))


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Agreement of a label parser with the project's labelled prompts, per category."""

    half: Literal["development", "held_out", "all"] = "held_out"
    """Which half to score. Tune on development only."""
    parser: str = "offline"
    """Which parser to score."""
    json: bool = False
    """Print JSON in place of the table."""
    show_errors: bool = False
    """List the prompts answered differently; for the development half only."""


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 1.0


def _as_json(report: Report, options: Options) -> str:
    def figures(agreement: Agreement) -> dict[str, float]:
        ratios = {name: getattr(agreement, name) for name in ("precision", "recall", "f1")}
        rounded = {name: round(value, 4) for name, value in ratios.items()}
        return {"support": agreement.support, **asdict(agreement), **rounded}

    content = {
        "half": options.half,
        "parser": options.parser,
        "prompts": report.prompts,
        "exact": report.exact,
        "micro": figures(report.micro),
        "macro_f1": round(report.macro_f1, 4),
        "categories": {str(c): figures(a) for c, a in report.categories.items()},
    }
    return json.dumps(content, indent=2)


def _as_table(report: Report, options: Options) -> str:
    rows = [(str(c), a) for c, a in report.categories.items()] + [("micro", report.micro)]
    lines = [
        f"{options.parser} parser, {options.half} half, {report.prompts} prompts",
        f"{'category':<14}{'labels':>7}{'hit':>6}{'extra':>7}{'missed':>8}"
        f"{'precision':>11}{'recall':>8}{'F1':>7}",
    ]
    for name, a in rows:
        lines.append(
            f"{name:<14}{a.support:>7}{a.true_positives:>6}{a.false_positives:>7}"
            f"{a.false_negatives:>8}{a.precision:>11.3f}{a.recall:>8.3f}{a.f1:>7.3f}"
        )
    lines.append(f"macro F1 {report.macro_f1:.3f}; whole set right: {report.exact}")
    return "\n".join(lines)


def _errors(parser: Parser) -> str:
    lines = []
    for item in load_prompts("development"):
        parse = parser(item.prompt)
        if set(parse.categories) != set(item.categories):
            wanted, got = ",".join(item.categories), ",".join(parse.categories)
            lines.append(f"{item.prompt}\n    wanted {wanted or '-'}; answered {got or '-'}")
            lines.append(f"    { ({str(c): w for c, w in parse.evidence.items()}) }")
    return "\n".join(lines)


def main() -> None:
    """Prints the report of the options on the command line."""
    import tyro

    options = tyro.cli(Options, prog="python -m pila.labels.evaluate", description=Options.__doc__)
    parser = make_parser(options.parser)
    half = None if options.half == "all" else options.half
    report = evaluate(parser, half)
    print(_as_json(report, options) if options.json else _as_table(report, options))  # noqa: T201
    if options.show_errors and options.half == "development":
        print(_errors(parser))  # noqa: T201


if __name__ == "__main__":
    main()
