"""A disc of hot dense gas explodes: a cylindrical shock spreads as a ring, slows and weakens."""

from collections.abc import Mapping
from functools import partial

import numpy as np

from pila.lab.world.captions import choose, write_caption
from pila.lab.world.fit import polynomial_fit, relative
from pila.lab.world.render import background, pixel_centres, to_uint8
from pila.lab.world.scene import FRAME_RATE, Canvas, Clip, Fields
from pila.lab.world.solvers.euler import CYLINDRICAL, solve_euler
from pila.lab.world.solvers.riemann import GAMMA
from pila.physics.layout import Category, Slot

EXTENT = 1.2
"""Side of the view [m]."""
SOUND_SPEED = 0.16
"""Of the gas at rest [m/s]: a slow-motion film. Its density is 1 kg/m^3."""
WAVE_COLOURS = {
    "red": (160.0, -30.0, -35.0),
    "green": (-35.0, 150.0, -35.0),
    "blue": (-40.0, 0.0, 160.0),
    "orange": (160.0, 60.0, -45.0),
    "purple": (115.0, -40.0, 145.0),
}
"""Colour added where gas is compressed without bound; see `strength_of`."""
HALF = 0.35
"""Relative compression that is drawn in half of the full colour."""
BLASTS = {"weak": (3.5, 4.5), "strong": (11.0, 15.0)}
"""Pressure of the disc relative to the gas around it."""
DISCS = {"small": (0.12, 0.13), "big": (0.155, 0.165)}
"""Radius of the disc [m]."""
PLACES = {
    "in the centre": (0.0, 0.0),
    "left of the centre": (-0.11, 0.0),
    "right of the centre": (0.11, 0.0),
    "above the centre": (0.0, 0.11),
    "below the centre": (0.0, -0.11),
}
"""Offset from the middle of the view [m]."""
CELLS, REACH = 240, 0.75
"""Cells of the solver, and the radius up to which they reach [m]: no front comes there."""
SECTORS = 12
"""Directions in which the measure looks for the front."""

TEMPLATES = (
    "a {blast} blast {place} of the view sends out a {colour} ring from a {disc} disc of hot gas",
    "a {disc} disc of hot gas explodes {place}, a {blast} {colour} wave spreads as a ring",
    "a {blast} explosion of a {disc} gas disc {place}, its {colour} ring grows",
    "a {colour} ring of compressed air grows from a {blast} blast of a {disc} disc {place}",
    "{place} a {disc} disc of gas bursts and a {blast} {colour} blast wave runs outwards",
    "a {blast} blast wave, {colour} and round, spreads from a {disc} burst {place}",
    "the {colour} front of a {blast} blast expands from a {disc} hot disc {place}",
    "hot gas in a {disc} disc {place} blows up, a {blast} {colour} pressure ring spreads",
    "a {disc} charge {place} goes off with a {blast} blast, a {colour} ring widens",
    "an expanding {colour} ring after a {blast} blast of a {disc} disc {place}",
    "a {blast} {colour} shock ring leaves a {disc} disc of hot gas {place}",
    "air is compressed to a {colour} ring by a {blast} blast from a {disc} disc {place}",
    "a round {colour} wave from a {blast} explosion of a {disc} disc {place} slows and fades",
    "a {disc} bubble of hot gas explodes {place}, a {colour} ring carries the {blast} blast away",
    "a {blast} detonation of a {disc} disc {place}, the {colour} ring spreads on all sides",
    "seen from above, a {blast} blast from a {disc} disc {place} drives a {colour} ring",
    "a {colour} pressure wave spreads in a circle from a {disc} {blast} blast {place}",
    "a {disc} disc {place} bursts, the {colour} ring of its {blast} blast expands",
    "a {blast} blast of hot gas from a {disc} disc {place} pushes a {colour} ring outwards",
    "a {colour} blast ring, {blast}, widens around a {disc} burst of gas {place}",
    # held out
    "a {disc} disc of hot gas {place} explodes with a {blast} blast and a {colour} ring runs out",
    "a {blast} blast {place}, a {colour} ring spreads from a {disc} disc of gas",
    "the {colour} ring of a {blast} explosion widens from a {disc} disc {place}",
    "from a {disc} disc {place} a {blast} blast wave spreads, a round {colour} ring",
)

WORDS: Mapping[str, tuple[str, ...]] = {
    "colour": tuple(WAVE_COLOURS),
    "blast": tuple(BLASTS),
    "disc": tuple(DISCS),
    "place": tuple(PLACES),
}
"""What each gap of the templates may say."""


