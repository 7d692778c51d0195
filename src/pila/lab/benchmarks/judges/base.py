"""What a judge is: frames and a question in, text out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from pila.lab.benchmarks.judges.frames import View


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question on one clip.

    Attributes:
        key: what its answer is filed under; unique among the questions asked.
        video: the clip.
        text: the whole question, with the form of the answer.
        answers: the name of its parser (`judges.answers.PARSERS`).
        frames: sampled evenly over the clip, its ends included.
        view: which of them are shown.
    """

    key: str
    video: Path
    text: str
    answers: str
    frames: int
    view: View = "all"


@dataclass(frozen=True, slots=True)
class Turn:
    """An answer that was refused, and what the judge is told about it."""

    reply: str
    fault: str


class JudgeFailed(Exception):
    """No answer to this question; others may still be answered. The message is the fault."""


class JudgeSilent(JudgeFailed):
    """No answer arrived at all: time-outs, overloads, broken replies."""


class Judge(Protocol):
    """Anything that answers a question about frames."""

    def describe(self) -> dict[str, Any]:
        """Everything that decides its answers, as JSON takes it: stated in results, and the key
        under which answers are kept."""
        ...

    def reply(
        self, frames: np.ndarray, text: str, turns: Sequence[Turn], choices: Sequence[str]
    ) -> str:
        """The answer to a question on frames [n, h, w, 3] uint8.

        Args:
            frames: in the order of time.
            text: the question.
            turns: earlier answers to it that did not fit.
            choices: the answers that would fit, for judges that weigh them.

        Raises:
            JudgeFailed: no answer to this question; JudgeSilent where none arrived.
            InputError: no question could be answered: no server, no such model.
        """
        ...
