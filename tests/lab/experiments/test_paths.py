"""The shares of paths: what a part that does everything, and one that does nothing, gets."""

import pytest
import torch

from pila.adapter import PilaAdapter
from pila.lab.experiments.paths import corrections, shares
from pila.physics.layout import Slot


@pytest.fixture
def given():
    torch.manual_seed(0)
    size = (6, 4, 5, 6, 6)
    flags = torch.zeros(6, 8, dtype=torch.bool)
    flags[torch.arange(6), torch.arange(6)] = True
    return torch.randn(size), torch.randn(size), torch.full((6,), 0.5), torch.randn(6, 12), flags


def make(**options):
    torch.manual_seed(1)
    adapter = PilaAdapter(
        latent_channels=4, text_dim=12, hidden_width=8, encoder_blocks=1, gate="none", **options
    ).eval()
    torch.nn.init.normal_(adapter.decoder.out.weight)
    return adapter


def only(adapter, *channels):
    """The adapter's decoder reads these input channels alone (bank 0..31, then v, then feature)."""
    weight = adapter.decoder.stem.weight.data
    kept = weight[:, list(channels)].clone()
    weight.zero_()
    weight[:, list(channels)] = kept
    adapter.decoder.stem_condition.weight.data.zero_()
    for block in adapter.decoder.blocks:
        for part in block.modules():
            if isinstance(part, torch.nn.Linear):
                part.weight.data.zero_()
                part.bias.data.zero_()


@pytest.mark.parametrize("by", ["mean", "other"])
def test_replacing_what_the_decoder_does_not_read_changes_nothing(given, by):
    adapter = make(decoder_sees_feature=True)
    wave = range(32)[Slot.WAVE.channels]
    only(adapter, *wave)
    with torch.no_grad():
        dv, without = corrections(adapter, *given)
    for name in ("v", "decoder's feature", "pressure", "velocity"):
        assert torch.equal(without[by][name], dv), name
    for name in ("bank", "wave"):
        assert not torch.allclose(without[by][name], dv, atol=1e-4), name
    torch.testing.assert_close(without[by]["bank"], without[by]["wave"])


def test_a_feature_that_nothing_sees_is_no_path(given):
    with torch.no_grad():
        _, without = corrections(make(experts_see_feature=False), *given)
    assert not {"decoder's feature", "experts' feature"} & set(without["mean"])
    assert {slot.value for slot in Slot} <= set(without["other"])


def test_other_labels_act_through_the_router(given):
    adapter = make(top_k=2, label_prior=50.0)
    torch.nn.init.normal_(adapter.experts.outer)
    with torch.no_grad():
        dv, without = corrections(adapter, *given)
        *rest, flags = given
        told_other = adapter(*rest, flags.roll(2, 0))
    torch.testing.assert_close(without["other"]["labels"], told_other)
    assert not torch.allclose(without["other"]["labels"], dv)


def row(seed, full, bank):
    return {"scene": "a", "seed": seed, "frozen": 1.0, "full": full, "mean": {"bank": bank}}


def test_a_share_is_the_part_of_the_gain_that_is_lost():
    rows = [row(seed, 0.6, 0.8) for seed in range(8)]
    assert shares(rows, "mean")["bank"] == pytest.approx((0.5, 0.5, 0.5))


def test_the_interval_is_over_clips_and_holds_the_share():
    rows = [row(seed, 0.6 + 0.02 * seed, 0.7 + 0.03 * seed) for seed in range(8) for _ in range(2)]
    share, low, high = shares(rows, "mean")["bank"]
    assert low < share < high
    assert share == pytest.approx(
        sum(r["mean"]["bank"] - r["full"] for r in rows)
        / sum(r["frozen"] - r["full"] for r in rows)
    )
