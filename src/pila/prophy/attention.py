"""Where a vision-language model looks while it describes a phenomenon (ProPhy's fine labels).

For a clip and a category, Q = A(phenomenon) - A(plain): A is the attention of the answer's tokens
on the video's tokens, once for "Describe the {phenomenon} phenomenon in the video." and once for
"Describe the video briefly." (prophy.md). What ProPhy leaves open is decided here:

- The model answers greedily. Its answer is then read once more in one pass over the cache of the
  question: the queries are the answer's own tokens, without the token that ends it. One layer's
  rows [heads, answer, video] exist at a time; the question's square of attention is never formed.
- A is the mean over chosen layers and heads and over the answer's tokens, then scaled to a sum of
  1 over the video's tokens, in float32. Layers are a guess: from half to five sixths of the depth.
- Each token of the video covers a box of space and time. Its attention is spread over the box
  evenly and gathered by overlap in the cells of the latent grid, so none is lost. Q is given as a
  density: 1 is what a cell would have if the model looked everywhere alike.

Frames are prepared here as Qwen2-VL and Qwen2.5-VL were trained to see them, for their own
processor needs torchvision. Other models of the same interface (`get_decoder().layers[i].self_attn`
returning its weights, `config.video_token_id`) take a `prepare` of their own.
"""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pila.data.reading import read_clip
from pila.data.records import ClipError, Record, Source, VideoRecord, View
from pila.data.shard_files import Header, Row
from pila.errors import InputError
from pila.physics.layout import Category
from pila.provenance import weights_hash

QUESTION = "Describe the {phenomenon} phenomenon in the video."
PLAIN = "Describe the video briefly."
PHENOMENA: dict[Category, str] = {
    Category.RIGID_BODY: "rigid body motion",
    Category.ELASTIC: "elastic deformation",
    Category.FLUID: "fluid flow",
    Category.COMPRESSIBLE: "gas compression and expansion",
    Category.PHASE_CHANGE: "phase change",
    Category.COLLISION: "collision",
    Category.THERMAL: "heat transfer",
    Category.OPTICAL: "light propagation",
}
"""What a category is called in the question (our wording; ProPhy's is not known)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionConfig:
    """How attention is read; all of it is noted beside the maps.

    Args:
        layers: of the language model; none given stands for those from half to five sixths.
        heads: of each layer; none given stands for all.
        max_answer: tokens at most of an answer.
        stride: every n-th frame is shown, standing for the n frames from it on.
        least_pixels: of a shown frame; smaller ones are enlarged.
        most_pixels: of a shown frame; larger ones are shrunk. The model's own bounds by default.

    Raises:
        InputError: a value out of bounds.
    """

    layers: tuple[int, ...] = ()
    heads: tuple[int, ...] = ()
    max_answer: int = 128
    stride: int = 2
    least_pixels: int = 128 * 28 * 28
    most_pixels: int = 768 * 28 * 28

    def __post_init__(self) -> None:
        for name in ("max_answer", "stride", "least_pixels"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; use at least 1")
        if self.most_pixels < self.least_pixels:
            raise InputError(
                f"most_pixels is {self.most_pixels}; it must not be below least_pixels, "
                f"{self.least_pixels}"
            )


class Prepare(Protocol):
    """What turns frames and a question into a model's inputs."""

    def __call__(
        self, frames: np.ndarray, question: str, *, fps: float
    ) -> tuple[dict[str, Tensor], tuple[int, int, int]]:
        """Inputs of a batch of 1 for `generate`, and the video's tokens as (t, h, w).

        Args:
            frames: [t, h, w, 3] uint8, all to be shown.
            question: what the user asks.
            fps: frames per second of the shown frames.
        """
        ...