class BlastRing:
    """A cylindrical blast in an ideal gas, drawn by how far the gas is compressed."""

    name = "blast_ring"
    categories = (Category.COMPRESSIBLE,)
    violations = ("contracts", "accelerates", "stops", "oval", "strengthens", "jitter")
    laws = ("front_speed", "slows", "round", "weakens")
    templates = TEMPLATES
    words = WORDS

    def simulate(self, seed: int, violation: str | None, canvas: Canvas, held_out: bool) -> Clip:
        """One blast at time 0, solved along the radius and laid over the view."""
        draw = np.random.default_rng([16, seed])
        words = {gap: choose(draw, options) for gap, options in WORDS.items()}
        jump = draw.uniform(*BLASTS[words["blast"]])
        radius = draw.uniform(*DISCS[words["disc"]])
        heat = draw.uniform(2.2, 2.8)
        centre = EXTENT / 2 + np.array(PLACES[words["place"]]) + draw.uniform(-0.015, 0.015, 2)
        t = canvas.times
        clock, stretch, gain = _break(violation, t, seed)
        gas = blast(jump, heat, radius, clock)
        density = 1 + gain[:, None] * (gas[0] - 1)
        r, x, y = _distance(centre, stretch, canvas.size)
        strength = _on_view(strength_of(density), r, canvas.size)
        image = np.repeat(background(draw, canvas.size, 70, 95)[None], len(t), 0)
        image += strength[..., None] * WAVE_COLOURS[words["colour"]]
        return Clip(
            frames=to_uint8(image),
            caption=write_caption(TEMPLATES, words, draw, held_out),
            categories=self.categories,
            parameters={
                "seed": seed,
                "sound_speed": SOUND_SPEED,
                "pressure_ratio": jump,
                "temperature_ratio": heat,
                "radius": radius,
                "x0": centre[0],
                "y0": centre[1],
                **words,
            },
            violation=violation,
            metres=EXTENT,
            frame_rate=canvas.frame_rate,
            truth=partial(_truth, (density, *gas[1:]), (r, x, y), clock, stretch, t),
        )

    def measure(self, frames: np.ndarray) -> dict[str, float]:
        """Errors of the shock's speed, of its slowing, of its roundness and of its weakening, 0..1.

        All are 1 where fewer than four fifths of the frames [t, h, w, 3] show a ring.
        """
        seen, front, sectors, peak = read_ring(frames)
        if seen.mean() < 0.8:
            return dict.fromkeys(self.laws, 1.0)
        t = (np.arange(len(frames)) / FRAME_RATE)[seen]
        front, sectors, peak = front[seen], sectors[seen], peak[seen]
        # The first frames still show the disc itself: its gas is dense before any shock.
        ring = t >= t[0] + 0.2 * (t[-1] - t[0])
        speed = SOUND_SPEED * mach_number(peak)
        run = np.concatenate([[0.0], np.cumsum((speed[1:] + speed[:-1]) / 2 * np.diff(t))])
        late = (front - run)[ring]
        (_, first, bend), rest = polynomial_fit(t[ring] - t[0], front[ring], 2)
        travel = front[-1] - front[0]
        # Means of some frames, or noise would count as many small rises.
        crest = [part.mean() for part in np.array_split(peak[ring], 6)]
        rises, falls = (float(np.clip(s * np.diff(crest), 0, None).sum()) for s in (1, -1))
        misfit = float(np.sqrt((rest**2).mean()))
        grows = max(2 * bend, 0.0) * np.ptp(t[ring])
        known = np.isfinite(sectors)
        apart = np.where(known, sectors - front[:, None], 0.0)
        spread = np.sqrt((apart**2).sum(1) / np.maximum(known.sum(1), 1))
        return {
            "front_speed": relative(
                float(np.abs(late - late[0]).max()), run[-1] - run[~ring].max()
            ),
            "slows": relative(10 * misfit + grows, max(travel, 0.0)) if first > 0 else 1.0,
            "round": relative(4 * float(np.median(spread[ring])), float(np.median(front[ring]))),
            "weakens": relative(rises, falls),
        }


def strength_of(density: np.ndarray) -> np.ndarray:
    """Share of the full colour [0, 1) of gas of that density; rest and thinner gas have none."""
    excess = np.clip(density - 1, 0, None)
    return excess / (excess + HALF)


