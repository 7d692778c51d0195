"""The physical attribute bank (Eq. 12): joining, splitting and reading its ten slots.

A slot has two shapes. Its *canonical field* is what a relation reads: a scalar (1 channel), a
vector (x, y) or a symmetric tensor (xx, yy, xy). In the bank it fills `Slot.width` channels:
scalars and vectors are repeated, a tensor is laid out as (xx, xy, yx, yy).
"""

from collections.abc import Callable, Mapping

import torch
from einops import reduce, repeat

from pila.errors import InputError
from pila.physics.layout import NUM_BANK_CHANNELS, Category, Slot
from pila.types import AnyField, BankTensor

__all__ = [
    "NUM_BANK_CHANNELS",
    "Category",
    "Slot",
    "pack",
    "read_fields",
    "readout",
    "spread",
    "unpack",
    "unread",
]


def pack(fields: Mapping[Slot, AnyField]) -> BankTensor:
    """Join slot tensors, each of its slot's width, into a bank; a missing slot is exactly zero."""
    if not fields:
        raise InputError("pack was given 0 slots; it needs at least 1 to know the grid's size")
    for slot, tensor in fields.items():
        _expect_channels("pack", Slot(slot), tensor, Slot(slot).width)
    some = next(iter(fields.values()))
    batch, _, *grid = some.shape
    return torch.cat(
        [
            fields[slot] if slot in fields else some.new_zeros(batch, slot.width, *grid)
            for slot in Slot
        ],
        dim=1,
    )


def unpack(bank: BankTensor) -> dict[Slot, AnyField]:
    """Split a bank into its ten slot tensors (views); the inverse of `pack`."""
    return {slot: bank[:, slot.channels] for slot in Slot}


def spread(slot: Slot, canonical: AnyField) -> AnyField:
    """Lay a canonical field out over its slot's width: scalars and vectors are repeated."""
    _expect_channels("spread", slot, canonical, slot.components)
    if slot.components == 3:
        xx, yy, xy = canonical.split(1, dim=1)
        return torch.cat([xx, xy, xy, yy], dim=1)
    return repeat(canonical, "b c t h w -> b (r c) t h w", r=slot.width // slot.components)


def readout(slot: Slot, tensor: AnyField) -> AnyField:
    """The canonical field of a slot tensor: the mean over repeats, the left inverse of `spread`."""
    _expect_channels("readout", slot, tensor, slot.width)
    if slot.components == 3:
        xx, xy, yx, yy = tensor.split(1, dim=1)
        return torch.cat([xx, yy, (xy + yx) / 2], dim=1)
    return reduce(tensor, "b (r c) t h w -> b c t h w", "mean", c=slot.components)


def unread(slot: Slot, tensor: AnyField) -> AnyField:
    """What `readout` does not see of a slot tensor, [b, width, t, h, w]: its reading is 0."""
    return tensor - spread(slot, readout(slot, tensor))


def read_fields(
    bank: BankTensor, velocity_head: Callable[[AnyField], AnyField] | None = None
) -> dict[Slot, AnyField]:
    """All ten canonical fields of a bank.

    The velocity slot is a learned 4-channel scaffold whose 2-channel proxy comes from
    `velocity_head` (Eq. 14, the kinematic anchor); without a head it is read like any vector.
    """
    fields = {slot: readout(slot, tensor) for slot, tensor in unpack(bank).items()}
    if velocity_head is not None:
        fields[Slot.VELOCITY] = velocity_head(bank[:, Slot.VELOCITY.channels])
    return fields


def _expect_channels(verb: str, slot: Slot, tensor: AnyField, channels: int) -> None:
    if tensor.shape[1] != channels:
        raise InputError(
            f"{verb} got {tensor.shape[1]} channels for slot {slot}; it takes {channels} "
            f"(canonical fields have {slot.components}, slot tensors {slot.width})"
        )
