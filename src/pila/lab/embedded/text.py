"""The embedded text encoder: a small UMT5 that learns to tell what a caption says.

It is trained to name a caption's scene and attributes from its pooled embedding, then frozen;
the generator and the adapter's condition read its tokens, as Wan's read those of UMT5-XXL.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import (
    AutoTokenizer,
    PreTrainedTokenizerBase,
    T5Tokenizer,
    UMT5Config,
    UMT5EncoderModel,
)

from pila.files import whole_folder
from pila.lab.world import SCENES
from pila.lab.world.captions import write_caption
from pila.lab.world.corpus import scenes_of
from pila.lab.world.scene import Scene
from pila.pipelines.loading import load_model, named
from pila.train.config import TextConfig, TrainConfig
from pila.train.step_rng import StepRng

MAX_TOKENS = 32


def build_tokenizer() -> T5Tokenizer:
    """A tokenizer whose vocabulary is the world's words, with characters for all others."""
    words: set[str] = set()
    for scene in SCENES.values():
        text = " ".join(scene.templates)
        for options in scene.words.values():
            text += " " + " ".join(options)
        words |= {w.strip(".,:{}") for w in text.split()} - set(scene.words)
    words |= {"an"}
    words |= {w.capitalize() for w in words}
    characters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789,.-'!?:;()"
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -8.0)]
    vocabulary += [(c, -12.0) for c in characters]
    vocabulary += [("▁" + w, -4.0 - 0.001 * i) for i, w in enumerate(sorted(words - {""}))]
    return T5Tokenizer(vocab=vocabulary, extra_ids=0)


def tokenise(tokenizer: PreTrainedTokenizerBase, captions: list[str]) -> tuple[Tensor, Tensor]:
    """Token ids and mask (1 where valid) of captions, each [b, MAX_TOKENS]."""
    batch = tokenizer(
        captions,
        padding="max_length",
        max_length=MAX_TOKENS,
        truncation=True,
        return_tensors="pt",
    )
    return batch.input_ids, batch.attention_mask


def build_text_encoder(config: TextConfig, vocabulary: int) -> UMT5EncoderModel:
    """An untrained UMT5 encoder for a vocabulary of that many pieces."""
    return UMT5EncoderModel(
        UMT5Config(
            vocab_size=vocabulary,
            d_model=config.width,
            d_kv=config.width // config.heads,
            d_ff=2 * config.width,
            num_layers=config.layers,
            num_decoder_layers=config.layers,
            num_heads=config.heads,
            dropout_rate=0.0,
            pad_token_id=0,
            eos_token_id=1,
            decoder_start_token_id=0,
            tie_word_embeddings=False,  # pyright: ignore[reportCallIssue]
        )
    )


