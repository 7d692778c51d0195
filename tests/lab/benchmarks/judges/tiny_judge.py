"""A vision-language model of a real class, so small that tests can build and train it."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

WORDS = ["<pad>", "<unk>", "<s>", "</s>", "<image>", "yes", "no", "Yes", "No"]
WORDS += [*"012345ABCD", "USER", "ASSISTANT"]
TEMPLATE = (
    "{% for m in messages %}{{ m['role'] | upper }} {% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<image> {% else %}{{ c['text'] }} {% endif %}{% endfor %}"
    "{% endfor %}{% if add_generation_prompt %}ASSISTANT {% endif %}"
)


def save(folder: Path, *, says: str | None = None) -> Path:
    """Saves a random model; with `says` its last layer is fitted to write that word and stop."""
    torch.manual_seed(0)
    words = {word: i for i, word in enumerate(WORDS)}
    plain = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=plain,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        additional_special_tokens=["<image>"],
    )
    pictures = CLIPImageProcessorPil(
        size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}
    )
    processor = LlavaProcessor(
        pictures,
        tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        chat_template=TEMPLATE,
        num_additional_image_tokens=1,
    )
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=16,
            patch_size=8,
        ),
        text_config=LlamaConfig(
            vocab_size=len(words),
            hidden_size=32,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            bos_token_id=2,
            eos_token_id=3,
            pad_token_id=0,
        ),
        image_token_index=words["<image>"],
        image_seq_length=4,
    )
    model = LlavaForConditionalGeneration(config)
    with torch.no_grad():  # as it starts, such a model hardly looks at pictures
        for name, weight in model.named_parameters():
            weight.mul_(10 if "proj" in name and says is None else 1)
    if says is not None:
        _fit(model, words, says)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _fit(model: LlavaForConditionalGeneration, words: dict[str, int], says: str) -> None:
    """ASSISTANT is followed by the word, and the word by the end, whatever came before."""
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    rng = torch.Generator().manual_seed(0)
    for _ in range(60):
        before = torch.randint(0, 4, (8, 12), generator=rng)
        tail = torch.tensor([words["ASSISTANT"], words[says], words["</s>"]]).expand(8, 3)
        ids = torch.cat([before, tail], 1)
        labels = ids.clone()
        labels[:, :-2] = -100
        loss = model(input_ids=ids, labels=labels).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
