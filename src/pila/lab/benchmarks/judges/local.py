"""A judge on this machine: any vision-language model that transformers knows.

Weights are safetensors, code from a repository is never run, nothing is unpickled.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pila.errors import InputError
from pila.lab.benchmarks.judges.base import JudgeFailed, Turn
from pila.pipelines.repository import check_model_folder
from pila.provenance import weights_hash
from pila.snapshots import download

Way = Literal["write", "choose"]


class LocalJudge:
    """Loads a model and answers greedily, or by weighing the answers that fit.

    Args:
        model: a folder that save_pretrained wrote, or a hub id.
        device: cpu, cuda, cuda:N, or auto.
        way: "write" lets the model write; "choose" takes the answer whose first token is likeliest
            right after the question, so that it always fits.
        max_new_tokens: of a written answer.

    Raises:
        InputError: no such model, pickled weights, code of its own, or a package that it needs.
    """

    def __init__(
        self, model: str, *, device: str = "auto", way: Way = "write", max_new_tokens: int = 256
    ) -> None:
        import torch
        from transformers import AutoModelForImageTextToText, AutoProcessor

        from pila.pipelines.locate import find_device

        if max_new_tokens < 1:
            raise InputError(f"max_new_tokens is {max_new_tokens}; use at least 1")
        self._device = find_device(device)
        folder = _folder(model)
        check_model_folder(folder)
        dtype = torch.float32 if self._device.type == "cpu" else torch.bfloat16
        try:
            self._processor: Any = AutoProcessor.from_pretrained(folder, trust_remote_code=False)
            self._model: Any = AutoModelForImageTextToText.from_pretrained(
                folder, trust_remote_code=False, use_safetensors=True, dtype=dtype
            )
        except (OSError, ValueError, ImportError, KeyError, AttributeError) as error:
            reason = " ".join(str(error).split())[:300]
            absent = "" if find_spec("torchvision") else " (many need torchvision, which is absent)"
            raise InputError(
                f"{model} does not load as a vision-language model ({reason}); give one that "
                f"transformers has the class of, with safetensors and a processor{absent}"
            ) from error
        if not getattr(self._processor, "chat_template", None):
            raise InputError(f"{model} has no chat template; give an instruction-tuned model")
        self._model.to(self._device).eval()
        self._way: Way = way
        self._about = {
            "kind": "local",
            "model": model if model == str(folder) else f"{model}@{folder.name}",
            "class": type(self._model).__name__,
            "weights": weights_hash(folder),
            "dtype": str(dtype).removeprefix("torch."),
            "way": way,
            "max_new_tokens": max_new_tokens if way == "write" else 1,
        }
        # A path says nothing about a model that its weights do not say better.
        if Path(model).expanduser().exists():
            self._about["model"] = folder.name
        self._max_new_tokens = max_new_tokens

    def describe(self) -> dict[str, Any]:
        """The model, the hash of its weights, and how it answers."""
        return dict(self._about)

    def reply(
        self, frames: np.ndarray, text: str, turns: Sequence[Turn], choices: Sequence[str]
    ) -> str:
        """The answer to a question on frames [n, h, w, 3] uint8.

        Raises:
            JudgeFailed: the device's memory is too small for the frames.
        """
        import torch

        inputs = self._inputs(frames, text, turns)
        try:
            with torch.no_grad():
                if self._way == "choose":
                    scores = self._model(**inputs).logits[0, -1].float()
                    starts = self._starts(choices)
                    return max(choices, key=lambda choice: float(scores[starts[choice]].max()))
                # Greedy whatever the repository's own generation settings are.
                written = self._model.generate(
                    **inputs,
                    max_new_tokens=self._max_new_tokens,
                    do_sample=False,
                    temperature=None,
                    top_p=None,
                    top_k=None,
                )
        except torch.OutOfMemoryError:
            raise JudgeFailed(f"too little memory for {len(frames)} frames; sample fewer") from None
        new = written[0, inputs["input_ids"].shape[1] :]
        return self._processor.tokenizer.decode(new, skip_special_tokens=True)

    def _inputs(self, frames: np.ndarray, text: str, turns: Sequence[Turn]) -> Any:
        from PIL import Image

        told = f"The pictures are {len(frames)} frames of one video, in the order of time.\n{text}"
        pictures = [{"type": "image"} for _ in frames]
        messages: list[dict[str, Any]] = [
            {"role": "user", "content": [*pictures, {"type": "text", "text": told}]}
        ]
        for turn in turns:
            again = f"Your answer was refused: {turn.fault}. Answer again, in the form asked for."
            for role, said in (("assistant", turn.reply), ("user", again)):
                messages.append({"role": role, "content": [{"type": "text", "text": said}]})
        prompt = self._processor.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=False
        )
        images = [Image.fromarray(frame) for frame in frames]
        inputs = self._processor(text=[prompt], images=images, return_tensors="pt")
        return inputs.to(self._device)

    def _starts(self, choices: Sequence[str]) -> dict[str, list[int]]:
        """First tokens of each choice, in the spellings that a model may begin with."""
        encode = self._processor.tokenizer.encode
        tokens = {
            choice: {
                encode(said, add_special_tokens=False)[0]
                for said in (choice, choice.capitalize(), f" {choice}", f" {choice.capitalize()}")
            }
            for choice in choices
        }
        # A token that begins several answers, such as a blank, tells none of them.
        own = {
            choice: sorted(mine - set().union(*(t for c, t in tokens.items() if c != choice)))
            for choice, mine in tokens.items()
        }
        if not all(own.values()):
            raise InputError(
                f"{self._about['model']} writes {', '.join(choices)} with the same first token, so "
                "that they cannot be weighed; let it write instead (--way write)"
            )
        return own


def _folder(model: str) -> Path:
    path = Path(model).expanduser()
    if path.exists() or model.count("/") != 1:
        return path
    kinds = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]
    return download(model, what="judge model", remedy="or give a folder", patterns=kinds)
