"""A label parser on prompts that others wrote: PhyGenBench's laws and WISA-80K's.

Neither has our eight categories, so a mapping says what a law means in them: its own categories,
of which a parse should name one, and those that it often brings along, which are neither right nor
wrong. PhyGenBench's table is below and in docs/evaluation.md, WISA's in docs/wisa.md. Mappings are
ours: figures measure agreement with them, not truth.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pila.data.laws import DYNAMICS, OPTICS, THERMODYNAMICS, Law
from pila.data.relabel import MAPPING, Effect
from pila.errors import InputError
from pila.lab.benchmarks import phygenbench
from pila.labels.evaluate import compare
from pila.labels.parser import Parser
from pila.physics.layout import Category

_OPTICAL = Effect((Category.OPTICAL,))
_HEATED = (Category.PHASE_CHANGE, Category.THERMAL)
_VAPOUR = Effect(_HEATED, (Category.FLUID, Category.COMPRESSIBLE))
_MELT = Effect(_HEATED, (Category.FLUID,))
_REACTION = Effect((), (Category.FLUID, Category.THERMAL, Category.COMPRESSIBLE))
PHYGENBENCH: Mapping[str, Effect] = MappingProxyType(
    {
        "gravity": Effect((Category.FLUID, Category.RIGID_BODY)),
        "buoyancy": Effect((Category.FLUID, Category.RIGID_BODY), (Category.COLLISION,)),
        "stress": Effect((Category.ELASTIC,), (Category.FLUID, Category.COLLISION)),
        "atmospheric pressure": Effect((Category.COMPRESSIBLE, Category.ELASTIC)),
        "solid pressure": Effect(
            (Category.ELASTIC, Category.COLLISION), (Category.RIGID_BODY, Category.COMPRESSIBLE)
        ),
        "elasticity": Effect((Category.ELASTIC, Category.COLLISION), (Category.RIGID_BODY,)),
        "friction": Effect((Category.RIGID_BODY, Category.COLLISION)),
        "surface tension": Effect((Category.FLUID,), (Category.RIGID_BODY,)),
        "direct radiation": _OPTICAL,
        "tyndall effect": _OPTICAL,
        "reflection": _OPTICAL,
        "refraction": _OPTICAL,
        "interference & diffraction": _OPTICAL,
        "dispersion": _OPTICAL,
        "solidification": _MELT,
        "melting": _MELT,
        "liquefaction": _VAPOUR,
        "boiling": _VAPOUR,
        "deposition": _VAPOUR,
        "sublimation": _VAPOUR,
        "color": Effect((Category.FLUID,)),
        "flame reaction": Effect(
            (Category.THERMAL,), (Category.COMPRESSIBLE, Category.OPTICAL, Category.PHASE_CHANGE)
        ),
        "hardness": Effect((Category.COLLISION,), (Category.RIGID_BODY, Category.ELASTIC)),
        "solubility": Effect((Category.FLUID,)),
        "combustibility": Effect(
            (Category.THERMAL, Category.COMPRESSIBLE), (Category.RIGID_BODY, Category.COLLISION)
        ),
        # Chemistry has no category of its own.
        "acidity and alkalinity": _REACTION,
        "dehydration property": _REACTION,
        "redox property": _REACTION,
    }
)
_BRANCHES = {"dynamics": DYNAMICS, "thermodynamics": THERMODYNAMICS, "optics": OPTICS}
_SAME = {"atmosphere pressure": "atmospheric pressure"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A prompt with the law that it was written for, and its domain."""

    prompt: str
    law: str
    domain: str
    effect: Effect


def phygenbench_cases(source: Path) -> list[Case]:
    """The 160 prompts of a checkout, each with its law.

    Raises:
        InputError: not the official file, or a law that the mapping does not know.
    """
    cases = []
    unknown = []
    for item in phygenbench.read_prompts(source).items:
        said = str(item.details["sub_category"]).strip().lower()
        law = _SAME.get(said, said)
        if law not in PHYGENBENCH:
            unknown.append(said)
            continue
        cases.append(Case(prompt=item.prompt, law=law, domain=item.group, effect=PHYGENBENCH[law]))
    if unknown:
        raise InputError(
            f"{source} has laws that the mapping does not know: {', '.join(sorted(set(unknown)))}; "
            "use the official 27"
        )
    return cases


