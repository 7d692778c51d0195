"""The bank's layout: 32 channels, ten slots, exact round trips."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pila.errors import InputError
from pila.physics import (
    NUM_BANK_CHANNELS,
    Category,
    Slot,
    pack,
    read_fields,
    readout,
    spread,
    unpack,
    unread,
)

GRID = (3, 4, 5)
slots = st.sampled_from(list(Slot))
seeds = st.integers(0, 2**31)


def random(channels: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(2, channels, *GRID, generator=torch.Generator().manual_seed(seed))


def test_widths_and_order_are_the_papers():
    assert [slot.width for slot in Slot] == [4, 4, 2, 2, 2, 2, 4, 4, 4, 4]
    assert NUM_BANK_CHANNELS == 32
    taken = [i for slot in Slot for i in range(32)[slot.channels]]
    assert taken == list(range(32))


def test_categories_are_the_eight_of_table_1():
    assert " ".join(Category) == (
        "rigid_body elastic fluid compressible phase_change collision thermal optical"
    )


@given(seed=seeds)
def test_pack_and_unpack_are_inverse(seed: int):
    bank = random(32, seed)
    assert torch.equal(pack(unpack(bank)), bank)
    fields = {slot: random(slot.width, seed + i) for i, slot in enumerate(Slot)}
    again = unpack(pack(fields))
    assert all(torch.equal(again[slot], fields[slot]) for slot in Slot)


@given(kept=st.sets(slots, min_size=1))
def test_a_missing_slot_is_exactly_zero(kept: set[Slot]):
    bank = pack({slot: random(slot.width) for slot in kept})
    for slot, tensor in unpack(bank).items():
        assert bool(tensor.any()) is (slot in kept)


@given(slot=slots, seed=seeds)
def test_readout_is_the_left_inverse_of_spread(slot: Slot, seed: int):
    canonical = random(slot.components, seed)
    wide = spread(slot, canonical)
    assert wide.shape[1] == slot.width
    torch.testing.assert_close(readout(slot, wide), canonical, rtol=0, atol=1e-15)


@given(slot=slots, seed=seeds)
def test_what_is_unread_changes_no_reading_and_is_all_that_the_reading_leaves(
    slot: Slot, seed: int
):
    wide = random(slot.width, seed)
    rest = unread(slot, wide)
    torch.testing.assert_close(readout(slot, rest), torch.zeros_like(readout(slot, wide)))
    torch.testing.assert_close(spread(slot, readout(slot, wide)) + rest, wide)


def test_layouts():
    x, y, xy = (torch.full((1, 1, *GRID), v) for v in (1.0, 2.0, 3.0))
    vector = spread(Slot.IMPULSE, torch.cat([x, y], 1))
    tensor = spread(Slot.STRAIN, torch.cat([x, y, xy], 1))
    assert vector[0, :, 0, 0, 0].tolist() == [1, 2, 1, 2]
    assert tensor[0, :, 0, 0, 0].tolist() == [1, 3, 3, 2]
    uneven = torch.cat([x, 0 * x, 2 * xy, y], 1)
    assert readout(Slot.STRESS, uneven)[0, :, 0, 0, 0].tolist() == [1, 2, 3]


def test_read_fields_takes_velocity_from_its_head():
    bank = random(32)
    plain = read_fields(bank)
    headed = read_fields(bank, lambda scaffold: 5 * scaffold[:, 2:])
    assert {slot: f.shape[1] for slot, f in plain.items()} == {s: s.components for s in Slot}
    assert torch.equal(headed[Slot.VELOCITY], 5 * bank[:, 6:8])
    assert torch.equal(headed[Slot.WAVE], plain[Slot.WAVE])


def test_wrong_widths_are_refused_with_the_numbers():
    with pytest.raises(InputError, match="pack got 3 channels for slot strain; it takes 4"):
        pack({Slot.STRAIN: random(3)})
    with pytest.raises(InputError, match="spread got 4 channels for slot wave; it takes 1"):
        spread(Slot.WAVE, random(4))
    with pytest.raises(InputError, match="readout got 1 channels for slot wave; it takes 4"):
        readout(Slot.WAVE, random(1))
    with pytest.raises(InputError, match="pack was given 0 slots"):
        pack({})
