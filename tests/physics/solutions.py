"""An exact or manufactured solution for every term, on a box away from symmetric points.

Each solution makes every piece of its balance different from zero, so that a wrong sign or
coefficient of any piece shows. Amplitudes and coefficients differ from 1 on purpose.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pila.physics import Calculus, Coefficients, Slot

K = Coefficients(
    wave_speed=1.3,
    diffusivity=0.3,
    viscosity=0.6,
    latent_heat=0.7,
    stiffness=1.7,
    rest_density=1.4,
)
BOX = {"t": (0.1, 1.3), "y": (0.2, 2.0), "x": (0.3, 2.3)}

Fields = dict[str, Tensor]
Solve = Callable[[Tensor, Tensor, Tensor], Fields]


@dataclass(frozen=True, kw_only=True)
class Solution:
    """Fields that satisfy one term's relation; `exact` where even the discrete residual is 0."""

    term: str
    name: str
    solve: Solve
    exact: bool

    def on_grid(self, n: int) -> tuple[Calculus, dict[Slot, Tensor]]:
        """The operators and canonical fields on n points per axis."""
        t, y, x = torch.meshgrid(*(torch.linspace(*BOX[axis], n) for axis in "tyx"), indexing="ij")
        steps = {f"d{axis}": (end - start) / (n - 1) for axis, (start, end) in BOX.items()}
        return Calculus(**steps), {
            Slot(slot): field[None] for slot, field in self.solve(x, y, t).items()
        }


SOLUTIONS: list[Solution] = []


def solves(*terms: str, exact: bool = False) -> Callable[[Solve], Solve]:
    def add(solve: Solve) -> Solve:
        name = solve.__name__
        SOLUTIONS.extend(Solution(term=t, name=name, solve=solve, exact=exact) for t in terms)
        return solve

    return add


def stacked(*components: Tensor) -> Tensor:
    return torch.stack(torch.broadcast_tensors(*components))


@solves("kinematic_consistency")
def oscillation(x: Tensor, y: Tensor, t: Tensor) -> Fields:
    a, b = x.sin() * y.cos(), (x + y).cos()
    return {
        "displacement": stacked(a * (2 * t).sin(), b * t.cos()),
        "velocity": stacked(2 * a * (2 * t).cos(), -b * t.sin()),
    }


@solves("low_strain", "rigid_motion", exact=True)
def rotation(x: Tensor, y: Tensor, t: Tensor) -> Fields:
    turn = stacked(0.4 - y, x - 0.2) * (1 + t)
    return {"displacement": turn, "velocity": turn, "strain": torch.zeros_like(turn[[0, 0, 0]])}


@solves("stress_strain_closure", exact=True)
def hooke(x: Tensor, y: Tensor, t: Tensor) -> Fields:
    strain = stacked(x.sin() * t, y.cos() * t, (x * y).sin())
    return {"strain": strain, "stress": K.stiffness * strain}


@solves("displacement_wave", "velocity_wave", "wave_propagation")
def standing_waves(x: Tensor, y: Tensor, t: Tensor) -> Fields:
    """cos(k·x) cos(c|k|t) for k = (1, 2) and (2, 1)."""
    beat = (K.wave_speed * 5**0.5 * t).cos()
    waves = stacked((x + 2 * y).cos() * beat, (2 * x + y).sin() * beat)
    return {"displacement": waves, "velocity": waves, "wave": waves[:1]}


@solves("displacement_wave", "velocity_wave", "wave_propagation")
def travelling_waves(x: Tensor, y: Tensor, t: Tensor) -> Fields:
    """f(n·x - ct) for a slanted n, d'Alembert's solution."""
    s = 0.6 * x + 0.8 * y - K.wave_speed * t
    waves = stacked(torch.exp(-s * s), (2 * s).sin())
    return {"displacement": waves, "velocity": waves, "wave": waves[:1]}


@solves("deformation_compatibility")
def shear(x: Tensor, y: Tensor, t: Tensor) -> Fields:
    d = stacked(x.sin() * y.cos(), (x + 2 * y).sin()) * (1 + t)
    xx, yy = x.cos() * y.cos(), 2 * (x + 2 * y).cos()
    xy = ((x + 2 * y).cos() - x.sin() * y.sin()) / 2
    return {"displacement": d, "strain": stacked(xx, yy, xy) * (1 + t)}


@solves("mass_continuity")
def breathing_gas(x: Tensor, y: Tensor, t: Tensor) -> Fields:
    """A momentum field m(x, y) cos t and the density 3 - div m sin t that it leaves."""
    momentum = stacked(x.sin() * y.cos(), 0.5 * x.cos() * y.sin()) * t.cos()
    density = 3 - 1.5 * x.cos() * y.cos() * t.sin()
    return {"density": density[None], "velocity": momentum / density}


@solves("momentum_balance")
def taylor_green(x: Tensor, y: Tensor, t: Tensor) -> Fields:
    """The decaying Taylor-Green vortex at density 1.5."""
    rho = 1.5
    decay = torch.exp(-2 * K.viscosity / rho * t)
    pressure = -rho / 4 * ((2 * x).cos() + (2 * y).cos()) * decay**2
    return {
        "velocity": stacked(x.cos() * y.sin(), -x.sin() * y.cos()) * decay,
        "pressure": pressure[None],
        "density": torch.full_like(pressure[None], rho),
    }