def wisa_cases(source: Path, *, most: int | None = None) -> list[Case]:
    """Captions of WISA-80K's list with the law for which each was collected.

    Args:
        source: the data set's folder, or its JSON list.
        most: of each law, in the list's order; all by default.

    Raises:
        InputError: no list there, or no record with a caption and a law.
    """
    from pila.data.wisa import read_list

    branch = {law: name for name, laws in _BRANCHES.items() for law in laws}
    counts: Counter[Law] = Counter()
    cases = []
    for record in read_list(source):
        for law in record.label[:1]:
            if record.caption and (most is None or counts[law] < most):
                counts[law] += 1
                cases.append(
                    Case(
                        prompt=record.caption,
                        law=str(law),
                        domain=branch[law],
                        effect=MAPPING[law],
                    )
                )
    if not cases:
        raise InputError(f"{source} has 0 records with a caption and a law; give WISA-80K's list")
    return cases


def agreement(cases: Iterable[Case], parser: Parser) -> dict[str, Any]:
    """How a parser's categories agree with the mapping: over all, by category, law and domain.

    `own` is the share of prompts with at least one of the law's own categories, `beyond` that
    with one that the mapping does not know for the law, `silent` that without any. Laws without a
    category of their own count in `beyond` and `silent` alone.
    """
    rows = [(case, tuple(parser(case.prompt).categories)) for case in cases]
    mapped = [(case, found) for case, found in rows if case.effect.gives]
    scored = compare(
        (c.effect.gives, [x for x in found if x in c.effect.gives or x not in c.effect.coupled])
        for c, found in mapped
    )
    laws = list(dict.fromkeys(case.law for case, _ in rows))
    domains = list(dict.fromkeys(case.domain for case, _ in rows))
    return {
        "prompts": len(rows),
        "mapped": len(mapped),
        **_shares(rows),
        "categories": {
            str(category): {
                "support": figures.support,
                "precision": round(figures.precision, 4),
                "recall": round(figures.recall, 4),
                "f1": round(figures.f1, 4),
            }
            for category, figures in scored.categories.items()
        },
        "micro_f1": round(scored.micro.f1, 4),
        "macro_f1": round(scored.macro_f1, 4),
        "laws": {
            law: {
                "effect": {k: [str(c) for c in v] for k, v in asdict(effect).items()},
                **_shares([(c, f) for c, f in rows if c.law == law]),
            }
            for law in laws
            for effect in [next(c.effect for c, _ in rows if c.law == law)]
        },
        "domains": {
            domain: {
                "prompts": sum(c.domain == domain for c, _ in rows),
                "answered": dict(
                    Counter(str(x) for c, found in rows if c.domain == domain for x in found)
                ),
            }
            for domain in domains
        },
    }


def _shares(rows: Sequence[tuple[Case, tuple[Category, ...]]]) -> dict[str, Any]:
    mapped = [(case, found) for case, found in rows if case.effect.gives]
    known = [(set(c.effect.gives) | set(c.effect.coupled), set(found)) for c, found in rows]
    return {
        "count": len(rows),
        "own": _share([bool(set(found) & set(c.effect.gives)) for c, found in mapped]),
        "beyond": _share([bool(found - allowed) for allowed, found in known]),
        "silent": _share([not found for _, found in known]),
    }


def _share(hits: Sequence[bool]) -> float | None:
    return round(sum(hits) / len(hits), 4) if hits else None


def table(report: Mapping[str, Any]) -> str:
    """The report as text."""
    lines = [
        f"{report['prompts']} prompts, {report['mapped']} of laws with categories of their own",
        f"own {_shown(report['own'])}, beyond {_shown(report['beyond'])}, "
        f"silent {_shown(report['silent'])}; micro F1 {report['micro_f1']:.3f}, "
        f"macro F1 {report['macro_f1']:.3f}",
        "",
        f"{'law':<28}{'prompts':>8}{'own':>8}{'beyond':>8}{'silent':>8}  categories",
    ]
    for law, row in report["laws"].items():
        gives = ", ".join(row["effect"]["gives"]) or "none"
        lines.append(
            f"{law:<28}{row['count']:>8}{_shown(row['own']):>8}{_shown(row['beyond']):>8}"
            f"{_shown(row['silent']):>8}  {gives}"
        )
    lines += ["", f"{'category':<28}{'support':>8}{'prec.':>8}{'recall':>8}{'F1':>8}"]
    for name, row in report["categories"].items():
        lines.append(
            f"{name:<28}{row['support']:>8}{row['precision']:>8.3f}{row['recall']:>8.3f}"
            f"{row['f1']:>8.3f}"
        )
    for domain, row in report["domains"].items():
        answers = ", ".join(f"{k} {v}" for k, v in sorted(row["answered"].items()))
        lines.append(f"{domain}: {row['prompts']} prompts; answered {answers or 'nothing'}")
    return "\n".join(lines)


def _shown(share: float | None) -> str:
    return "-" if share is None else f"{share:.3f}"