class Reader(nn.Module):
    """The encoder and one classifier for the scene and for each attribute of each scene."""

    def __init__(self, encoder: UMT5EncoderModel, classes: Mapping[str, int]) -> None:
        super().__init__()
        self.encoder = encoder
        self.heads = nn.ModuleDict(
            {name: nn.Linear(encoder.config.d_model, count) for name, count in classes.items()}
        )

    def forward(self, tokens: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Logits [b, classes] of each classifier, from tokens and mask [b, n], 1 where valid."""
        hidden = self.encoder(tokens, mask).last_hidden_state * mask[..., None]
        pooled = hidden.sum(1) / mask.sum(1, keepdim=True)
        return {name: head(pooled) for name, head in self.heads.items()}


class TextTask:
    """Cross-entropy of the scene and of every attribute that the caption's scene has."""

    def __init__(self, config: TrainConfig, device: torch.device | str = "cpu") -> None:
        self.config = config
        torch.manual_seed(config.seed)
        self.tokenizer = build_tokenizer()
        self.scenes = [SCENES[name] for name in scenes_of(config.world)]
        # Which of two words of one kind belongs to which ball is learned last, from many captions.
        shares = np.array([8.0 if _has_roles(scene) else 1.0 for scene in self.scenes])
        self.shares = shares / shares.sum()
        self.classes = {"scene": list(scenes_of(config.world))}
        for scene in self.scenes:
            for gap, options in scene.words.items():
                self.classes[f"{scene.name}-{gap}"] = list(options)
        self.module = Reader(
            build_text_encoder(config.text, len(self.tokenizer)),
            {name: len(options) for name, options in self.classes.items()},
        )

    def groups(self) -> list[dict]:
        """One group: encoder and classifiers."""
        return [{"params": self.module.parameters()}]

    def loss(self, draws: StepRng) -> tuple[Tensor, Mapping[str, float]]:
        """Mean cross-entropy [] over all that is asked; no further figures."""
        captions, answers = self.sample(draws.own(), len(draws.rows), held_out=False)
        predicted = self._read(captions)
        losses = [
            nn.functional.cross_entropy(predicted[name], answer, ignore_index=-1, reduction="sum")
            for name, answer in answers.items()
        ]
        asked = sum(int((answer >= 0).sum()) for answer in answers.values())
        return torch.stack(losses).sum() / asked, {}

    def validate(self) -> None:
        """None: accuracies on held-out templates are told at the end, and none are tuned on."""

    def accuracy(self, *, held_out: bool, count: int = 600) -> dict[str, float]:
        """Share of right answers per attribute, on templates trained on or held out."""
        with torch.no_grad():
            captions, answers = self.sample(
                torch.Generator().manual_seed(11), count, held_out=held_out
            )
            predicted = self._read(captions)
        return {
            name: (predicted[name].argmax(1) == answer)[answer >= 0].float().mean().item()
            for name, answer in answers.items()
        }

    def sample(
        self, rng: torch.Generator, count: int, *, held_out: bool
    ) -> tuple[list[str], dict[str, Tensor]]:
        """Captions with random words, capitals and full stops, and their attributes' indices."""
        draw = np.random.default_rng(int(torch.randint(0, 2**62, (1,), generator=rng)))
        answers = {name: torch.full((count,), -1) for name in self.classes}
        captions = []
        for i in range(count):
            index = int(draw.choice(len(self.scenes), p=self.shares))
            scene = self.scenes[index]
            answers["scene"][i] = index
            words = {}
            for gap, options in scene.words.items():
                choice = int(draw.integers(len(options)))
                words[gap] = options[choice]
                answers[f"{scene.name}-{gap}"][i] = choice
            caption = write_caption(scene.templates, words, draw, held_out)
            captions.append(vary(caption, draw))
        return captions, answers

    def _read(self, captions: list[str]) -> dict[str, Tensor]:
        """Logits on the CPU, where the answers are."""
        place = self.module.encoder.device
        logits = self.module(*(x.to(place) for x in tokenise(self.tokenizer, captions)))
        return {name: x.cpu() for name, x in logits.items()}

    def export(self, folder: Path) -> Path:
        """Write encoder and tokenizer, and accuracies in `result.json`; returns their folder."""
        import json

        with whole_folder(folder / "parts") as beside:
            self.module.eval().encoder.save_pretrained(beside / "text_encoder")
            # Anew: the one in use also saves how it has padded last, and a run that was killed
            # behind its last step goes on without a call.
            build_tokenizer().save_pretrained(beside / "tokenizer")
            result = {
                "trained": self.accuracy(held_out=False),
                "held_out": self.accuracy(held_out=True),
            }
            (folder / "result.json").write_text(json.dumps(result, indent=1))
        return folder / "parts"


def _has_roles(scene: Scene) -> bool:
    """Whether two of its gaps may say the same words."""
    options = list(scene.words.values())
    return len(set(options)) < len(options)


class CaptionEncoder:
    """Captions to zero-padded token embeddings [b, 32, d], as WanPipeline makes them."""

    def __init__(self, model: Path, device: torch.device | str = "cpu") -> None:
        with named(model / "tokenizer"):
            self.tokenizer = AutoTokenizer.from_pretrained(
                model / "tokenizer", trust_remote_code=False
            )
        self.encoder = load_model(model / "text_encoder", "UMT5EncoderModel").to(device)
        self.device = torch.device(device)

    def __call__(self, captions: list[str]) -> Tensor:
        """Embeddings [b, 32, d], zero behind the last token of each caption."""
        return self.encode(*self.tokenise(captions))

    def tokenise(self, captions: list[str]) -> tuple[Tensor, Tensor]:
        """Token ids and mask of captions, each [b, 32]."""
        return tokenise(self.tokenizer, captions)

    @torch.no_grad()
    def encode(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Embeddings [b, 32, d] of tokens and mask [b, 32], on the encoder's device."""
        tokens, mask = tokens.to(self.device), mask.to(self.device)
        # In its own precision, as in sampling.
        with torch.autocast(self.device.type, enabled=False):
            return self.encoder(tokens, mask).last_hidden_state * mask[..., None]


def vary(caption: str, draw) -> str:
    """The same caption as people type it: with or without a capital and a full stop."""
    if draw.random() < 0.5:
        caption = caption[0].upper() + caption[1:]
    return caption + "." if draw.random() < 0.5 else caption
