"""Inputs of Qwen2-VL and Qwen2.5-VL models: frames as patches, and a question around them.

Their own processor does the same and needs torchvision, which pila does without.
"""

from math import ceil, floor, sqrt
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from pila.prophy.attention import AttentionConfig

PROMPT = (
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    "<|im_start|>user\n<|vision_start|><|video_pad|><|vision_end|>{question}<|im_end|>\n"
    "<|im_start|>assistant\n"
)
"""A turn as Qwen-VL models are trained on it."""
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""Of the pixels of CLIP's training set, by which Qwen-VL's vision encoders normalise."""


class QwenPrepare:
    """Inputs for Qwen2-VL and Qwen2.5-VL models, made without their processor.

    Args:
        tokenizer: of the model: text to ids, special tokens included.
        model: the model, for its config.
        config: the bounds of a frame's size.
    """

    def __init__(self, tokenizer: Any, model: Any, config: AttentionConfig) -> None:
        self.tokenizer, self.config = tokenizer, config
        self.vision, self.video_token = model.config.vision_config, model.config.video_token_id

    def __call__(
        self, frames: np.ndarray, question: str, *, fps: float
    ) -> tuple[dict[str, Tensor], tuple[int, int, int]]:
        """See `Prepare`."""
        patches, (t, h, w) = video_patches(
            frames,
            patch=self.vision.patch_size,
            merge=self.vision.spatial_merge_size,
            temporal=self.vision.temporal_patch_size,
            least=self.config.least_pixels,
            most=self.config.most_pixels,
        )
        merge = self.vision.spatial_merge_size
        grid = t, h // merge, w // merge
        said = self.tokenizer(PROMPT.format(question=question)).input_ids
        place = said.index(self.video_token)
        count = grid[0] * grid[1] * grid[2]
        ids = torch.tensor([said[:place] + [self.video_token] * count + said[place + 1 :]])
        inputs = {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "mm_token_type_ids": (ids == self.video_token).int() * 2,
            "pixel_values_videos": patches,
            "video_grid_thw": torch.tensor([[t, h, w]]),
            "second_per_grid_ts": torch.tensor([self.vision.temporal_patch_size / fps]),
        }
        if not hasattr(self.vision, "tokens_per_second"):  # Qwen2-VL counts frames, not seconds
            del inputs["second_per_grid_ts"]
        return inputs, grid


def video_patches(
    frames: np.ndarray, *, patch: int, merge: int, temporal: int, least: int, most: int
) -> tuple[Float[Tensor, "n d"], tuple[int, int, int]]:
    """Frames [t, h, w, 3] uint8 as the patches that Qwen's vision encoders take, and their grid.

    Sides become multiples of patch * merge with `least` to `most` pixels and about the same shape.
    The last frame is repeated until `temporal` divides their number. Patches stand in blocks of
    merge x merge, which become one token: by time, row and column of blocks.

    Returns:
        [t h w, 3 temporal patch patch] float32, and (t, h, w) in patches.
    """
    height, width = _sides(frames.shape[1], frames.shape[2], patch * merge, least, most)
    x = rearrange(torch.from_numpy(np.ascontiguousarray(frames)), "t h w c -> t c h w").float()
    if x.shape[2:] != (height, width):
        x = F.interpolate(x, size=(height, width), mode="bicubic", antialias=True)
        x = x.clamp(0, 255).round()
    x = (x / 255 - x.new_tensor(MEAN)[:, None, None]) / x.new_tensor(STD)[:, None, None]
    if missing := -len(x) % temporal:
        x = torch.cat([x, x[-1:].expand(missing, -1, -1, -1)])
    grid = len(x) // temporal, height // patch, width // patch
    patches = rearrange(
        x,
        "(t a) c (h m p) (w n q) -> (t h w m n) (c a p q)",
        a=temporal,
        m=merge,
        n=merge,
        p=patch,
        q=patch,
    )
    return patches, grid


def _sides(height: int, width: int, unit: int, least: int, most: int) -> tuple[int, int]:
    """Sides in multiples of a unit, within bounds on their product (Qwen2-VL's rule)."""
    h, w = round(height / unit) * unit, round(width / unit) * unit
    if h * w > most:
        shrink = sqrt(height * width / most)
        h, w = (max(unit, floor(side / shrink / unit) * unit) for side in (height, width))
    elif h * w < least:
        grow = sqrt(least / (height * width))
        h, w = (ceil(side * grow / unit) * unit for side in (height, width))
    return h, w
