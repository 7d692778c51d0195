"""The residual score: of one clip alone, and what it refuses."""

import pytest
import torch

from pila.adapter import PilaAdapter, pool_text
from pila.errors import InputError
from pila.physics import TERMS, Calculus, Coefficients, read_fields, residual_loss
from pila.physics.layout import Category
from pila.score.residual_score import bank_scores, residual_scores

CAPTION = "a red ball is thrown high"


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    """A tiny one of random weights, of the embedded text encoder's width."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("adapter")
    PilaAdapter(latent_channels=16, text_dim=64, hidden_width=8).save_pretrained(folder)
    return str(folder)


def test_a_score_is_the_mean_residual_of_the_named_categories(adapter):
    module = PilaAdapter.from_pretrained(adapter).eval()
    torch.manual_seed(0)
    latents, text = torch.randn(2, 16, 3, 6, 6), torch.randn(2, 4, 64)
    named = [[Category.THERMAL], [Category.THERMAL, Category.FLUID]]
    with torch.no_grad():
        found = bank_scores(module, latents, text, named)
        flags = torch.tensor([[c in row for c in Category] for row in named])
        out = module(
            latents,
            torch.zeros_like(latents),
            torch.zeros(2),
            pool_text(text),
            flags,
            return_details=True,
        )
        fields = read_fields(out.bank, module.fields.velocity)
        parts = {
            c: residual_loss(fields, TERMS[c], Calculus(), Coefficients()).total
            for c in (Category.THERMAL, Category.FLUID)
        }
    assert found[0] == pytest.approx(parts[Category.THERMAL][0].item(), rel=1e-5)
    both = (parts[Category.THERMAL][1] + parts[Category.FLUID][1]) / 2
    assert found[1] == pytest.approx(both.item(), rel=1e-5)


def test_a_clip_scores_the_same_in_any_company(adapter):
    torch.manual_seed(1)
    latents = torch.randn(3, 16, 3, 6, 6)
    how = {"adapter": adapter, "model": "embedded"}
    together = residual_scores(latents, [CAPTION, "hot metal", CAPTION], **how)
    alone = residual_scores(latents[1:2], ["hot metal"], **how)
    assert together[1] == pytest.approx(alone[0].item(), rel=1e-5)


def test_a_caption_without_categories_is_held_against_all(adapter):
    torch.manual_seed(1)
    latents = torch.randn(1, 16, 5, 6, 6)  # second differences in time take four frames
    how = {"adapter": adapter, "model": "embedded"}
    none = residual_scores(latents, ["xyzzy"], **how)
    every = residual_scores(latents, ["xyzzy"], categories=[list(Category)], **how)
    assert torch.equal(none, every)


def test_wrong_input_is_named(adapter, plain_adapter_folder):
    latents = torch.zeros(2, 16, 3, 6, 6)
    with pytest.raises(InputError, match="1 captions for 2 clips"):
        residual_scores(latents, [CAPTION], adapter=adapter, model="embedded")
    plain = str(plain_adapter_folder)
    with pytest.raises(InputError, match="only a PilaAdapter's bank is scored"):
        residual_scores(latents, [CAPTION] * 2, adapter=plain, model="embedded")
