"""What steps draw: made ahead of an accelerator, in order, and the same as what is made at once."""

import threading

import pytest
import torch

from pila.train.step_rng import Prefetcher, StepRng, pinned

CPU, ACCELERATOR = torch.device("cpu"), torch.device("cuda")
"""Nothing is computed on the second: what is made ahead is made on the host."""


def draws(step: int) -> StepRng:
    return StepRng(seed=3, step=step, batch=4, rows=range(2, 4))


def noise(d: StepRng) -> torch.Tensor:
    return d.normal((5,))


@pytest.mark.parametrize("device", [CPU, ACCELERATOR])
def test_what_is_made_ahead_is_what_is_made_at_once(device):
    ahead = Prefetcher(noise, device, steps=2)
    for step in (0, 1, 2, 7, 8, 3):
        torch.testing.assert_close(ahead(draws(step)), noise(draws(step)), rtol=0, atol=0)


def test_each_step_is_made_once_and_by_one_thread():
    made: list[tuple[int, int]] = []

    def make(d: StepRng) -> int:
        made.append((d.step, threading.get_ident()))
        return d.step

    ahead = Prefetcher(make, ACCELERATOR, steps=3)
    assert [ahead(draws(step)) for step in range(5)] == list(range(5))
    assert ahead.once(lambda d: -make(d), draws(9)) == -9
    # The single thread has done all that was asked of it by now.
    steps = [step for step, _ in made]
    assert steps == [*range(8), 9]
    threads = {thread for _, thread in made}
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_an_error_comes_with_its_step():
    def make(d: StepRng) -> int:
        if d.step == 1:
            raise ValueError("no such clip")
        return d.step

    ahead = Prefetcher(make, ACCELERATOR)
    assert ahead(draws(0)) == 0
    with pytest.raises(ValueError, match="no such clip"):
        ahead(draws(1))


def test_nothing_is_moved_for_a_cpu():
    x = torch.zeros(3)
    assert pinned({"x": x}, CPU)["x"] is x