def mach_number(excess: np.ndarray) -> np.ndarray:
    """Mach number of a shock from its relative compression rho / rho_0 - 1 (Rankine-Hugoniot)."""
    ratio = 1 + np.clip(excess, 0, 3.0)
    return np.sqrt(2 * ratio / (GAMMA + 1 - (GAMMA - 1) * ratio))


def blast(jump: float, heat: float, radius: float, clock: np.ndarray) -> tuple[np.ndarray, ...]:
    """Density, velocity and pressure along the radius at each moment of `clock`, each [t, n].

    Args:
        jump: pressure of the disc over that around it.
        heat: temperature of the disc over that around it.
        radius: of the disc [m].
        clock: moments [s], in any order.
    """
    spacing = REACH / CELLS
    r = (np.arange(CELLS) + 0.5) * spacing
    # A rim two cells wide, free of the grid's steps.
    inside = np.clip(0.5 - (r - radius) / (2 * spacing), 0, 1)
    rest = SOUND_SPEED**2 / GAMMA
    times, order = np.unique(clock, return_inverse=True)
    gas = solve_euler(
        1 + (jump / heat - 1) * inside,
        np.zeros(CELLS),
        rest * (1 + (jump - 1) * inside),
        spacing=spacing,
        times=times,
        symmetry=CYLINDRICAL,
        open_end=True,
    )
    return tuple(f[order] for f in gas)


