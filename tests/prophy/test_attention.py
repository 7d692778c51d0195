"""Attention of a vision-language model: the model's own numbers, in the right cells."""

from typing import Any

import numpy as np
import pytest
import torch
from einops import rearrange
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Tokenizer,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
)

from pila.data.records import ClipError
from pila.errors import InputError
from pila.physics.layout import Category
from pila.prophy import attention
from pila.prophy.attention import (
    PHENOMENA,
    PLAIN,
    QUESTION,
    AttentionConfig,
    VideoAttention,
    default_layers,
    to_grid,
)
from pila.prophy.qwen import QwenPrepare, video_patches

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>")
SPECIAL += ("<|image_pad|>", "<|video_pad|>")
CONFIG = AttentionConfig(max_answer=5, stride=1, least_pixels=28 * 28, most_pixels=112 * 112)


@pytest.fixture(scope="module")
def tokenizer():
    words = [*SPECIAL, *sorted(ByteLevel.alphabet())]
    found = Qwen2Tokenizer(vocab={word: i for i, word in enumerate(words)}, merges=[])
    found.add_special_tokens({"additional_special_tokens": list(SPECIAL)})
    return found


def build(tokenizer, layers=2, seed=0) -> Any:
    torch.manual_seed(seed)
    ids = {word: tokenizer.convert_tokens_to_ids(word) for word in SPECIAL}
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 32,
            "intermediate_size": 32,
            "num_hidden_layers": layers,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "initializer_range": 0.5,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1e6,
                "mrope_section": [1, 1, 2],
            },
            "bos_token_id": None,
            "eos_token_id": ids["<|im_end|>"],
            "pad_token_id": ids["<|endoftext|>"],
        },
        vision_config={
            "depth": 1,
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_heads": 2,
            "out_hidden_size": 32,
            "fullatt_block_indexes": [0],
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
    )
    return Qwen2_5_VLForConditionalGeneration(config).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def model(tokenizer):
    return build(tokenizer)


def reader(model, tokenizer, **options):
    config = AttentionConfig(
        **{
            "max_answer": 5,
            "stride": 1,
            "least_pixels": CONFIG.least_pixels,
            "most_pixels": CONFIG.most_pixels,
            **options,
        }
    )
    return VideoAttention(model, QwenPrepare(tokenizer, model, config), config=config)


@pytest.fixture(scope="module")
def frames():
    return np.random.default_rng(0).integers(0, 255, (9, 56, 84, 3), np.uint8)


@pytest.mark.parametrize(
    ("layers", "heads"), [((), ()), ((0,), ()), ((0, 1), (1, 3)), ((1,), (0,))]
)
def test_rows_are_those_that_the_model_gives(model, tokenizer, frames, layers, heads):
    mine = reader(model, tokenizer, layers=layers, heads=heads)
    inputs, grid = mine.prepare(frames, PLAIN, fps=8.0)
    assert grid == (5, 2, 3)
    answer, cache = mine.answer(inputs)
    assert 1 <= answer.shape[1] <= 5
    assert cache.get_seq_length() == inputs["input_ids"].shape[1]
    rows = mine.rows(inputs, answer, cache)
    assert rows.dtype == torch.float32
    assert model.get_decoder().config._attn_implementation == "sdpa"

    # One plain pass over question and answer, with every attention that there is.
    whole = torch.cat([inputs["input_ids"], answer], 1)
    kinds = torch.nn.functional.pad(inputs["mm_token_type_ids"], (0, answer.shape[1]))
    model.set_attn_implementation("eager")
    try:
        told = model(
            **{**inputs, "input_ids": whole, "mm_token_type_ids": kinds, "attention_mask": None},
            output_attentions=True,
        ).attentions
    finally:
        model.set_attn_implementation("sdpa")
    video = (inputs["input_ids"][0] == model.config.video_token_id).nonzero()[:, 0]
    assert len(video) == 30
    chosen = torch.stack([told[i][0] for i in layers or default_layers(2)])
    chosen = chosen[:, list(heads)] if heads else chosen
    expected = chosen[:, :, -answer.shape[1] :][..., video].mean((0, 1))
    torch.testing.assert_close(rows, expected, rtol=1e-4, atol=1e-6)
    assert rows.std() > 0.01 * rows.mean()

    found = mine.attention(frames, PLAIN, fps=8.0)
    torch.testing.assert_close(found.sum(), torch.tensor(1.0))
    total = expected.mean(0)
    torch.testing.assert_close(found, (total / total.sum()).reshape(grid), rtol=1e-4, atol=1e-6)


