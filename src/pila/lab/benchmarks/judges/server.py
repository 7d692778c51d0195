"""A judge behind any OpenAI-compatible server that takes images; the frames go as JPEG."""

import base64
import io
import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pila.errors import InputError
from pila.lab.benchmarks.judges.base import JudgeFailed, JudgeSilent, Turn
from pila.labels.chat import Chat, ChatFailed, ChatTransient, Deadline, Message, again
from pila.network import check_address, shown_address

KEY_VARIABLE = "PILA_JUDGE_API_KEY"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """Which server and model to ask.

    Attributes:
        base_url: the address up to and including the version, ".../v1".
        model: the model's name there.
        api_key: sent as a bearer token; local servers ignore it.
        timeout: seconds that one try at an answer may take, its requests and reads together.
        retries: further requests after a time-out or an overload.
        pause: seconds before the first of them, doubled each time.
        longest_side: frames are made smaller to this, in pixels.
        quality: of the JPEG files, 1 to 95.
        max_tokens: of an answer.
    """

    base_url: str
    model: str
    api_key: str = field(default="not-needed", repr=False)
    timeout: float = 120.0
    retries: int = 3
    pause: float = 2.0
    longest_side: int = 512
    quality: int = 90
    max_tokens: int = 1024

    def __post_init__(self) -> None:
        check_address(self.base_url, "the judge's address")
        if not self.model:
            raise InputError("no judge model is named (0 of 1); give --judge-model")
        if not (self.api_key.isascii() and self.api_key.isprintable()):
            raise InputError(f"{KEY_VARIABLE} holds characters that no key has; set it again")
        if not (math.isfinite(self.timeout) and self.timeout > 0):
            raise InputError(f"the judge's timeout is {self.timeout} s; it must be above 0")
        if self.retries < 0 or self.pause < 0:
            raise InputError(f"retries is {self.retries}, pause {self.pause}; use 0 or more")
        if not 1 <= self.quality <= 95 or self.longest_side < 16:
            raise InputError(
                f"quality is {self.quality}, longest_side {self.longest_side}; use 1 to 95, and 16 "
                "or more"
            )

    @classmethod
    def resolve(cls, base_url: str | None, model: str | None, **options: Any) -> "ServerConfig":
        """Completes the arguments from PILA_JUDGE_BASE_URL, PILA_JUDGE_MODEL, PILA_JUDGE_API_KEY.

        No other key is ever sent.

        Raises:
            InputError: no address or no model is named, or a value is out of its bounds.
        """
        address = base_url or os.environ.get("PILA_JUDGE_BASE_URL", "").strip()
        name = model or os.environ.get("PILA_JUDGE_MODEL", "").strip()
        if not address or not name:
            what = "model" if address else "address"
            raise InputError(
                f"the judge server's {what} is not named; give --base-url and --judge-model, or "
                "set PILA_JUDGE_BASE_URL and PILA_JUDGE_MODEL"
            )
        key = os.environ.get(KEY_VARIABLE, "").strip()
        return cls(base_url=address, model=name, **({"api_key": key} if key else {}), **options)


class ServerJudge:
    """Asks a server about each question in a request of its own, at temperature 0."""

    def __init__(self, config: ServerConfig) -> None:
        self.config = config
        self._chat = Chat(config.base_url, config.model, config.api_key)

    def describe(self) -> dict[str, Any]:
        """The model and how frames are sent; a server does not tell its weights."""
        c = self.config
        return {
            "kind": "server",
            "model": c.model,
            "base_url": c.base_url,
            "temperature": 0,
            "longest_side": c.longest_side,
            "jpeg_quality": c.quality,
            "max_tokens": c.max_tokens,
        }

    def reply(
        self, frames: np.ndarray, text: str, turns: Sequence[Turn], choices: Sequence[str]
    ) -> str:
        """The answer to a question on frames [n, h, w, 3] uint8.

        Raises:
            JudgeSilent: only time-outs, overloads or replies without text, `retries` + 1 times.
            JudgeFailed: the answer was cut off at the limit of length.
            InputError: no connection, or the server refuses the request.
        """
        c = self.config
        messages = self._messages(frames, text, turns)
        fault = ""
        for attempt in range(c.retries + 1):
            if attempt:
                time.sleep(c.pause * 2 ** (attempt - 1))
            try:
                answer = self._chat.complete(
                    messages,
                    deadline=Deadline.after(c.timeout),
                    json_object=False,
                    max_tokens=c.max_tokens,
                )
            except ChatTransient as error:
                fault = str(error)
                continue
            except ChatFailed as error:
                raise InputError(
                    f"judge {c.model} at {shown_address(c.base_url)}: {error}; check the "
                    "server, its key and that the model takes images"
                ) from error
            if answer.cut:
                raise JudgeFailed(f"the answer was cut off at {c.max_tokens} tokens")
            return answer.text
        raise JudgeSilent(f"{fault}, {c.retries + 1} times")

    def _messages(self, frames: np.ndarray, text: str, turns: Sequence[Turn]) -> list[Message]:
        pictures = [
            {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{self._jpeg(f)}"}}
            for f in frames
        ]
        told = f"The pictures are {len(frames)} frames of one video, in the order of time.\n{text}"
        messages: list[Message] = [
            {"role": "user", "content": [*pictures, {"type": "text", "text": told}]}
        ]
        for turn in turns:
            told = f"Your answer was refused: {turn.fault}. Answer again, in the form asked for."
            messages = again(messages, turn.reply, told)
        return messages

    def _jpeg(self, frame: np.ndarray) -> str:
        from PIL import Image

        picture, side = Image.fromarray(frame), self.config.longest_side
        picture.thumbnail((side, side))
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=self.config.quality)
        return base64.b64encode(buffer.getvalue()).decode()