class VideoAttention:
    """Reads a vision-language model's attention on videos.

    Args:
        model: a transformers model such as `Qwen2_5_VLForConditionalGeneration`, in eval mode.
        prepare: what makes its inputs.
        config: how attention is read.
        name: of the model, for the record.
        weights: hash of its weights, for the record.

    Raises:
        InputError: layers or heads that the model does not have.
    """

    def __init__(
        self,
        model: Any,
        prepare: Prepare,
        *,
        config: AttentionConfig | None = None,
        name: str = "",
        weights: str = "",
    ) -> None:
        self.model, self.prepare = model, prepare
        self.config, self.name, self.weights = config or AttentionConfig(), name, weights
        decoder = model.get_decoder()
        depth, heads = len(decoder.layers), decoder.config.num_attention_heads
        self.layers = self.config.layers or default_layers(depth)
        for said, chosen, count in (
            ("layers", self.layers, depth),
            ("heads", self.config.heads, heads),
        ):
            if any(not 0 <= i < count for i in chosen) or len(set(chosen)) < len(chosen):
                raise InputError(
                    f"{said} are {list(chosen)}; the model has {count}: choose different ones "
                    f"from 0..{count - 1}"
                )
        without = [i for i in self.layers if not hasattr(decoder.layers[i], "self_attn")]
        if without:
            raise InputError(f"layers {without} have no self-attention; choose others")

    @classmethod
    def load(
        cls, folder: Path, *, device: torch.device, config: AttentionConfig | None = None
    ) -> "VideoAttention":
        """A Qwen2-VL or Qwen2.5-VL model from a local folder; in bfloat16, on a CPU in float32.

        Raises:
            InputError: the folder has no such model.
        """
        from transformers import AutoModelForImageTextToText, AutoTokenizer

        from pila.prophy.qwen import QwenPrepare

        if not (folder / "config.json").is_file():
            raise InputError(f"{folder} has no config.json; give a folder with a Qwen2.5-VL model")
        dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
        model: Any = AutoModelForImageTextToText.from_pretrained(folder, dtype=dtype)
        if model.config.model_type not in ("qwen2_vl", "qwen2_5_vl"):
            raise InputError(
                f"{folder} holds a {model.config.model_type} model; for models other than "
                "Qwen2-VL and Qwen2.5-VL build VideoAttention with a `prepare` of their own"
            )
        model = model.eval().requires_grad_(False).to(device)
        config = config or AttentionConfig()
        prepare = QwenPrepare(AutoTokenizer.from_pretrained(folder), model, config)
        return cls(model, prepare, config=config, name=folder.name, weights=weights_hash(folder))

    @property
    def facts(self) -> Mapping[str, Any]:
        """What is noted beside the maps."""
        return {
            "maker": "attention of a vision-language model",
            "class": type(self.model).__name__,
            "model": self.name,
            "weights": self.weights,
            "question": QUESTION,
            "plain": PLAIN,
            "phenomena": {str(c): said for c, said in PHENOMENA.items()},
            **asdict(self.config),
            "layers": list(self.layers),
            "heads": list(self.config.heads),
        }

    def maps(
        self,
        frames: np.ndarray,
        categories: Sequence[Category],
        grid: tuple[int, int, int],
        *,
        fps: float,
    ) -> Float[Tensor, "categories T H W"]:
        """Q of a clip: where it looks for a phenomenon more than for a plain description.

        Args:
            frames: [t, h, w, 3] uint8.
            categories: that are annotated; the maps of others are 0.
            grid: (T, H, W) of the latents that the frames have.
            fps: frames per second.

        Returns:
            float32 on the CPU, in `Category` order, as density over that of an even attention.

        Raises:
            ClipError: the model gives an empty answer, or an attention that is not finite.
        """
        plain = self.density(frames, PLAIN, grid, fps=fps) if categories else None
        maps = torch.zeros(len(Category), *grid)
        for index, category in enumerate(Category):
            if category in categories and plain is not None:
                question = QUESTION.format(phenomenon=PHENOMENA[category])
                maps[index] = self.density(frames, question, grid, fps=fps) - plain
        return maps

    def density(
        self, frames: np.ndarray, question: str, grid: tuple[int, int, int], *, fps: float
    ) -> Float[Tensor, "T H W"]:
        """The attention of the answer on a latent grid; 1 where it is as if even."""
        step = self.config.stride
        shown = frames[::step]
        found = self.attention(shown, question, fps=fps / step)
        each = self.model.config.vision_config.temporal_patch_size * step
        mass = to_grid(found, grid, frames=len(frames), frames_per_token=each)
        spans = _latent_edges(grid[0], len(frames)).diff() / len(frames)
        return (mass * grid[1] * grid[2] / spans[:, None, None].to(mass)).float()

    def attention(self, frames: np.ndarray, question: str, *, fps: float) -> Float[Tensor, "t h w"]:
        """A: mean attention of the answer to a question on the video's tokens, of sum 1.

        Args:
            frames: [n, h, w, 3] uint8, all of which the model sees.
            question: what it is asked.
            fps: frames per second of these frames.

        Returns:
            float32 on the CPU, on the model's own grid of video tokens.

        Raises:
            ClipError: the answer is empty, or its attention not finite.
        """
        inputs, grid = self.prepare(frames, question, fps=fps)
        inputs = {name: a.to(self.model.device) for name, a in inputs.items()}
        rows = self.rows(inputs, *self.answer(inputs)).mean(0)
        total = rows.sum()
        if not (torch.isfinite(total) and total > 0):
            raise ClipError("not finite: its attention")
        if len(rows) != grid[0] * grid[1] * grid[2]:
            raise InputError(
                f"the question holds {len(rows)} video tokens, its grid {list(grid)}; give a "
                "`prepare` that fits the model"
            )
        return (rows / total).reshape(grid).cpu()

    @torch.no_grad()
    def answer(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Any]:
        """The greedy answer's ids [1, a], without its end, and the cache of the question alone.

        Raises:
            ClipError: there is nothing but the end.
        """
        made = self.model.generate(
            **inputs,
            max_new_tokens=self.config.max_answer,
            do_sample=False,
            temperature=None,
            top_p=None,
            top_k=None,
            return_dict_in_generate=True,
        )
        asked = inputs["input_ids"].shape[1]
        ids = made.sequences[:, asked:]
        ends = self.model.generation_config.eos_token_id
        if ends is not None:
            last = torch.isin(ids[0], torch.as_tensor(ends, device=ids.device)).nonzero()
            ids = ids[:, : int(last[0])] if len(last) else ids
        if not ids.shape[1]:
            raise ClipError("no answer: the model ended at once")
        cache = made.get("cache", made.get("past_key_values"))
        if over := cache.get_seq_length() - asked:
            cache.crop(-over)
        return ids, cache

    @property
    def _cache_name(self) -> str:
        """What the model calls its keys and values: `past_key_values` before transformers 5.24."""
        known = inspect.signature(self.model.forward).parameters
        return "cache" if "cache" in known else "past_key_values"

    @torch.no_grad()
    def rows(self, inputs: Mapping[str, Tensor], ids: Tensor, cache: Any) -> Float[Tensor, "a n"]:
        """Attention of each answer token on each video token, mean over layers and heads.

        It is called right after `answer`: the model keeps where the last question's text stands.

        Args:
            inputs: the question, as `answer` took it.
            ids: the answer [1, a].
            cache: keys and values of the question; it grows by the answer.

        Raises:
            InputError: a layer that keeps its attention to itself.
        """
        columns = (inputs["input_ids"][0] == self.model.config.video_token_id).nonzero()[:, 0]
        heads = list(self.config.heads) or slice(None)
        total = torch.zeros(ids.shape[1], len(columns), device=ids.device)

        def keep(_module: Any, _given: Any, output: Any) -> None:
            weights = output[1]
            if weights is None:
                raise InputError(
                    f"{type(self.model).__name__} gives no attention; use one whose layers can "
                    "work in eager mode"
                )
            total.add_(weights[0, heads][..., columns].float().mean(0).to(total))

        decoder = self.model.get_decoder()
        hooks = [decoder.layers[i].self_attn.register_forward_hook(keep) for i in self.layers]
        try:
            with _eager(decoder):
                self.model(
                    input_ids=ids, use_cache=True, logits_to_keep=1, **{self._cache_name: cache}
                )
        finally:
            for hook in hooks:
                hook.remove()
        return total / len(self.layers)


