"""A number of the matrix is bold only where no other activation's interval reaches its own."""

import pytest

from gumbel.evaluation.metrics import SHOWN
from gumbel.report.page.sections.matrix import MatrixRow, Number, _mark_best

Interval = tuple[float, float] | None


def bold(*intervals: Interval) -> list[bool]:
    rows = []
    for name, interval in zip(("softmax", "sigmoid", "gumbel"), intervals, strict=True):
        number = Number(interval and sum(interval) / 2, "val, n=1", interval=interval)
        figures = dict.fromkeys(SHOWN, number)
        rows.append(MatrixRow("mask_rcnn_r50", name, "matched", "done", "", 1, figures, {}, {}, []))
    return [row.figures["segm", "AP"].best for row in _mark_best(rows)]


@pytest.mark.parametrize(
    ("intervals", "expected"),
    [
        ([(0.1, 0.2), (0.15, 0.25), (0.3, 0.4)], [False, False, True]),
        ([(0.1, 0.2), (0.15, 0.31), (0.3, 0.4)], [False, False, False]),
        ([(0.0, 0.0), (0.0, 0.0), (0.0, 0.0)], [False, False, False]),
        ([None, (0.1, 0.2), (0.3, 0.4)], [False, False, True]),
        ([None, None, (0.3, 0.4)], [False, False, False]),
    ],
)
def test_bold_is_what_is_clearly_highest(intervals: list[Interval], expected: list[bool]) -> None:
    assert bold(*intervals) == expected
