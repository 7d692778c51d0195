"""How often control passes from one file of pila to another: a measure of scattered code.

    .venv/bin/python benchmarks/calls.py

Counted are calls of a function in one file by a function in another, on the first pass after a warm
one: `pila generate` up to its first corrected step, one denoising step, and one training step of
stage C. The embedded model, one clip.
"""

import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

SOURCE = str(Path(__file__).resolve().parents[1] / "src" / "pila")


class Stop(Exception):
    """Ends a run where counting ends."""


class Calls:
    """Counts calls between files of pila while it is entered."""

    def __init__(self) -> None:
        self.between: Counter[tuple[str, str]] = Counter()

    def __enter__(self) -> "Calls":
        sys.setprofile(self._called)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _called(self, frame: FrameType, event: str, _: Any) -> None:
        if event != "call" or not frame.f_code.co_filename.startswith(SOURCE):
            return
        mine = frame.f_code.co_filename
        caller = frame.f_back
        while caller and not caller.f_code.co_filename.startswith(SOURCE):
            caller = caller.f_back
        if caller and caller.f_code.co_filename != mine:
            self.between[caller.f_code.co_filename, mine] += 1

    def report(self, name: str) -> None:
        """One line, and the pairs of files that call each other most."""
        files = {file for pair in self.between for file in pair}
        print(f"| {name} | {self.between.total()} | {len(files)} |")
        for (one, other), count in self.between.most_common(4):
            print(f"|     {Path(one).name} -> {Path(other).name} | {count} | |")


def generating() -> Calls:
    """From the command line to the first corrected step."""
    from pila import cli
    from pila.adapter import PilaAdapter

    forward = PilaAdapter.forward

    def first(*_: Any, **__: Any) -> None:
        raise Stop

    with tempfile.TemporaryDirectory() as folder:
        line = ["generate", "a small red ball moving fast hits a large blue ball from the left"]
        line += ["--steps", "2", "--output", f"{folder}/clip.mp4", "--quiet"]
        cli.run(line)  # imports, kept captions
        PilaAdapter.forward = first  # type: ignore[method-assign]
        calls = Calls()
        try:
            with calls:
                cli.run(line)
        except Stop:
            pass
        finally:
            PilaAdapter.forward = forward  # type: ignore[method-assign]
    return calls


def denoising() -> Calls:
    """One step of the pipeline: the second of three."""
    import pila  # noqa: F401
    from pila.pipelines.locate import load_pipeline

    pipe = load_pipeline("embedded", "embedded", device="cpu")
    pipe.set_progress_bar_config(disable=True)
    calls = Calls()

    def step_end(_: Any, step: int, __: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        sys.setprofile(calls._called if step == 0 else None)
        return tensors

    pipe(
        "a small red ball moving fast hits a large blue ball from the left",
        categories=["rigid_body", "collision"],
        height=64,
        width=64,
        num_frames=33,
        num_inference_steps=3,
        guidance_scale=2.0,
        max_sequence_length=32,
        output_type="latent",
        callback_on_step_end=step_end,
    )
    return calls


def training() -> Calls:
    """Loss and gradient of the second step of stage C, two clips."""
    from pila.lab.embedded.recipes import embedded
    from pila.train.step_rng import StepRng
    from pila.train.tasks import build_task

    config = embedded()["couple"]
    config = replace(
        config,
        world=replace(config.world, clips=64),
        optim=replace(config.optim, batch=2),
    )
    task = build_task(config)
    step = [StepRng(seed=0, step=s, batch=2, rows=range(2)) for s in range(2)]
    task.loss(step[0])[0].backward()
    calls = Calls()
    with calls:
        task.loss(step[1])[0].backward()
    return calls


def main() -> None:
    """Print the table."""
    print("| what | calls between files | files |")
    print("|---|---|---|")
    cases: dict[str, Callable[[], Calls]] = {
        "`pila generate` up to the first corrected step": generating,
        "one denoising step": denoising,
        "one training step of stage C": training,
    }
    for name, count in cases.items():
        count().report(name)


if __name__ == "__main__":
    main()
