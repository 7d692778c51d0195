"""A new judge: it measures how much moves, and says yes where the frames change enough."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pila.lab.benchmarks.judges import Judge, Question, Turn
from pila.lab.benchmarks.judges.asking import ask_all
from pila.lab.world import simulate
from pila.video import write_video


class MotionJudge:
    """No language model: frames in, an answer that fits out."""

    def describe(self) -> dict[str, Any]:
        """What decides the answers; stated in results, and the key of kept ones."""
        return {"judge": "mean change of grey level", "threshold": 0.2}

    def reply(
        self, frames: np.ndarray, text: str, turns: Sequence[Turn], choices: Sequence[str]
    ) -> str:
        """The answer to one question on frames [n, h, w, 3] uint8."""
        change = np.abs(np.diff(frames.astype(float).mean(-1), axis=0)).mean()
        return "yes" if change > 0.2 else "no"


judge: Judge = MotionJudge()
moving = simulate("thrown_ball", 0).frames
clips = {"moving": moving, "still": np.repeat(moving[:1], len(moving), axis=0)}
questions = []
for name, frames in clips.items():
    write_video(Path(f"{name}.mp4"), frames, fps=16)
    text, file = "Does anything move?", Path(f"{name}.mp4")
    questions.append(Question(key=name, video=file, text=text, answers="yes", frames=8))
print(ask_all(judge, questions, cache=False))  # 1 is yes
