"""The reports of `pila score` as text, as JSON, and as one HTML page."""

import base64
import html
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

HEADLINE = "steadiness of change"
_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:1rem}
h2{overflow-wrap:anywhere;font-size:1.2rem;margin:2.5rem 0 .3rem;padding-top:1rem;
border-top:2px solid #888}
table{border-collapse:collapse;margin:.5rem 0;width:100%;max-width:46rem}
td,th{padding:.2rem .8rem .2rem 0;text-align:left;border-bottom:1px solid #ddd;vertical-align:top}
tr.rest td{color:#767676}img{max-width:100%;height:auto;display:block;background:#fff}
.lead{font-size:1.1rem}.lead b{font-size:1.5rem}.none{font-size:1.5rem;font-weight:600}
p,li{overflow-wrap:anywhere}small{color:#555}
@media(max-width:40rem){table{font-size:.8rem;line-height:1.3}td,th{padding-right:.4rem}}
"""


def text(results: dict[str, Any]) -> str:
    """The reports as people read them on a terminal."""
    lines: list[str] = []
    for report in results["reports"]:
        lines += [f"{report.file}  {_seen(report)}", *(f"  {line}" for line in _lines(report)), ""]
    lines += [f"{name}  not scored: {why}" for name, why in results["failed"].items()]
    lines += [f"picture: {p}" for p in results["pictures"].values()]
    return "\n".join([*lines, results["note"]])


def as_json(results: dict[str, Any]) -> str:
    """The results as JSON: an object for one video, a list of them for several.

    Each has a report's keys; one that could not be read has `why_not` and null for the numbers.
    """
    about = {key: results[key] for key in ("adapter", "model", "calibrated", "note")}
    videos = [
        asdict(report) | {"picture": results["pictures"].get(report.file)} | about
        for report in results["reports"]
    ]
    nothing = {"overall": None, "change": None, "categories": {}}
    videos += [
        {"file": name, "why_not": why} | nothing | about for name, why in results["failed"].items()
    ]
    return json.dumps(videos[0] if len(videos) == 1 else videos)


def page(results: dict[str, Any]) -> str:
    """All reports as one HTML page, pictures within."""
    sections = "".join(
        f"<section><h2>{html.escape(report.file)}</h2><p><small>{html.escape(_seen(report))}"
        f"</small></p>{_section(report)}{_picture(results['pictures'].get(report.file))}</section>"
        for report in results["reports"]
    )
    failed = "".join(
        f"<li>{html.escape(name)}: {html.escape(why)}</li>"
        for name, why in results["failed"].items()
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>pila score</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style><h1>Physics report</h1>"
        f"<p>{html.escape(results['note'])}</p>{sections}"
        + (f"<h2>Not scored</h2><ul>{failed}</ul>" if failed else "")
        + "</html>\n"
    )


def _seen(report: Any) -> str:
    """What of a video was looked at."""
    windows = f"{report.windows} window{'s' * (report.windows != 1)}"
    said = f"{report.seconds:.1f} s, seen at {report.fps:.4g} frames per second, "
    said += f"{windows} of {report.frames} frames"
    if report.still and report.windows:
        said += f"; nothing moves in {report.still:.1f} s, which do not count"
    return said


def _lines(report: Any) -> list[str]:
    if report.why_not:
        return [f"{report.why_not}: there is no number"]
    lines = []
    change = report.change
    if change is None:
        lines.append(f"{HEADLINE}: too little changes to say")
    else:
        lines += [f"{HEADLINE}  {_headline(change)}", f"  {_measures(change)}"]
    if not report.as_calibrated:
        lines.append(_uncalibrated(report))
    lines.append(
        "counts  residual of                above true clips  worst at  AUC (0.5 is chance)"
    )
    for name, c in report.categories.items():
        mark = "*" if _counts(report, name) else ""
        lines.append(
            f"{mark:^6}  {name.replace('_', ' '):<13}{c.score:6.3f}  {_percent(c.among_true):>22}"
            f"  {c.worst:6.2f} s  {_worth(c)}"
        )
    return [*lines, f"overall {report.overall:.3f}: {_overall(report)}"]


def _section(report: Any) -> str:
    if report.why_not:
        return f'<p class="none">{html.escape(report.why_not)}</p><p>There is no number.</p>'
    change = report.change
    lead = f"<p>{HEADLINE}: too little changes to say</p>"
    if change is not None:
        number = "" if change.score is None else f"<b>{change.score:+.2f}</b> "
        lead = (
            f'<p class="lead">{HEADLINE} {number}{html.escape(_beside(change))}<br>'
            f"<small>{html.escape(_measures(change))}</small></p>"
        )
    if not report.as_calibrated:
        lead += f"<p>{html.escape(_uncalibrated(report))}</p>"
    rows = "".join(
        f"<tr{'' if _counts(report, name) else ' class=rest'}>"
        f"<td>{'*' if _counts(report, name) else ''}</td>"
        f"<td>{html.escape(name.replace('_', ' '))}</td><td>{c.score:.3f}</td>"
        f"<td>{_percent(c.among_true)}</td><td>{c.worst:.2f} s</td><td>{_worth(c)}</td></tr>"
        for name, c in report.categories.items()
    )
    return (
        f"{lead}<table><tr><th></th><th>residual of</th><th></th><th>above true clips</th>"
        f"<th>worst at</th><th>AUC</th></tr>{rows}</table>"
        f"<p>overall {report.overall:.3f}: {html.escape(_overall(report))}</p>"
    )


def _picture(path: str | None) -> str:
    if path is None:
        return ""
    data = base64.b64encode(Path(path).read_bytes()).decode()
    return f'<img alt="residuals over time and place" src="data:image/png;base64,{data}">'


def _headline(change: Any) -> str:
    number = "" if change.score is None else f"{change.score:+.2f}  "
    return number + _beside(change)


def _beside(change: Any) -> str:
    """What stands beside the number that is worth most."""
    parts = []
    if change.among_true is not None:
        parts.append(f"above {_percent(change.among_true)} of true clips")
    if change.worth is not None:
        parts.append(
            f"AUC {_worth(change)}: the number that tells most, the higher the likelier broken"
        )
    return ", ".join(parts) or "what it is worth was not measured"


def _measures(change: Any) -> str:
    return ", ".join(f"{name} {value:.2f}" for name, value in change.measures.items())


def _uncalibrated(report: Any) -> str:
    return (
        f"seen at {report.fps:.4g} frames per second in windows of {report.frames}, for which was "
        "not measured how well the numbers tell; compare it with clips that are seen alike"
    )


def _counts(report: Any, name: str) -> bool:
    return not report.labels or name in report.labels


def _overall(report: Any) -> str:
    counted = [c for name, c in report.categories.items() if _counts(report, name)]
    said = "the mean residual of the categories that count (*)"
    if all(c.near_chance for c in counted):
        one = "each of them is" if len(counted) > 1 else "it is"
        return f"{said}; {one} near chance, so it says nothing about whether the motion is true"
    if any(c.near_chance for c in counted):
        return f"{said}, without those near chance"
    return said


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.0f} %"


def _worth(report: Any) -> str:
    if report.worth is None:
        return "not measured"
    value, low, high = report.worth
    chance = ", near chance" if report.near_chance else ""
    return f"{value:.2f} [{low:.2f}, {high:.2f}]{chance}"