def read_ring(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What pixels tell of the ring: seen [t] bool, front radius [t] and by direction [t, s] [m],
    and the compression at its crest [t].

    The centre is that of the coloured area where it is smallest. The front is the outermost
    radius at which the colour falls to half of its crest; directions in which it has left the
    view are NaN.
    """
    strength = _read_strength(frames)
    t, size = strength.shape[:2]
    x, y = pixel_centres(size, EXTENT)
    solid = np.clip(strength - 0.12, 0, None)
    area = solid.sum((1, 2))
    safe = np.maximum(area, 1e-9)
    cx, cy = (solid * x).sum((1, 2)) / safe, (solid * y).sum((1, 2)) / safe
    wide = (solid * (x**2 + y**2)).sum((1, 2)) / safe - cx**2 - cy**2
    first = np.argsort(np.where(area > 0.2, wide, np.inf))[:3]
    dx, dy = x - np.median(cx[first]), y - np.median(cy[first])
    bins = int(np.ceil(0.75 * size))
    ring = np.minimum((np.hypot(dx, dy) * size / EXTENT).astype(int), bins)
    sector = np.floor(np.arctan2(dy, dx) / (2 * np.pi) * SECTORS).astype(int) % SECTORS
    cell = (sector * (bins + 1) + ring).ravel()
    count = np.bincount(cell, minlength=SECTORS * (bins + 1)).reshape(SECTORS, bins + 1)
    sums = [
        np.bincount(cell, frame.ravel(), minlength=SECTORS * (bins + 1)).reshape(count.shape)
        for frame in strength
    ]
    total, count = np.stack(sums)[..., :bins], count[:, :bins]
    # A direction counts at a radius where the view holds the whole arc.
    arc = 2 * np.pi * (np.arange(bins) + 0.5) / SECTORS
    whole = count > 0.75 * np.maximum(arc - 1, 1)
    profile = (total * whole).sum(1) / np.maximum((count * whole).sum(0), 1)
    profile[:, ~whole.any(0)] = 0
    front, crest = _outermost(profile, EXTENT / size)
    sectors = np.full((t, SECTORS), np.nan)
    for s in range(SECTORS):
        reach = int(np.argmin(whole[s, 4:])) + 4 if not whole[s, 4:].all() else bins
        line = total[:, s, :reach] / np.maximum(count[s, :reach], 1)
        edge, _ = _outermost(line, EXTENT / size)
        inside = edge < (reach - 6) * EXTENT / size
        sectors[inside, s] = edge[inside]
    share = np.clip(crest, 0, 0.85)
    return crest > 0.12, front, sectors, HALF * share / (1 - share)


def _read_strength(frames: np.ndarray) -> np.ndarray:
    """Share of full colour [t, h, w], by the wave colour that is nearest to the clip's own."""
    rgb = frames.astype(np.float64)
    tint = rgb - rgb.mean(-1, keepdims=True)
    strong = np.clip(np.abs(tint).sum(-1, keepdims=True) - 40, 0, None)
    own = (tint * strong).sum((0, 1, 2))
    colours = np.array(list(WAVE_COLOURS.values()))
    colours = colours - colours.mean(1, keepdims=True)
    length = np.linalg.norm(colours, axis=1)
    best = int(np.argmax(colours @ own / length))
    return tint @ (colours[best] / length[best] ** 2)


def _outermost(profile: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray]:
    """Outermost radius [t] at half of the crest, between bins, and the crest; `profile` [t, n]."""
    crest = profile.max(1)
    half = crest[:, None] / 2
    above = profile > half
    n = profile.shape[1]
    last = n - 1 - np.argmax(above[:, ::-1], axis=1)
    after = np.minimum(last + 1, n - 1)
    rows = np.arange(len(profile))
    inner, outer = profile[rows, last], profile[rows, after]
    part = np.clip((inner - half[:, 0]) / np.maximum(inner - outer, 1e-9), 0, 1)
    return (last + 0.5 + part) * step, crest


def _break(
    violation: str | None, t: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The moment that each frame shows [s], the ring's stretch along x, its gain, each [t]."""
    rng = np.random.default_rng([116, seed])
    clock, stretch, gain = t, np.ones_like(t), np.ones_like(t)
    if violation == "contracts":
        clock = t[::-1]
    elif violation == "accelerates":
        clock = t[-1] * (t / t[-1]) ** rng.uniform(1.9, 2.3)
    elif violation == "stops":
        clock = np.minimum(t, rng.uniform(0.3, 0.5) * t[-1])
    elif violation == "oval":
        wide = rng.uniform(0.22, 0.3) * np.clip(3 * t / t[-1], 0, 1)
        stretch = (1 + wide) ** rng.choice([-1, 1])
    elif violation == "strengthens":
        gain = 1 + rng.uniform(4.0, 6.0) * (t / t[-1]) ** 1.5
    elif violation == "jitter":
        clock = np.clip(t + rng.normal(0, 0.3, len(t)), 0, t[-1])
    return clock, stretch, gain


def _distance(
    centre: np.ndarray, stretch: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Radius and coordinates [t, h, w] about the centre, before the stretch."""
    x, y = pixel_centres(size, EXTENT)
    s = stretch[:, None, None]
    x, y = (x - centre[0]) / s, (y - centre[1]) * s
    return np.hypot(x, y), x, y


def _on_view(profile: np.ndarray, r: np.ndarray, size: int) -> np.ndarray:
    """Means over a pixel's width of an even profile along the radius [t, n], at `r` [t, h, w]."""
    spacing = REACH / CELLS
    total = np.concatenate([np.zeros((len(profile), 1)), np.cumsum(profile, 1) * spacing], 1)
    at = np.arange(CELLS + 1) * spacing
    low, high = at - EXTENT / size / 2, np.minimum(at + EXTENT / size / 2, REACH)
    out = np.empty_like(r)
    for k in range(len(r)):
        # The integral of an even profile is odd: beyond the axis it changes sign.
        below = np.sign(low) * np.interp(np.abs(low), at, total[k])
        mean = (np.interp(high, at, total[k]) - below) / (high - low)
        out[k] = np.interp(r[k], at, mean)
    return out


def _truth(
    gas: tuple[np.ndarray, ...],
    place: tuple[np.ndarray, np.ndarray, np.ndarray],
    clock: np.ndarray,
    stretch: np.ndarray,
    t: np.ndarray,
) -> tuple[Fields, Fields]:
    """Fields of the blast as drawn; at another pace the velocity is that pace times the true one.

    A stretched ring moves with its stretch: x = s X and y = Y / s.
    """
    r, x, y = place
    size = r.shape[1]
    density, velocity, pressure = gas
    cells = (np.arange(CELLS) + 0.5) * REACH / CELLS
    # Velocity over radius is even and finite on the axis.
    speed = _on_view(velocity * np.gradient(clock, t)[:, None] / cells, r, size)
    s, growth = (f[:, None, None] for f in (stretch, np.gradient(np.log(stretch), t)))
    d, p = _on_view(density, r, size), _on_view(pressure, r, size)
    fields: Fields = {
        Slot.VELOCITY: np.stack([s * x * (speed + growth), y / s * (speed - growth)]),
        Slot.PRESSURE: p[None],
        Slot.DENSITY: d[None],
        # In units of the gas at rest.
        Slot.TEMPERATURE: (p / d)[None] * (GAMMA / SOUND_SPEED**2),
    }
    return fields, {slot: np.ones((1, *r.shape)) for slot in fields}
