"""A small replica of WISA-80K from the simulated world: its format, its sloppiness, its faults.

The data set cannot be fetched everywhere. This one has the same files, fields and habits, so that
everything that reads WISA-80K can be run and tested. It is no part of WISA-80K, and results on it
are results on the simulated world.

Two things differ from the original and are stated: clips are small, while `width` and `height`
hold a size as the original publishes it (the filters read it); each record's own field `replica`
has the true size, scene and seed, and README.txt in the folder says so, too.
"""

import copy
import hashlib
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pila.data.laws import DYNAMICS, OPTICS, THERMODYNAMICS, Law
from pila.errors import InputError
from pila.files import whole_folder
from pila.lab.world.registry import scene_named, simulate
from pila.lab.world.scene import FRAME_RATE, Canvas, Clip
from pila.physics.layout import Category
from pila.video import write_video

FIRST_SEED = 3_000_000
"""Training seeds, apart from those of `world.corpus` (from 1,000,000) and of evaluation (below)."""
SEEDS = 100_000
"""Seeds of scenes kept free for each seed of a replica."""
LEAST = 6
"""Sound clips that the faulty ones are made of."""
SIZE = 96
"""Pixels; the embedded model's own."""

LAW_OF_SCENE: Mapping[str, Law] = {
    "thrown_ball": Law.RIGID_BODY_MOTION,
    "gliding_puck": Law.RIGID_BODY_MOTION,
    "spinning_bar": Law.RIGID_BODY_MOTION,
    "rolling_ball": Law.RIGID_BODY_MOTION,
    "ball_collision": Law.COLLISION,
    "bouncing_ball": Law.COLLISION,
    "newtons_cradle": Law.COLLISION,
    "billiards": Law.COLLISION,
    "spring_mass": Law.ELASTIC_MOTION,
    "vibrating_beam": Law.ELASTIC_MOTION,
    "soft_ball": Law.DEFORMATION,
    "sloshing_tank": Law.LIQUID_MOTION,
    "dyed_vortex": Law.LIQUID_MOTION,
    "smoke_puff": Law.GAS_MOTION,
    "shock_tube": Law.GAS_MOTION,
    "blast_ring": Law.EXPLOSION,
    "boiling_pot": Law.VAPORIZATION,
    "freezing_front": Law.SOLIDIFICATION,
    "melting_disc": Law.MELTING,
    "ripples": Law.INTERFERENCE_AND_DIFFRACTION,
    "refraction": Law.REFRACTION,
    "mirror": Law.REFLECTION,
}
"""What each scene would have been collected for. Conduction of heat is no law of WISA-80K, so
hot_spot and contact_bodies have no place in a replica."""

_DESCRIPTIONS = {
    Law.RIGID_BODY_MOTION: "The body keeps its shape and follows inertia and gravity.",
    Law.COLLISION: "At contact the bodies exchange momentum within an instant and part.",
    Law.ELASTIC_MOTION: "A restoring force grows with the displacement, so it swings back.",
    Law.DEFORMATION: "Under the load the soft body changes its shape and recovers.",
    Law.LIQUID_MOTION: "The liquid flows without a gap and keeps its volume.",
    Law.GAS_MOTION: "The gas spreads from high to low pressure and mixes with the air.",
    Law.EXPLOSION: "The pressure is released at once and a front runs outwards.",
    Law.VAPORIZATION: "Heat turns the liquid into vapour, bubbles grow and rise.",
    Law.SOLIDIFICATION: "As heat is withdrawn the liquid turns solid behind a front.",
    Law.MELTING: "Heat flows into the solid, which turns liquid at its rim.",
    Law.INTERFERENCE_AND_DIFFRACTION: "Waves spread as rings and superpose.",
    Law.REFRACTION: "Light changes its speed and direction where it enters the medium.",
    Law.REFLECTION: "The angle of reflection equals the angle of incidence.",
}
_SUBSTANCES = {
    Law.LIQUID_MOTION: ("water", 0.998),
    Law.GAS_MOTION: ("air", 0.0012),
    Law.EXPLOSION: ("hot gas", 0.0003),
    Law.VAPORIZATION: ("water", 0.96),
    Law.SOLIDIFICATION: ("ice", 0.917),
    Law.MELTING: ("ice", 0.917),
}
_STATES = {
    Law.EXPLOSION: ("gas objects appearance",),
    Law.VAPORIZATION: ("gas objects appearance", "liquids objects appearance"),
    Law.SOLIDIFICATION: ("solid objects appearance",),
    Law.MELTING: ("liquids objects appearance", "object disappearance"),
}
_BRANCHES = (
    ("q0", "dynamic", DYNAMICS),
    ("q1", "thermodynamic", THERMODYNAMICS),
    ("q2", "optical", OPTICS),
)
_ACCURACY = {"q0": 0.84, "q1": 0.64, "q2": 0.71}
"""How often the annotation names the law that people saw (WISA's paper, App. A.6)."""
_SIZES = ((1280, 720), (1920, 1080), (854, 480), (720, 1280), (720, 720), (3000, 1688))
"""Published widths and heights, the bounds of the filter among them."""

