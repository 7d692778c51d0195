"""Asks a judge all questions: kept answers first, misfits asked again, the unanswered named."""

import logging
from collections.abc import Sequence
from typing import Any

from pila.errors import InputError
from pila.files import cache_root
from pila.lab.benchmarks.judges.answers import PARSERS
from pila.lab.benchmarks.judges.base import Judge, JudgeFailed, JudgeSilent, Question, Turn
from pila.lab.benchmarks.judges.frames import sampled, viewed
from pila.lab.benchmarks.reading import listed, read_entries
from pila.lab.benchmarks.records import digest_of, sha256, write_json
from pila.progress import progress_bar

logger = logging.getLogger(__name__)
ATTEMPTS = 3
"""Times that a question is asked before it counts as unanswered."""
IN_A_ROW = 5
"""Questions to which nothing came back, one after the other, until the judge is taken as gone."""


def ask_all(judge: Judge, questions: Sequence[Question], *, cache: bool = True) -> dict[str, int]:
    """The values of all answers, by the question's key.

    Answers are kept by judge, clip and question, so that a stopped run goes on.

    Args:
        judge: who answers.
        questions: with unique keys.
        cache: False neither reads nor writes kept answers.

    Raises:
        InputError: questions that were not answered, by key with the last fault; what was answered
            is kept, and asking again asks the rest alone.
    """
    about = judge.describe()
    hashes = {path: sha256(path) for path in dict.fromkeys(q.video for q in questions)}
    values: dict[str, int] = {}
    faults: dict[str, str] = {}
    lost = 0
    held: tuple[Any, Any] = (None, None)
    for question in progress_bar(questions, unit="question"):
        text = f"{question.text}\n\n{PARSERS[question.answers].form}"
        key = [about, hashes[question.video], question.frames, question.view, text]
        place = cache_root() / "judge" / f"{digest_of(key)}.json"
        if cache and place.is_file() and (kept := _kept(place, question)) is not None:
            values[question.key] = kept
            continue
        if held[0] != (question.video, question.frames):
            held = ((question.video, question.frames), sampled(question.video, question.frames))
        try:
            reply, value = _ask(judge, question, text, viewed(held[1], question.view))
        except JudgeFailed as error:
            faults[question.key] = str(error)
            logger.warning("judge: %s: %s", question.key, error)
            lost = lost + 1 if isinstance(error, JudgeSilent) else 0
            if lost >= IN_A_ROW:
                break
            continue
        lost = 0
        values[question.key] = value
        if cache:
            write_json(place, {"reply": reply, "judge": about, "question": text})
    if faults:
        named = listed(f"{key} ({fault})" for key, fault in faults.items())
        stopped = len(values) + len(faults) < len(questions)
        raise InputError(
            f"{len(faults)} of {len(questions)} questions have no answer: {named}"
            f"{'; the rest was not asked' if stopped else ''}; run the same command again to ask "
            "these alone, or use another judge"
        )
    return values


def judged_by(judge: Judge, questions: Sequence[Question], prompts: str) -> dict[str, Any]:
    """The protocol of judged clips: judge, questions, and the hash of the prompt list."""
    return {
        "judge": judge.describe(),
        "questions": questions_digest(questions),
        "prompts": prompts,
    }


def questions_digest(questions: Sequence[Question]) -> dict[str, Any]:
    """What results state about questions: frames, views, parsers and a hash of all texts."""
    return {
        "frames": sorted({q.frames for q in questions}),
        "views": sorted({q.view for q in questions}),
        "parsers": sorted({PARSERS[q.answers].name for q in questions}),
        "texts": digest_of(sorted((q.key, q.text, PARSERS[q.answers].form) for q in questions)),
    }


def _ask(judge: Judge, question: Question, text: str, frames: Any) -> tuple[str, int]:
    parser = PARSERS[question.answers]
    turns: list[Turn] = []
    for _ in range(ATTEMPTS):
        reply = judge.reply(frames, text, turns, parser.choices)
        try:
            return reply, parser.read(reply)
        except ValueError as error:
            turns = [Turn(reply, str(error))]
    raise JudgeFailed(f"{turns[0].fault}, {ATTEMPTS} times")


def _kept(place: Any, question: Question) -> int | None:
    """A kept answer's value; None where it does not read any more."""
    try:
        return PARSERS[question.answers].read(read_entries(place, dict)["reply"])
    except (InputError, ValueError, KeyError, TypeError) as error:
        logger.warning(
            "judge: the kept answer %s is unreadable and is asked again (%s)", place, error
        )
        return None
