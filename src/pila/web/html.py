"""Pieces of the page as HTML. Whatever a user wrote is escaped here, and only here."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pila.physics.layout import Category
from pila.web.job_queue import Progress
from pila.web.results import CLIP

PICTURES = {
    "bank.png": "The ten slots of the field bank, a row each, over time",
    "where.png": "Where in the picture the correction acts, over time",
    "correction.png": "Strength of the correction by denoising step and frame",
    "tokens.png": "Where ProPhy's token router sees each category, over time",
    "semantic.png": "Weights of ProPhy's semantic experts by pass",
}


def file_url(path: str | Path) -> str:
    """Where the page finds a file of its own; relative, so that a proxy may add a prefix."""
    return "gradio_api/file=" + quote(str(path))


def message(text: str, *, kind: str = "note") -> str:
    """A line about what happened; kind is note, done or error."""
    return f'<p class="pila-{kind}">{escape(text)}</p>' if text else ""


def progress(now: Progress) -> str:
    """A bar and words for a job under way; nothing for one that is over."""
    if now.state == "waiting":
        words = f"waiting; {now.ahead} before this one" if now.ahead else "begins"
        return f'<p class="pila-progress">{words}</p>'
    if now.state != "running":
        return ""
    percent = 100 * now.step // max(1, now.steps)
    return (
        f'<p class="pila-progress"><progress max="{now.steps}" value="{now.step}" '
        f'aria-label="Denoising steps">{percent} %</progress> {escape(now.doing)}</p>'
    )


def evidence(parse: Mapping[str, Any]) -> str:
    """Why the parser found its categories."""
    found = [
        f"<strong>{escape(_words(name))}</strong>"
        + (f" ({escape(', '.join(words))})" if (words := parse["evidence"].get(name)) else "")
        for name in parse["categories"]
    ]
    text = ", ".join(found) or "none; the routing goes without a prior"
    return f'<p class="pila-note">Found: {text}.</p>'


def player(report: Mapping[str, Any]) -> str:
    """Both clips beside each other, with one set of controls, which player.js moves."""
    files, settings = report["files"], report["settings"]
    clips = {"Frozen generator": files["frozen"], "Corrected": files["output"]}
    figures = "".join(
        f'<figure><figcaption>{name}</figcaption><video src="{file_url(path)}" muted playsinline '
        f'preload="auto" aria-label="Clip: {name.lower()}" width="{settings["width"]}" '
        f'height="{settings["height"]}"></video></figure>'
        for name, path in clips.items()
    )
    links = "".join(
        f'<a href="{file_url(files[key])}" download="{escape(name)}">{text}</a>'
        for key, name, text in (
            ("output", CLIP, "Corrected clip (mp4)"),
            ("frozen", "frozen.mp4", "Frozen clip (mp4)"),
            ("comparison", "both.mp4", "Both (mp4)"),
            ("settings", "settings.json", "Settings (JSON)"),
        )
    )
    return (
        f'<div class="pila-about"><p class="pila-prompt">{escape(report["prompt"])}</p>'
        f"{_about(report)}</div>"
        f'<pila-player data-fps="{settings["fps"]}" data-frames="{settings["num_frames"]}">'
        f'<div class="pila-pair">{figures}</div>{_controls(settings["num_frames"])}</pila-player>'
        f'<p class="pila-links"><span>Download:</span>{links}</p>'
    )


def _about(report: Mapping[str, Any]) -> str:
    """What became of the prompt, where the model knows its scenes: the caption, or a hint."""
    drawn_as, hint = report.get("drawn_as"), report.get("hint")
    drawn = (
        f"<p>drawn as: {escape(drawn_as)}</p>" if drawn_as not in (None, report["prompt"]) else ""
    )
    return drawn + (f"<p>{escape(hint)}</p>" if hint else "")


def _controls(frames: int) -> str:
    speeds = "".join(
        f'<option value="{value}">{words}</option>'
        for value, words in ((1, "1"), (0.5, "1/2"), (0.25, "1/4"), (0.125, "1/8"))
    )
    return (
        '<div class="pila-controls" role="group" aria-label="Playback of both clips">'
        '<button type="button" name="play">Play</button>'
        '<button type="button" name="back" aria-label="One frame back">&minus;1</button>'
        f'<input type="range" name="frame" min="0" max="{frames - 1}" step="1" '
        'aria-label="Frame of both clips">'
        '<button type="button" name="on" aria-label="One frame on">+1</button>'
        f'<output name="shown">frame 1 of {frames}</output>'
        f'<label>Speed <select name="speed">{speeds}</select></label>'
        '<label><input type="checkbox" name="repeat" checked> Repeat</label></div>'
    )


def routing(report: Mapping[str, Any]) -> str:
    """Routing weights as a table with bars; categories of the prompt are named as such."""
    weights: Mapping[str, float] = report["routing"]
    if not weights:
        return message("No routing: the adapter has no router, or its strength is 0.")
    top = max(*weights.values(), 1e-9)
    rows = "".join(
        f'<tr><th scope="row">{_words(name)}</th><td>{weight:.3f}</td>'
        f'<td><div class="pila-bar" style="width:{100 * weight / top:.0f}%"></div></td>'
        f"<td>{'named' if name in report['categories'] else ''}</td></tr>"
        for name, weight in sorted(weights.items(), key=lambda item: -item[1])
    )
    return (
        '<div class="pila-wide"><table><caption>Mean weight of each expert over the corrected '
        'steps; "named" are the categories that were given to the router.</caption><thead><tr>'
        '<th scope="col">expert</th><th scope="col">weight</th>'
        '<th scope="col"><span class="pila-hidden">bar</span></th><th scope="col">prior</th></tr>'
        f"</thead><tbody>{rows}</tbody></table></div>"
        f"<p>Root mean square of the correction: {report['correction_rms']:.4f} "
        "(latents have about 1).</p>"
    )


def laws(report: Mapping[str, Any]) -> str:
    """Law errors of both clips, where the prompt asks for a simulated scene."""
    if not report.get("laws"):
        return message(
            "No laws were measured: that takes a prompt for one of the simulated scenes, and a "
            "model that was trained on it, at a size that can be measured."
        )
    clips = list(report["laws"])
    names = list(dict.fromkeys(law for clip in clips for law in report["laws"][clip]))
    head = "".join(f'<th scope="col">{escape(clip)}</th>' for clip in clips)
    rows = "".join(
        f'<tr><th scope="row">{escape(_words(law))}</th>'
        + "".join(f"<td>{report['laws'][clip].get(law, float('nan')):.3f}</td>" for clip in clips)
        + "</tr>"
        for law in names
    )
    return (
        f'<div class="pila-wide"><table><caption>Errors of scene {escape(report["scene"])}, '
        "measured on the frames: 0 is obeyed, 1 is broken.</caption>"
        f'<thead><tr><th scope="col">law</th>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    )


def pictures(report: Mapping[str, Any], names: Sequence[str]) -> str:
    """Pictures that `pila.generate.pictures.draw` made, those of them that there are."""
    made = {Path(path).name: path for path in report["files"].get("explain", ())}
    shown = "".join(
        f'<figure class="pila-picture"><img src="{file_url(made[name])}" alt="{PICTURES[name]}">'
        f"<figcaption>{PICTURES[name]}</figcaption></figure>"
        for name in names
        if name in made
    )
    return shown or message("Nothing to draw: the adapter has no such part, or its strength is 0.")


def settings(report: Mapping[str, Any]) -> str:
    """What was in force, as a table."""
    given = {"categories": ", ".join(map(_words, report["categories"])) or "none"}
    given |= {k: v for k, v in report["settings"].items() if v is not None}
    given["model"], given["adapter"] = (Path(given[k]).name for k in ("model", "adapter"))
    given["seconds"] = ", ".join(f"{name} {value:.1f}" for name, value in report["seconds"].items())
    rows = "".join(
        f'<tr><th scope="row">{_words(name)}</th><td>{escape(str(value))}</td></tr>'
        for name, value in given.items()
    )
    return f'<div class="pila-wide"><table><tbody>{rows}</tbody></table></div>'


def gallery(reports: Mapping[str, Mapping[str, Any]]) -> str:
    """Cards of this session's results, the newest first; token -> report."""
    if not reports:
        return message("Clips of this session will be listed here.")
    cards = "".join(
        _card(token, number, report)
        for number, (token, report) in reversed(list(enumerate(reports.items(), 1)))
    )
    return f'<ul class="pila-gallery">{cards}</ul>'


def _card(token: str, number: int, report: Mapping[str, Any]) -> str:
    files = report["files"]
    strips = [path for path in files.get("explain", ()) if Path(path).name == "strip.png"]
    picture = f'<img src="{file_url(strips[0])}" alt="" loading="lazy">' if strips else ""
    prompt = escape(report["prompt"])
    return (
        f"<li>{picture}<p>{number}. {prompt} <small>seed {report['settings']['seed']}, "
        f"{report['settings']['steps']} steps</small></p><p class='pila-links'>"
        f'<button type="button" data-token="{token}" aria-label="Show clip {number}">Show</button>'
        f'<a href="{file_url(files["output"])}" download="{number}.mp4" '
        f'aria-label="Download clip {number} as mp4">mp4</a>'
        f'<a href="{file_url(files["settings"])}" download="{number}-settings.json" '
        f'aria-label="Download the settings of clip {number} as JSON">JSON</a></p></li>'
    )


def _words(name: str) -> str:
    return str(Category(name) if name in list(Category) else name).replace("_", " ")