NOMINAL = {"width": 1280, "height": 720, "text_bbox_num": 0}
"""What the faulty clips state that are not faulty in this."""

_LABEL_SPELLINGS: tuple[Callable[[str], str], ...] = (
    str,
    str,
    str,
    lambda law: law.capitalize() + " ",
    lambda law: law + ".",
    lambda law: law.title(),
    lambda law: law.replace(" ", "_"),
    lambda law: law.replace(" and ", " & "),
)
_LIST_SPELLINGS: tuple[Callable[[Sequence[str]], Any], ...] = (
    ", ".join,
    ", ".join,
    lambda names: ", ".join(names) + ".",
    lambda names: "\n".join(f"{i}. {name}" for i, name in enumerate(names, 1)),
    lambda names: " " + "; ".join(name.capitalize() for name in names),
    list,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """What a replica holds, for tests to hold readers to.

    Attributes:
        sound: names of the sound clips and the categories that the simulation knows.
        faulty: each fault's key and the name of the video that has it.
    """

    sound: Mapping[str, tuple[Category, ...]]
    faulty: Mapping[str, str]


@dataclass(slots=True)
class _Clip:
    """A video in the making: its record and its bytes."""

    record: dict[str, Any]
    data: bytes


def write_replica(
    root: Path | str,
    clips: int,
    *,
    seed: int = 0,
    size: int = SIZE,
    archives: int = 4,
    scenes: Sequence[str] = (),
) -> Replica:
    """Write `data/wisa-80k.json` and `data/videos/0.zip` ... with that many sound clips.

    Beside them lie: a video whose name is also in another archive, a record listed twice, an mp4
    that does not decode, one of zero bytes, a record without a video, a video without a record,
    an archive cut off in the middle, clips that the filters refuse (too short, too long, too
    narrow, too wide, with text), and a clip in which nothing moves. The same arguments give the
    same clips; names come from seed and place, not from the encoder's bytes.

    Args:
        root: a folder that does not exist, or is empty; it appears only when all is written.
        clips: sound clips, at least `LEAST`, scenes in turn.
        seed: another seed gives other clips.
        size: their height and width in pixels, a multiple of 16.
        archives: zip archives that can be read; one more is broken.
        scenes: names in `LAW_OF_SCENE`; all by default.

    Raises:
        InputError: a number out of bounds, an unknown scene or one without a law, a folder that
            is not empty, a full disk.
    """
    root = Path(root)
    if clips < LEAST:
        raise InputError(f"clips is {clips}; take at least {LEAST}, the faulty ones are made of")
    if clips > SEEDS:
        raise InputError(f"clips is {clips}; a replica is small, take at most {SEEDS}")
    if seed < 0:
        raise InputError(f"seed is {seed}; a seed is 0 or more")
    if archives < 2:
        raise InputError(f"archives is {archives}; a name repeats in another one, take at least 2")
    canvas = Canvas(size=size)
    chosen = [scene_named(name).name for name in scenes] or list(LAW_OF_SCENE)
    for name in chosen:
        if name not in LAW_OF_SCENE:
            raise InputError(
                f"scene {name} shows no law of WISA-80K; choose from {', '.join(LAW_OF_SCENE)}"
            )
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise InputError(f"{root} is not an empty folder; choose another one")
    with whole_folder(root.absolute()) as beside:
        return _write(beside, clips, seed, canvas, archives, chosen)


def _write(
    folder: Path, clips: int, seed: int, canvas: Canvas, archives: int, scenes: Sequence[str]
) -> Replica:
    made: list[_Clip] = []
    sound: dict[str, tuple[Category, ...]] = {}
    frames: list[np.ndarray] = []
    rng = np.random.default_rng([11, seed])
    for index in range(clips):
        scene = scenes[index % len(scenes)]
        clip = simulate(scene, FIRST_SEED + SEEDS * seed + index, canvas=canvas)
        frames.append(clip.frames)
        origin = {"scene": scene, "seed": FIRST_SEED + SEEDS * seed + index, "size": canvas.size}
        name = _video_name(f"{seed}-{index}")
        made.append(_clip(folder, clip, origin, name, rng))
        sound[name] = clip.categories
    faults: dict[str, _Clip] = {}

    def fault(
        kind: str, source: int, shown: np.ndarray | None = None, *, fps: float = FRAME_RATE, **said
    ) -> None:
        like = copy.deepcopy(made[source].record) | NOMINAL
        name, data = _video_name(f"{seed}-{kind}"), made[source].data
        if shown is not None:
            like |= _measured(shown, fps)
            data = _encoded(folder, shown, fps)
        faults[kind] = _Clip(like | {"video_name": name} | said, data)

    fault("corrupt", 0)
    fault("empty", 1)
    fault("missing", 2)
    fault("unlisted", 3)
    fault("short", 0, frames[0][:30])
    fault("long", 1, frames[1], fps=3)
    fault("narrow", 2, width=719, height=404)
    fault("wide", 3, width=3001, height=1688)
    fault("text", 4, text_bbox_num=2)
    still = np.repeat(frames[0][:1], len(frames[0]), axis=0)
    fault("still", 0, still, label="rigid body motion", captions="A ball lies on a table.")
    fault("broken_archive", 5)
    faults["corrupt"].data = _spoilt(faults["corrupt"].data)
    faults["empty"].data = b""
    faults["still"].record["physical_annotation"] = _annotation(Law.RIGID_BODY_MOTION, rng)
    packed = [clip for kind, clip in faults.items() if kind not in ("missing", "broken_archive")]
    shards = [made[i::archives] + packed[i::archives] for i in range(archives)]
    shards[-1].append(made[0])  # the first clip lies in archive 0 already
    listed = [clip.record for clip in made] + [copy.deepcopy(made[1].record)]
    listed += [clip.record for kind, clip in faults.items() if kind != "unlisted"]
    _mess_up(listed, made[2].record)
    order = rng.permutation(len(listed))
    videos = folder / "data" / "videos"
    videos.mkdir(parents=True)
    for number, shard in enumerate(shards):
        _pack(videos / f"{number}.zip", number, shard)
    last = videos / f"{archives}.zip"
    _pack(last, archives, [faults["broken_archive"]])
    last.write_bytes(last.read_bytes()[:-40])  # the directory, at the end, is cut off
    text = json.dumps([listed[i] for i in order], ensure_ascii=False, indent=1)
    (folder / "data" / "wisa-80k.json").write_text(text, encoding="utf-8")
    (folder / "README.txt").write_text(_README, encoding="utf-8")
    names = {kind: clip.record["video_name"] for kind, clip in faults.items()}
    first, second = (clip.record["video_name"] for clip in made[:2])
    return Replica(sound=sound, faulty=names | {"copy": first, "repeated": second})


def _clip(
    folder: Path, clip: Clip, origin: Mapping[str, Any], name: str, rng: np.random.Generator
) -> _Clip:
    """A sound clip's video and record, as the original would have it."""
    law = LAW_OF_SCENE[origin["scene"]]
    width, height = _SIZES[rng.integers(len(_SIZES))]
    record = {
        "video_name": name,
        "captions": f"The video shows a scene: {clip.caption}. The camera does not move, and the "
        "background is plain and grey.",
        "label": _LABEL_SPELLINGS[rng.integers(len(_LABEL_SPELLINGS))](law),
        "width": width,
        "height": height,
        **_measured(clip.frames, FRAME_RATE),
        "visual_quality_score": round(float(rng.uniform(4, 6.5)), 3),
        "text_bbox_num": int(rng.integers(2)),
        "text_bbox_ratio": 0.0,
        "physical_annotation": _annotation(law, rng),
        "replica": dict(origin),
    }
    return _Clip(record, _encoded(folder, clip.frames, FRAME_RATE))


def _video_name(key: str) -> str:
    return hashlib.sha256(f"pila replica {key}".encode()).hexdigest() + ".mp4"


def _measured(frames: np.ndarray, fps: float) -> dict[str, float]:
    """What a record states of the video's time and motion."""
    steps = np.abs(np.diff(frames.astype(np.float32).mean(-1), axis=0))
    return {
        "fps": fps,
        "duration": len(frames) / fps,
        # Of the hundredth of the picture that changes most: small things move, too.
        "motion_score": round(float(np.percentile(steps, 99, axis=(1, 2)).mean()), 4),
        "motion_score_v2": round(float(steps.mean()), 4),
    }


def _encoded(folder: Path, frames: np.ndarray, fps: float) -> bytes:
    part = folder / "clip.mp4"
    write_video(part, frames, fps=fps)
    data = part.read_bytes()
    part.unlink()
    return data


def _annotation(law: Law, rng: np.random.Generator) -> dict[str, Any]:
    """What a language model would have written, as often wrong as WISA's paper measured."""
    substance, density = _SUBSTANCES.get(law, ("rubber", 1.1))
    said: dict[str, Any] = {
        "phys_law": _DESCRIPTIONS[law],
        "n0": f"{substance}: {density} g/cm³",
        "n1": "0 to 2 seconds",
        "n2": "20 to 30 degrees celsius",
        "quantify_n0": [[density, density]],
        "quantify_n1": [0.0, 2.0],
        "quantify_n2": [20.0, 30.0],
    }
    for name, branch, laws in _BRANCHES:
        if law not in laws:
            said[name] = f"no obvious {branch} phenomenon" + "." * int(rng.integers(2))
            continue
        others = [other for other in laws if other is not law]
        names = [str(law)] if rng.random() < _ACCURACY[name] else []
        if not names or rng.random() < 0.2:
            names.append(str(others[rng.integers(len(others))]))
        said[name] = _LIST_SPELLINGS[rng.integers(len(_LIST_SPELLINGS))](names)
    said["q3"] = ("no", "No.", "no ")[rng.integers(3)]
    states = _STATES.get(law, ("no change",))
    said["q4"] = _LIST_SPELLINGS[rng.integers(len(_LIST_SPELLINGS))](states)
    return said


def _mess_up(listed: Sequence[dict[str, Any]], record: dict[str, Any]) -> None:
    """Faults of form that need no clip of their own: numbers as text, a word that is no law."""
    for entry in listed[::5]:
        entry["width"] = str(entry["width"])
        entry["duration"] = f"{entry['duration']} "
    record["physical_annotation"] |= {"q2": "sparkling"}


def _spoilt(data: bytes) -> bytes:
    """An mp4 whose head is right and whose rest is not."""
    return data[:64] + b"\x00\xff" * ((len(data) - 64) // 2)


def _pack(path: Path, number: int, clips: Sequence[_Clip]) -> None:
    """A zip archive as the original packs them: stored, deep folders, one date for all."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for clip in clips:
            name = f"home/jovyan/data/wisa/128_split/{number}/{clip.record['video_name']}"
            archive.writestr(zipfile.ZipInfo(name, (2025, 3, 1, 0, 0, 0)), clip.data)


_README = """A replica of WISA-80K's format, made by `pila data replica` from simulated scenes.
No video or text of WISA-80K is in it.

In data/wisa-80k.json, width and height state a size as WISA-80K publishes it, since its filters
read them; the clips are small. The field "replica" of each record, which the original does not
have, states their true size in pixels, the scene and its seed. Some records and videos are broken
on purpose, as in the original: docs/wisa.md of pila lists them.
"""