def test_only_rows_of_the_answer_are_ever_formed(model, tokenizer, frames):
    mine = reader(model, tokenizer)
    inputs, _ = mine.prepare(frames, PLAIN, fps=8.0)
    answer, cache = mine.answer(inputs)
    seen = []
    layer = model.get_decoder().layers[1].self_attn
    hooks = len(layer._forward_hooks)

    def watch(_module, _given, output):
        seen.append(output[1].shape)

    hook = layer.register_forward_hook(watch)
    mine.rows(inputs, answer, cache)
    hook.remove()
    assert seen == [(1, 4, answer.shape[1], inputs["input_ids"].shape[1] + answer.shape[1])]
    assert len(layer._forward_hooks) == hooks


@pytest.mark.parametrize("token", [(0, 0, 0), (1, 0, 2), (2, 1, 0), (4, 1, 2), (3, 0, 1)])
def test_a_token_that_is_looked_at_lies_where_the_picture_shows_it(tokenizer, token):
    """A planted model whose first layer looks at what is unlike the rest of the picture."""
    model = build(tokenizer)
    t, h, w = token
    frames = np.full((9, 56, 84, 3), 90, np.uint8)
    frames[2 * t : 2 * t + 2, 28 * h : 28 * h + 28, 28 * w : 28 * w + 28] = 250
    block = model.model.visual.blocks[0]
    block.attn.proj.weight.zero_()  # so that a token knows its own patches alone
    block.attn.proj.bias.zero_()
    mine = reader(model, tokenizer, layers=(0,))
    inputs, grid = mine.prepare(frames, PLAIN, fps=8.0)
    merged = model.get_video_features(
        inputs["pixel_values_videos"], inputs["video_grid_thw"]
    ).pooler_output[0]
    differs = (merged - merged[0 if token != (0, 0, 0) else -1]).abs().amax(1) > 1e-6
    assert differs.sum() == 1
    decoder = model.get_decoder()
    decoder.embed_tokens.weight.zero_()  # text has keys of its bias alone
    layer = decoder.layers[0]
    layer.input_layernorm.weight.fill_(1.0)
    normed = layer.input_layernorm(merged)
    direction = normed[differs][0] - normed[~differs][0]
    attn = layer.self_attn
    for part in (attn.q_proj, attn.k_proj):
        part.weight.zero_()
        part.bias.zero_()
    # The slowest pair of the rotation hardly turns over so few places.
    attn.q_proj.bias.view(4, 8)[:, 3] = 60.0
    attn.k_proj.weight.view(2, 8, 32)[:, 3] = direction / direction.norm() ** 2
    found = mine.attention(frames, PLAIN, fps=8.0)
    assert found.shape == grid == (5, 2, 3)
    assert tuple(np.unravel_index(int(found.argmax()), grid)) == token
    assert found.max() > 0.9
    # On a latent grid of twice the rows and columns, in the same corner of the picture.
    density = mine.density(frames, PLAIN, (9, 4, 6), fps=8.0)
    spot = density[2 * t, 2 * h : 2 * h + 2, 2 * w : 2 * w + 2]
    assert spot.min() > 0.9 * density.max() > 10
    outside = density.clone()
    outside[2 * t : 2 * t + 2, 2 * h : 2 * h + 2, 2 * w : 2 * w + 2] = 0
    assert outside.max() < 0.1 * density.max()


def test_the_same_question_leaves_nothing(model, tokenizer, frames, monkeypatch):
    mine = reader(model, tokenizer)
    both = (Category.COLLISION, Category.RIGID_BODY)
    asked = []
    own = mine.prepare

    def prepare(frames, question, *, fps):
        asked.append(question)
        return own(frames, question, fps=fps)

    mine.prepare = prepare
    maps = mine.maps(frames, both, (3, 7, 10), fps=8.0)
    assert asked == [PLAIN, *(QUESTION.format(phenomenon=PHENOMENA[c]) for c in sorted(
        both, key=list(Category).index))]  # fmt: skip
    assert maps.shape == (8, 3, 7, 10)
    assert maps.dtype == torch.float32
    flags = torch.tensor([c in both for c in Category])
    assert not maps[~flags].any()
    for found in maps[flags]:
        assert found.abs().max() > 1e-3
        shares = torch.tensor([1.0, 4.0, 4.0]) / 9  # of the clip's frames in each latent frame
        assert float((found.mean((1, 2)) * shares).sum()) == pytest.approx(0, abs=1e-5)
    monkeypatch.setattr(attention, "QUESTION", PLAIN)
    assert not mine.maps(frames, both, (3, 7, 10), fps=8.0).any()


