"""Times the adapter alone at the embedded model's size, on one CPU thread.

    python benchmarks/adapter_cpu.py [--width 64] [--batch 1 16] [--repeats 7]

Prints medians in milliseconds of a forward pass and of forward + backward, for K = 0, 4, 8, the
dense 3x3x3 form and the plain control. Run it on an idle machine: it measures wall time.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from pila.adapter import PilaAdapter, PlainAdapter

GRID = (9, 12, 12)
TEXT_DIM = 64


def median_ms(run: Callable[[], object], repeats: int) -> float:
    run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the adapter on one CPU thread.")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)

    adapter = PilaAdapter(text_dim=TEXT_DIM, hidden_width=options.width)
    dense = PilaAdapter(text_dim=TEXT_DIM, hidden_width=options.width, conv="dense")
    models = {
        "K = 0": (adapter, 0),
        "K = 4": (adapter, 4),
        "K = 8": (adapter, 8),
        "K = 4, dense": (dense, 4),
        "plain control": (PlainAdapter.matching(adapter), None),
    }
    for model, _ in models.values():
        torch.nn.init.normal_(getattr(model, "decoder", model).out.weight)  # live, as when trained

    print(f"latents 16x{'x'.join(map(str, GRID))}, width {options.width}, one thread, float32")
    print(f"{'model':<16}{'parameters':>12}{'batch':>7}{'forward ms':>13}{'with backward ms':>19}")
    for batch in options.batch:
        x_t, v = torch.randn(2, batch, 16, *GRID)
        inputs = (x_t, v, torch.rand(batch), torch.randn(batch, TEXT_DIM))
        for name, (model, top_k) in models.items():

            def forward(model=model, top_k=top_k) -> torch.Tensor:
                return model(*inputs, top_k=top_k)  # noqa: B023

            def train(model=model, forward=forward) -> None:
                model.zero_grad()
                forward().square().mean().backward()

            with torch.no_grad():
                inference = median_ms(forward, options.repeats)
            training = median_ms(train, max(options.repeats // 2, 1))
            size = model.num_parameters_total()
            print(f"{name:<16}{size:>12,}{batch:>7}{inference:>13.1f}{training:>19.1f}")


if __name__ == "__main__":
    main()
