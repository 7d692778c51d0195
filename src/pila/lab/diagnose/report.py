"""One HTML file for a run: every figure with its numbers, read without a network.

Pictures are data URIs, the style is in the page, and there is no script. Figures and tables scroll
sideways on a phone and can be reached and scrolled with the keyboard.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

from pila import __version__
from pila.files import atomic_write
from pila.lab.diagnose.diagnosis import Diagnosis, Table, cell
from pila.lab.diagnose.run_folder import Run
from pila.provenance import commit

STYLE = """
:root { color-scheme: light; }
body { font: 1rem/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; margin: 0 auto;
  max-width: 62rem; padding: 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.3rem; margin-top: 2.5rem; border-top: 1px solid #bbb;
  padding-top: 1rem; } h3 { font-size: 1.05rem; margin-top: 2rem; }
a { color: #00527f; } a:focus, [tabindex]:focus, summary:focus { outline: 3px solid #d55e00; }
.skip { position: absolute; left: -100rem; } .skip:focus { position: static; }
.wide { overflow-x: auto; } figure { margin: 1rem 0; }
img { display: block; width: 100%; min-width: 40rem; height: auto; }
table { border-collapse: collapse; font-size: 0.85rem; margin: 0.5rem 0; }
caption { text-align: left; font-weight: 600; padding: 0.3rem 0; }
th, td { border-bottom: 1px solid #ccc; padding: 0.2rem 0.6rem; text-align: right;
  white-space: nowrap; } th:first-child, td:first-child { text-align: left; }
pre { overflow-x: auto; background: #f4f4f4; padding: 0.7rem; font-size: 0.8rem; }
summary { cursor: pointer; padding: 0.4rem 0; } .missing { background: #fff4e5; padding: 0.7rem; }
"""
LONG = 40
"""Rows from which on a table is folded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """A section that could not be made, and why."""

    title: str
    reason: str


def write_report(
    run: Run, sections: Sequence[tuple[Diagnosis, Mapping[str, Any]] | Missing], path: Path
) -> Path:
    """Write the page of diagnoses that are written already, into `path`.

    Args:
        run: what was looked at.
        sections: each diagnosis with what its `write` returned, or why there is none.
        path: the HTML file; the pictures are read from where `write` put them.

    Raises:
        InputError: the file cannot be written.
    """
    with atomic_write(path) as part:
        part.write_text(page(run, sections), encoding="utf-8")
    return path


def page(run: Run, sections: Sequence[tuple[Diagnosis, Mapping[str, Any]] | Missing]) -> str:
    """The whole page."""
    name = escape(run.folder.resolve().name)
    bodies, entries = [], []
    for section in sections:
        title = section.title if isinstance(section, Missing) else section[0].title
        anchor = title.lower()
        entries.append(f'<li><a href="#{anchor}">{escape(title)}</a></li>')
        body = _missing(section) if isinstance(section, Missing) else _section(*section)
        bodies.append(
            f'<section aria-labelledby="{anchor}"><h2 id="{anchor}">{escape(title)}</h2>'
            f"{body}</section>"
        )
    entries.append('<li><a href="#configuration">Configuration</a></li>')
    return "\n".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{name}: diagnosis</title><style>{STYLE}</style></head><body>",
            '<a class="skip" href="#content">Skip to the figures</a>',
            f"<header><h1>Diagnosis of {name}</h1>{_facts(run)}</header>",
            f'<nav aria-label="Sections"><ul>{"".join(entries)}</ul></nav>',
            f'<main id="content">{"".join(bodies)}{_configuration(run)}</main>',
            "</body></html>",
        ]
    )


def _facts(run: Run) -> str:
    trained = dict.fromkeys(stage.commit for stage in run.stages) or {"unknown": None}
    facts = {
        "Folder": str(run.folder),
        "Adapter": str(run.adapter or "none finished"),
        "Generator": run.model,
        "Stages": ", ".join(s.name for s in run.stages) or "none: an adapter alone",
        "Trained by commit": ", ".join(trained),
        "Looked at by": f"pila {__version__}, commit {commit()}",
        "Written": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }
    return "<ul>" + "".join(f"<li>{k}: {escape(v)}</li>" for k, v in facts.items()) + "</ul>"


def _missing(section: Missing) -> str:
    return f'<p class="missing">Not drawn: {escape(section.reason)}</p>'


def _section(diagnosis: Diagnosis, written: Mapping[str, Any]) -> str:
    places = {Path(f).name: Path(f) for f in written["files"]}
    parts = [f"<p>{escape(diagnosis.about)}</p>"]
    for picture in diagnosis.pictures:
        png = base64.b64encode(places[f"{picture.name}.png"].read_bytes()).decode()
        title, alt = escape(picture.title), escape(picture.alt, quote=True)
        parts.append(
            f'<h3>{title}</h3><figure><div class="wide" tabindex="0" role="group" '
            f'aria-label="{title}, scrolls sideways">'
            f'<img alt="{alt}" src="data:image/png;base64,{png}"></div>'
            f"<figcaption><strong>What to look for.</strong> {escape(picture.look)} "
            f"In vectors: <code>{picture.name}.pdf</code>.</figcaption></figure>"
        )
    parts += [_table(table) for table in diagnosis.tables if table.shown]
    return "".join(parts)


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in table.columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell(v))}</td>" for v in row) + "</tr>" for row in table.rows
    )
    title = escape(table.title)
    text = (
        f'<div class="wide" tabindex="0" role="group" aria-label="Table: {title}"><table><caption>'
        f"{title}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )
    if len(table.rows) < LONG:
        return text
    return f"<details><summary>{title} ({len(table.rows)} rows)</summary>{text}</details>"


def _configuration(run: Run) -> str:
    parts = ['<section aria-labelledby="configuration"><h2 id="configuration">Configuration</h2>']
    files = {s.name: s.folder / "config.json" for s in run.stages}
    if not files and run.adapter is not None:
        files = {"adapter": run.adapter / "config.json"}
    for name, path in files.items():
        if path.is_file():
            text = escape(path.read_text())
            parts.append(
                f"<details><summary>{escape(name)}: <code>{escape(path.name)}</code></summary>"
                f'<pre tabindex="0" aria-label="configuration of {escape(name)}">{text}</pre>'
                "</details>"
            )
    return "".join(parts) + "</section>"
