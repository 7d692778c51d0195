"""`python -m tests.torture`: tries every case that is not tried yet, and prints the table.

Results are lines of JSON in `OUTPUT/SIZE-SEED.jsonl`; the same command goes on where it was
stopped. Exit code 1 where anything is bad.
"""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import tyro
from tests.torture.ground import make_ground
from tests.torture.page import close_pages
from tests.torture.plan import attempt, cases, table

from pila.progress import progress_bar


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Kill, starve and feed pila with nonsense, and say what was wrong."""

    seed: int = 0
    """Draws the moments and the changes."""
    size: Literal["full", "tenth"] = "full"
    """How many cases."""
    only: tuple[str, ...] = ()
    """Classes, by their beginnings, such as "kill" or "input: CSV"."""
    output: Path = Path("out/torture")
    """Folder for the results, and for what is made on the way."""


def main(options: Options) -> int:
    """Try what is left to try."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    torch.set_num_threads(1)
    ground = make_ground(options.output.absolute() / "ground")
    results = options.output / f"{options.size}-{options.seed}.jsonl"
    there = _read(results)
    done = {(one["group"], one["index"]) for one in there}
    missing = [case for case in cases(options.size, options.only) if case not in done]
    try:
        with results.open("a") as file:
            for group, index in progress_bar(missing, total=len(missing), unit="case"):
                outcome = attempt(group, index, ground, options.seed)
                there.append(outcome.to_dict())
                file.write(json.dumps(outcome.to_dict()) + "\n")
                file.flush()
                for fault in outcome.bad:
                    print(f"{group} {index}: {fault}", file=sys.stderr)
    finally:
        close_pages()
        print(table(there))
    return 1 if any(one["bad"] for one in there) else 0


def _read(path: Path) -> list[dict]:
    """What is tried already; a line that a kill has cut is none."""
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    whole = [line for line in lines if line.endswith("\n")]
    path.write_text("".join(whole))
    return [json.loads(line) for line in whole]


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options, description=Options.__doc__)))
