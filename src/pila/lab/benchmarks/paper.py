"""What the paper prints (arXiv 2606.04737, Tables 2 and 3), to stand beside our own numbers.

Numbers and names of methods are its own. Its protocol is not fully stated, so that no number of
ours is its equal: each table names what is known of the route.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperTable:
    """Columns of a table that belong to a benchmark.

    Attributes:
        table: where it stands.
        route: what is known of how its numbers were made.
        columns: names of the columns.
        rows: values by method, in the columns' order.
    """

    table: str
    route: str
    columns: tuple[str, ...]
    rows: dict[str, tuple[float, ...]]


_COLUMNS_2 = ("Joint", "Rule", "Dynamic", "Mechanics", "Material", "Motion", "Imaging")
_TABLE_2 = {
    "Wan 2.1-1.3B": (0.643, 0.852, 0.729, 0.518, 0.755, 0.436, 0.589),
    "CogVideoX-5B": (0.716, 0.902, 0.776, 0.520, 0.887, 0.459, 0.554),
    "VideoREPA-2B": (0.684, 0.882, 0.773, 0.521, 0.790, 0.474, 0.519),
    "Ours-1.3B": (0.740, 0.965, 0.933, 0.542, 0.873, 0.576, 0.600),
    "Hunyuan-80G": (0.546, 0.829, 0.616, 0.551, 0.793, 0.337, 0.637),
    "Wan 2.2-14B": (0.690, 0.926, 0.823, 0.563, 0.842, 0.552, 0.653),
    "WISA-14B": (0.681, 0.897, 0.794, 0.519, 0.820, 0.517, 0.626),
    "Ours-14B (transfer)": (0.743, 0.953, 0.953, 0.608, 0.907, 0.651, 0.658),
}
_TABLE_3 = {
    "Wan 2.1-1.3B": (0.483, 0.640, 0.322, 0.342, 0.467),
    "CogVideoX-5B": (0.483, 0.673, 0.433, 0.425, 0.519),
    "VideoREPA-2B": (0.433, 0.627, 0.433, 0.417, 0.490),
    "Ours-1.3B": (0.575, 0.713, 0.578, 0.558, 0.615),
    "Hunyuan-80G": (0.375, 0.420, 0.211, 0.325, 0.346),
    "Wan 2.2-14B": (0.458, 0.753, 0.444, 0.417, 0.538),
    "WISA-14B": (0.458, 0.700, 0.356, 0.375, 0.494),
    "Ours-14B (transfer)": (0.625, 0.840, 0.589, 0.617, 0.683),
}


def _part(*columns: str) -> dict[str, tuple[float, ...]]:
    places = [_COLUMNS_2.index(column) for column in columns]
    return {name: tuple(row[i] for i in places) for name, row in _TABLE_2.items()}


_VIDEOPHY = PaperTable(
    table="Table 2",
    route="344 prompts of VideoPhy, judged with VideoPhy-2's measures; Joint is SA >= 4 and "
    "PC >= 4; the judge, the rules and how Rule is counted are not stated",
    columns=("Joint", "Rule"),
    rows=_part("Joint", "Rule"),
)
PAPER = {
    "videophy": _VIDEOPHY,
    "videophy2": _VIDEOPHY,
    "phygenbench": PaperTable(
        table="Table 3",
        route="whole scores of 0 to 3 by prompt (all values are k/3n), Average over prompts; "
        "whether closed, open or average is not stated, nor the judges",
        columns=("Mechanics", "Optics", "Thermal", "Material", "Average"),
        rows=_TABLE_3,
    ),
    "vbench2": PaperTable(
        table="Table 2",
        route="Motion is k/344, so it was asked about VideoPhy's prompts, which the official "
        "VBench-2.0 does not take; its questions are not published",
        columns=("Dynamic", "Mechanics", "Material", "Motion"),
        rows=_part("Dynamic", "Mechanics", "Material", "Motion"),
    ),
    "imaging": PaperTable(
        table="Table 2",
        route="VBench's imaging quality on clips of VideoPhy's prompts",
        columns=("Imaging",),
        rows=_part("Imaging"),
    ),
}
