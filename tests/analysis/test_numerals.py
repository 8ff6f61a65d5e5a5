"""Figures as people read them: digits that they carry, columns that can be compared."""

from __future__ import annotations

import pytest

from clawbench.analysis.numerals import column


@pytest.mark.parametrize(
    ("values", "half_widths", "shown"),
    [
        ([0.404, 0.89, 0.144], [0.005, 0.006, 0.002], ["0.404 ± 0.005", "0.890 ± 0.006", "0.144 ± 0.002"]),
        ([3.5633, 1.41, 0.003], [], ["3.56", "1.41", "0.0030"]),
        ([1.18, 1.41, 0.00664], [0.13, 0.004, 0.00008], ["1.18 ± 0.13", "1.41 ± 0.00", "0.0066 ± 0.0001"]),
        ([0.17, -0.0015], [0.19, 0.12], ["0.17 ± 0.19", "0.00 ± 0.12"]),
        ([23.513, 8.312, 0.074], [], ["23.5", "8.3", "0.074"]),
        ([None, 0.0, 5.0], [], ["–", "0.00", "5.00"]),
        ([3909.2, 54.1], [0.0, 8.0], ["3,909 ± 0", "54 ± 8"]),
    ],
)
def test_a_figure_far_below_the_others_keeps_its_digits_and_gives_them_none(
    values: list[float | None], half_widths: list[float | None], shown: list[str]
) -> None:
    assert column(values, half_widths) == shown


def test_a_median_never_reads_above_a_later_quantile() -> None:
    p50, p95 = [1.18, 0.0053], [9.3805, 0.0073]
    shown = [[float(text.split(" ")[0]) for text in column(figures, [0.13, 0.0001])] for figures in (p50, p95)]
    assert all(low <= high for low, high in zip(*shown, strict=True))
