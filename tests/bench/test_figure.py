"""What the measurements make of their values; the measurements themselves are no tests."""

from __future__ import annotations

import pytest

from tests.bench.figure import Figure, table
from tests.bench.writer import outage_s

OUTAGE = Figure(name="outage", unit="s", most=0.8, never_above=1.5)
RATE = Figure(name="rate", unit="1/s", least=5000, digits=0)


@pytest.mark.parametrize(
    ("acknowledged", "since_s", "then"),
    [
        pytest.param([1.0, 1.01, 1.02], 0.0, 0.0, id="no pause"),
        pytest.param([1.0, 1.09, 1.1], 0.0, 0.0, id="a slow insert is no pause"),
        pytest.param([1.0, 1.5, 1.51], 1.2, 0.5, id="a pause counts from its begin"),
        pytest.param([1.0, 1.5, 1.51, 1.81], 1.2, 0.8, id="pauses are summed up"),
        pytest.param([1.0, 1.5, 1.51, 1.81], 1.51, 0.3, id="an earlier pause does not count"),
        pytest.param([], 0.0, 0.0, id="nothing was written"),
    ],
)
def test_outage(acknowledged: list[float], since_s: float, then: float) -> None:
    assert outage_s(acknowledged, since_s) == pytest.approx(then)


@pytest.mark.parametrize(
    ("figure", "values", "is_reached"),
    [
        pytest.param(OUTAGE, [0.5, 0.8, 1.5], True, id="at both limits"),
        pytest.param(OUTAGE, [0.5, 0.81, 0.9], False, id="median above"),
        pytest.param(OUTAGE, [0.5, 0.5, 1.51], False, id="one above the most that may be"),
        pytest.param(RATE, [4999.0, 5000.0, 9000.0], True, id="at the least"),
        pytest.param(RATE, [4999.0, 4999.0, 9000.0], False, id="below the least"),
    ],
)
def test_a_goal(figure: Figure, values: list[float], is_reached: bool) -> None:
    assert figure.is_reached(values) is is_reached


def test_the_table() -> None:
    shown = table({OUTAGE: [0.9], RATE: []}, {OUTAGE: [2.0, 3.0, 4.0]})
    assert shown.splitlines()[2:] == [
        "outage  s     ≤ 0.8, max ≤ 1.5  0.90 (0.90 to 0.90; 1)  MISSED  3.00 (2.00 to 4.00; 3)",
        "rate    1/s   ≥ 5,000           -                               -",
    ]