class AttentionMaps:
    """Maps of a latent cache's clips by attention; implements `pila.prophy.maps.Maker`.

    Args:
        reader: what reads the model's attention.
        source: the data set that the cache was made of.
    """

    def __init__(self, reader: VideoAttention, source: Source) -> None:
        self.reader = reader
        self.records: dict[str, Record] = {record.name: record for record in source.records()}

    @property
    def facts(self) -> Mapping[str, Any]:
        """What `maps.json` says of them."""
        return self.reader.facts

    def maps(self, rows: Sequence[Row], header: Header) -> Iterator[np.ndarray | ClipError]:
        """Of each row in turn [8, T, H, W] float32, or why there is none."""
        for row in rows:
            try:
                yield self._of(row, header)
            except ClipError as error:
                yield error

    def _of(self, row: Row, header: Header) -> np.ndarray:
        record = self.records.get(row.name)
        if record is None:
            raise ClipError(f"missing: the source has no record {row.name}")
        view = View(
            height=header.height,
            width=header.width,
            num_frames=header.num_frames,
            fps=header.fps,
        )
        video = isinstance(record, VideoRecord)
        frames = read_clip(record, view) if video else record.make(view).frames
        categories = [Category(name) for name in row.categories]
        _, *grid = header.latent_shape
        return self.reader.maps(
            frames, categories, (grid[0], grid[1], grid[2]), fps=header.fps
        ).numpy()