@pytest.mark.parametrize("grid", [(3, 4, 6), (9, 8, 8), (2, 3, 5), (1, 1, 1)])
@pytest.mark.parametrize("each", [2, 4])
def test_mapping_keeps_mass_and_its_place(grid, each):
    n = 9
    tokens = -(-n // each)
    shape = tokens, 4, 6
    given = torch.rand(shape, dtype=torch.float64)
    mapped = to_grid(given, grid, frames=n, frames_per_token=each)
    assert mapped.shape == grid
    torch.testing.assert_close(mapped.sum(), given.sum())
    # Centres of mass: the same to a cell, for mass is spread evenly in tokens and in cells.
    for axis, (here, there) in enumerate(zip(shape, grid, strict=True)):
        if axis == 0:
            continue
        others = tuple(i for i in range(3) if i != axis)
        before = (given.sum(others) * (torch.arange(here) + 0.5) / here).sum() / given.sum()
        after = (mapped.sum(others) * (torch.arange(there) + 0.5) / there).sum() / given.sum()
        assert abs(float(after - before)) <= 0.5 / there
    # An even attention is even in density: frames weigh as many as they are.
    even = torch.full(shape, 1.0, dtype=torch.float64)
    even[-1] *= (n - (tokens - 1) * each) / each
    share = to_grid(even / even.sum(), grid, frames=n, frames_per_token=each).sum((1, 2))
    spans = torch.tensor([9.0] if grid[0] == 1 else [1.0, *[8 / (grid[0] - 1)] * (grid[0] - 1)])
    torch.testing.assert_close(share, spans.double() / 9)


def test_mapping_puts_frames_where_the_latents_have_them():
    given = torch.zeros(5, 1, 1)
    given[0] = 1.0  # frames 0 and 1: latent frame 0 has the one, latent frame 1 the other
    assert to_grid(given, (3, 1, 1), frames=9, frames_per_token=2).flatten().tolist() == [
        0.5, 0.5, 0.0
    ]  # fmt: skip
    given = torch.zeros(5, 1, 1)
    given[4] = 1.0  # frame 8 and its repetition
    assert to_grid(given, (3, 1, 1), frames=9, frames_per_token=2).flatten().tolist() == [
        0.0, 0.0, 1.0
    ]  # fmt: skip
    with pytest.raises(InputError, match="5 tokens of 2 frames do not cover 33 frames"):
        to_grid(given, (9, 1, 1), frames=33, frames_per_token=2)


def test_patches_stand_as_the_vision_encoder_takes_them():
    frames = np.zeros((3, 56, 84, 3), np.uint8)
    frames[2, 28 + 14 : 56, 56:70, 0] = 255  # lower left patch of the token in row 1, column 2
    sizes = {"patch": 14, "merge": 2, "temporal": 2, "least": 1, "most": 10**6}
    patches, grid = video_patches(frames, **sizes)
    assert grid == (2, 4, 6)
    assert patches.shape == (48, 3 * 2 * 14 * 14)
    bright = (patches > 0).any(1).nonzero()[:, 0].tolist()
    assert bright == [24 + (1 * 3 + 2) * 4 + 2]  # second frame pair, token (1, 2), patch (1, 0)
    red, green, _ = rearrange(patches[bright[0]], "(c n) -> c n", c=3)
    assert float(red.min()) == pytest.approx((1 - 0.48145466) / 0.26862954, abs=1e-5)
    assert float(green.max()) == pytest.approx(-0.4578275 / 0.26130258, abs=1e-5)
    enlarged, grid = video_patches(frames, **{**sizes, "least": 100 * 28 * 28})
    assert grid[1] * grid[2] >= 400
    assert grid[1] / grid[2] == pytest.approx(56 / 84, rel=0.15)
    assert len(enlarged) == grid[0] * grid[1] * grid[2]
    _, grid = video_patches(frames, **{**sizes, "most": 2 * 28 * 28})
    assert grid == (2, 2, 2)


def test_frames_are_left_out_and_stand_for_their_neighbours(model, tokenizer, frames):
    mine = reader(model, tokenizer, stride=2)
    found = mine.attention(frames[::2], PLAIN, fps=4.0)
    assert found.shape == (3, 2, 3)
    density = mine.density(frames, PLAIN, (3, 2, 3), fps=8.0)
    mass = to_grid(found, (3, 2, 3), frames=9, frames_per_token=4)
    shares = torch.tensor([1.0, 4.0, 4.0])[:, None, None] / 9 / 6
    torch.testing.assert_close(density, mass / shares)


def test_wrong_choices_are_refused(model, tokenizer, frames):
    with pytest.raises(InputError, match=r"layers are \[2\]; the model has 2"):
        reader(model, tokenizer, layers=(2,))
    with pytest.raises(InputError, match=r"heads are \[0, 0\]; the model has 4"):
        reader(model, tokenizer, heads=(0, 0))
    with pytest.raises(InputError, match="stride is 0"):
        AttentionConfig(stride=0)
    with pytest.raises(InputError, match="most_pixels is 10"):
        AttentionConfig(most_pixels=10)
    assert default_layers(1) == (0,)
    assert default_layers(64) == tuple(range(32, 53))


def test_an_empty_answer_is_said(tokenizer, frames):
    model = build(tokenizer)
    end = model.generation_config.eos_token_id
    model.lm_head.weight.zero_()
    model.generation_config.eos_token_id = [end, 0]  # the first of equals is chosen: 0
    with pytest.raises(ClipError, match="no answer"):
        reader(model, tokenizer).attention(frames, PLAIN, fps=8.0)


def test_a_saved_model_is_loaded_with_its_hash(model, tokenizer, frames, tmp_path):
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    loaded = VideoAttention.load(tmp_path, device=torch.device("cpu"), config=CONFIG)
    torch.testing.assert_close(
        loaded.attention(frames, PLAIN, fps=8.0),
        reader(model, tokenizer).attention(frames, PLAIN, fps=8.0),
    )
    facts = loaded.facts
    assert facts["model"] == tmp_path.name
    assert len(facts["weights"]) == 16
    assert facts["layers"] == [1]
    assert facts["class"] == "Qwen2_5_VLForConditionalGeneration"
    with pytest.raises(InputError, match=r"has no config\.json"):
        VideoAttention.load(tmp_path / "gone", device=torch.device("cpu"))


def test_a_newer_model_takes_a_prepare_of_its_own(frames):
    """Qwen3-VL: marks of time stand between the frames' tokens."""
    torch.manual_seed(0)
    config = Qwen3VLConfig(
        text_config={
            "vocab_size": 64,
            "hidden_size": 32,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 8,
            "initializer_range": 0.5,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1e6,
                "mrope_section": [2, 1, 1],
            },
            "bos_token_id": None,
            "eos_token_id": 1,
            "pad_token_id": 0,
        },
        vision_config={
            "depth": 1,
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_heads": 2,
            "out_hidden_size": 32,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0],
        },
        image_token_id=5,
        video_token_id=6,
        vision_start_token_id=3,
        vision_end_token_id=4,
    )
    model: Any = Qwen3VLForConditionalGeneration(config).eval().requires_grad_(False)

    def prepare(frames, question, *, fps):
        patches, (t, h, w) = video_patches(
            frames, patch=16, merge=2, temporal=2, least=1, most=10**6
        )
        each = [6] * (h * w // 4)
        ids = torch.tensor([[7, *(i for j in range(t) for i in (20 + j, 3, *each, 4)), 9, 10]])
        return {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "mm_token_type_ids": (ids == 6).int() * 2,
            "pixel_values_videos": patches,
            "video_grid_thw": torch.tensor([[t, h, w]]),
        }, (t, h // 2, w // 2)

    mine = VideoAttention(model, prepare, config=CONFIG)
    inputs, _ = prepare(frames, PLAIN, fps=8.0)
    answer, cache = mine.answer(inputs)
    rows = mine.rows(inputs, answer, cache)
    model.set_attn_implementation("eager")
    whole = torch.cat([inputs["input_ids"], answer], 1)
    kinds = torch.nn.functional.pad(inputs["mm_token_type_ids"], (0, answer.shape[1]))
    told = model(
        **{**inputs, "input_ids": whole, "mm_token_type_ids": kinds, "attention_mask": None},
        output_attentions=True,
    ).attentions[1][0, :, -answer.shape[1] :]
    expected = told[..., (inputs["input_ids"][0] == 6).nonzero()[:, 0]].mean(0)
    torch.testing.assert_close(rows, expected, rtol=1e-4, atol=1e-6)
