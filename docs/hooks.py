"""What the site shows from outside docs/: results and logs, at the places that links name.

Pages link to `../results/...` and `../benchmarks/...`, as they must on a forge. In the site
those files lie beside the pages, so one level of `..` is taken away.
"""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

OUTSIDE = ("results/**/*.md", "results/**/*.png", "benchmarks/results/*.json")
_UP = re.compile(r"(\]\((?:\.\./)*)\.\./(results|benchmarks)/")


def on_files(files: Files, config: Any, **_: Any) -> Files:
    """Add results and logs to the site's files."""
    root = Path(config.config_file_path).parent
    for pattern in OUTSIDE:
        for path in sorted(root.glob(pattern)):
            place = path.relative_to(root).as_posix()
            files.append(File.generated(config, place, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Point links to those files at where they lie in the site."""
    return _UP.sub(r"\1\2/", markdown)
