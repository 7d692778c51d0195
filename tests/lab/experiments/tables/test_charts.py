"""Charts of experiments: their words are whole, apart, and readable on a telephone."""

from pathlib import Path

import pytest
from tests.canvas import faults

from pila.lab.experiments.tables import summary
from pila.lab.experiments.tables.report import bars, chart

ROOT = Path(__file__).parents[4]


def test_the_chart_of_the_main_results():
    rows = summary.rows(ROOT)
    assert faults(chart(lambda axes: summary.draw(axes, rows), width=8, height=4.2)) == []


@pytest.mark.parametrize("names", [3, 12])
def test_bars_with_long_names(names):
    values = {
        f"plain-adapter-as-long-{i}": (0.1 * i, 0.1 * i - 0.05, 0.1 * i) for i in range(names)
    }
    drawn = chart(lambda axes: bars(axes, values, "gap closed"), height=1.5 + 0.35 * names)
    assert faults(drawn) == []