@solves("momentum_balance")
def uneven_jet(x: Tensor, y: Tensor, t: Tensor) -> Fields:
    """u = (cos x e^-t, 0) through the density 2 + sin x; the pressure follows by integration."""
    s, e = x.sin(), torch.exp(-t)
    pressure = e * (2 * s + s**2 / 2) + e**2 * (s**2 + s**3 / 3) - K.viscosity * s * e
    return {
        "velocity": stacked(x.cos() * e, torch.zeros_like(x)),
        "pressure": pressure[None],
        "density": (2 + s)[None],
    }


@solves("compression_dynamics")
def sound(x: Tensor, y: Tensor, t: Tensor) -> Fields:
    """u = ∇ψ and p = -ρ₀ ∂ψ/∂t for ψ = sin x sin 2y cos 2t."""
    beat = (2 * t).cos()
    velocity = stacked(x.cos() * (2 * y).sin(), 2 * x.sin() * (2 * y).cos()) * beat
    pressure = 2 * K.rest_density * x.sin() * (2 * y).sin() * (2 * t).sin()
    return {"velocity": velocity, "pressure": pressure[None]}


@solves("pressure_density_closure", exact=True)
def barotropic(x: Tensor, y: Tensor, t: Tensor) -> Fields:
    density = 2 + x.sin() * y.cos() * t
    return {"density": density[None], "pressure": K.wave_speed**2 * density[None]}


@solves("phase_transport")
def drifting_blob(x: Tensor, y: Tensor, t: Tensor) -> Fields:
    """φ(x - X(t)) carried by u = X'(t) along a curved path."""
    a, b = x - 1.2 - t.sin() / 2, y - 1 + t**2 / 2
    u = stacked(t.cos() / 2, -t)
    return {"velocity": u, "phase": torch.exp(-a * a - b * b)[None]}


@solves("thermal_phase_coupling")
def melting(x: Tensor, y: Tensor, t: Tensor) -> Fields:
    """T = e^t sin x sin y in the flow (sin y, 2 sin x); φ takes up what the balance leaves."""
    s, u, v = x.sin() * y.sin(), y.sin(), 2 * x.sin()
    carried = u * x.cos() * y.sin() + v * x.sin() * y.cos()
    phase = -(s + carried + 2 * K.diffusivity * s) / K.latent_heat * t.exp()
    return {
        "velocity": stacked(u, v),
        "temperature": (s * t.exp())[None],
        "phase": phase[None],
    }


@solves("density_phase_closure", exact=True)
def occupancy(x: Tensor, y: Tensor, t: Tensor) -> Fields:
    phase = torch.sigmoid(4 * (x + y - 1 - t))[None]
    return {"phase": phase, "density": phase.clone()}


@solves("impulse_response")
def push(x: Tensor, y: Tensor, t: Tensor) -> Fields:
    a, b = torch.exp(-((x - 1) ** 2) - (y - 1) ** 2), (x - y).sin()
    return {
        "velocity": stacked(a * t.sin(), b * torch.exp(-t)),
        "impulse": stacked(a * t.cos(), -b * torch.exp(-t)),
    }


@solves("contact_compression")
def squeeze(x: Tensor, y: Tensor, t: Tensor) -> Fields:
    """A displacement that converges everywhere, at the rate of the impulse's magnitude."""
    a, b = 1 + t.sin(), torch.exp(-t)
    activity = a * (1.2 + x.cos()) + b * (1.5 + (2 * y).cos())
    displacement = stacked(-a * (1.2 * x + x.sin()), -b * (1.5 * y + (2 * y).sin() / 2))
    return {"displacement": displacement, "impulse": activity * stacked(x.cos(), x.sin())}


@solves("heat_transport")
def carried_heat(x: Tensor, y: Tensor, t: Tensor) -> Fields:
    """T = 2 + e^-t sin x sin y with the flux uT whose divergence closes the balance."""
    e = torch.exp(-t)
    temperature = 2 + e * x.sin() * y.sin()
    flux = (1 - 2 * K.diffusivity) / 2 * e * stacked(-x.cos() * y.sin(), -x.sin() * y.cos())
    return {"temperature": temperature[None], "velocity": flux / temperature}


@solves("heat_transport")
def spreading_gaussian(x: Tensor, y: Tensor, t: Tensor) -> Fields:
    """The heat kernel, begun 0.5 before 0, in a uniform wind."""
    age, u, v = 4 * K.diffusivity * (t + 0.5), 0.6, -0.4
    a, b = x - 1 - u * t, y - 1 - v * t
    wind = stacked(torch.full_like(x, u), torch.full_like(x, v))
    return {"temperature": (torch.exp(-(a * a + b * b) / age) / age)[None], "velocity": wind}


@solves(
    "pressure_regularity",
    "density_stability",
    "gradient_regularity",
    "support_regularity",
    "impulse_propagation",
    "thermal_regularity",
    "support_smoothness",
)
def smooth(x: Tensor, y: Tensor, t: Tensor) -> Fields:
    """Fields of long waves: refining the grid makes each cell its neighbours' mean."""
    scalar = 2 + (x + 2 * y - t).sin() * (1 + y.cos() / 2)
    vector = stacked(scalar * x.cos(), scalar * y.sin())
    slots = ("pressure", "density", "temperature", "phase")
    return dict.fromkeys(slots, scalar[None]) | {"velocity": vector, "impulse": vector}


@solves("support_gating", exact=True)
def lit_window(x: Tensor, y: Tensor, t: Tensor) -> Fields:
    """A wave that is zero outside a sharp support."""
    window = (x > 1) & (y < 1.5)
    phase = window.to(x)
    return {"phase": phase[None], "wave": (phase * (3 * x - 4 * t).sin())[None]}
