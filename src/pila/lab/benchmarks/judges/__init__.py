"""Who looks at clips: judges behind one protocol, how they are asked, and how answers are read."""

from pila.lab.benchmarks.judges.base import Judge, JudgeFailed, JudgeSilent, Question, Turn

__all__ = ["Judge", "JudgeFailed", "JudgeSilent", "Question", "Turn"]
