"""`pila profile`: printing."""

import json
from collections.abc import Callable
from typing import Any

from pila.lab.profiling.profile import ProfileRequest


def _profile(request: ProfileRequest) -> None:
    from pila.lab.profiling.profile import run as measure
    from pila.lab.profiling.profile import table

    results = measure(request)
    new = results["rows"][-results["new"] :]
    if request.json:
        print(json.dumps(results))
        return
    print(f"{results['device']}, torch {new[-1]['versions']['torch']}")
    print(table(new))
    print(f"\nadded to {results['file']}")


COMMANDS: dict[type, Callable[[Any], int | None]] = {ProfileRequest: _profile}
