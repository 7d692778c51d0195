"""Who looks at clips: judges behind one protocol, how they are asked, and how answers are read."""

from pila.evaluate.judges.base import Judge, JudgeFailed, Question, Turn

__all__ = ["Judge", "JudgeFailed", "Question", "Turn"]