def default_layers(depth: int) -> tuple[int, ...]:
    """Layers from half to five sixths of the depth, at least one: a guess, ProPhy's are unknown."""
    return tuple(range(depth // 2, max(depth // 2 + 1, depth * 5 // 6)))


def to_grid(
    attention: Float[Tensor, "t h w"],
    grid: tuple[int, int, int],
    *,
    frames: int,
    frames_per_token: int,
) -> Float[Tensor, "T H W"]:
    """Spread each token's attention over its box and gather it by overlap; the sum stays.

    Args:
        attention: on the model's grid; token j covers frames_per_token frames, the last the rest.
        grid: (T, H, W) over the same picture; latent frame 0 is frame 0 alone, the others share
            the rest evenly.
        frames: of the clip.
        frames_per_token: of which a token's attention is that of.

    Raises:
        InputError: the tokens do not cover the frames.
    """
    t, h, w = attention.shape
    if not (t - 1) * frames_per_token < frames <= t * frames_per_token:
        raise InputError(
            f"{t} tokens of {frames_per_token} frames do not cover {frames} frames; the model "
            "drops or repeats some: show it all of them"
        )
    times = (torch.arange(t + 1) * frames_per_token).clamp(max=frames)
    by_axis = [_overlap(times.double(), _latent_edges(grid[0], frames))]
    for here, there in ((h, grid[1]), (w, grid[2])):
        by_axis.append(_overlap(*(torch.linspace(0, 1, n + 1).double() for n in (here, there))))
    mapped = torch.einsum("thw,Tt,Hh,Ww->THW", attention.double(), *by_axis)
    return mapped.to(attention.dtype)


def _latent_edges(latent_frames: int, frames: int) -> Tensor:
    """Where latent frames begin and end, [T + 1], in frames."""
    if latent_frames == 1:
        return torch.tensor([0.0, frames], dtype=torch.float64)
    later = 1 + (frames - 1) / (latent_frames - 1) * torch.arange(latent_frames).double()
    return torch.cat([later.new_zeros(1), later])


def _overlap(before: Tensor, after: Tensor) -> Tensor:
    """Share [a, b] of each interval before that lies in each after, of b + 1 and a + 1 edges."""
    low = torch.maximum(before[None, :-1], after[:-1, None])
    high = torch.minimum(before[None, 1:], after[1:, None])
    return (high - low).clamp(min=0) / before.diff()


@contextmanager
def _eager(decoder: Any) -> Iterator[None]:
    """Let a model's layers give their attention; as before afterwards."""
    before = decoder.config._attn_implementation
    decoder.set_attn_implementation("eager")
    try:
        yield
    finally:
        decoder.set_attn_implementation(before)
