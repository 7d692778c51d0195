"""What `pila score` says of a video."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryReport:
    """One category of one video.

    Attributes:
        score: mean relative residual.
        among_true: share of the simulated world's true clips that score lower, 0 to 1; None
            without a calibration of this adapter.
        worth: area under the ROC curve on the simulated world, with its interval; None likewise.
        near_chance: whether that area says that the score tells nothing.
        terms: each relation's own score.
        worst: seconds into the video at which the category's relations break most, its two ends
            left out: derivatives are one-sided there, and the first latent frame holds one picture
            alone, so that true clips are at their worst there, too.
    """

    score: float
    among_true: float | None
    worth: list[float] | None
    near_chance: bool | None
    terms: dict[str, float]
    worst: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeReport:
    """How steadily one video changes, whatever it shows.

    Attributes:
        measures: drift, unevenness and jerkiness (`pila.score.steadiness`), means over windows.
        score: their weighted sum, the log odds of broken against true clips of the simulated
            world; None without a calibration of this VAE, as the next three.
        among_true: share of true clips that score lower, 0 to 1.
        worth: area under the ROC curve in scenes that the weights had not seen, with its interval.
        near_chance: whether that area says that the score tells nothing.
    """

    measures: dict[str, float]
    score: float | None = None
    among_true: float | None = None
    worth: list[float] | None = None
    near_chance: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoReport:
    """One video.

    Attributes:
        file: its path.
        why_not: why there are no numbers ("nothing moves"); None where there are.
        seconds: of it that were looked at.
        still: seconds of them in windows without motion, which do not count.
        fps: frames per second at which it was seen.
        frames: of a window.
        windows: in which something moves.
        as_calibrated: whether it was seen at the rate and length that the calibrations are of;
            otherwise nothing is known of what the numbers are worth.
        labels: categories that count; empty for all.
        change: how steadily it changes; the number that is worth most.
        overall: mean score of the categories that count, without the ones near chance if others
            are left; None without numbers.
        categories: all eight; empty without numbers.
        times: seconds of each value in `by_frame`.
        by_frame: by category, the score over time.
    """

    file: str
    why_not: str | None = None
    seconds: float
    still: float = 0.0
    fps: float
    frames: int
    windows: int
    as_calibrated: bool
    labels: list[str]
    change: ChangeReport | None = None
    overall: float | None = None
    categories: dict[str, CategoryReport] = field(default_factory=dict)
    times: list[float] = field(default_factory=list)
    by_frame: dict[str, list[float]] = field(default_factory=dict)
