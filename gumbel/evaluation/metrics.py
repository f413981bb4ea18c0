"""Every figure, defined once: its name, how it is made of the categories' precision and recall, and where it is shown.

A figure that is added to :data:`METRICS` stands in the metrics of every evaluation, in the replicates that intervals
are made of, and, with a heading, in the matrix of the page and in its exports.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gumbel.evaluation.protocol import IOU_THRESHOLDS, IOU_TYPES, MAX_DETECTIONS, SIZES

#: A figure, or its values in B replicates (B,); NaN where undefined.
Value = Any


def mean(values: np.ndarray) -> float:
    """Mean of what is defined of ``values``; NaN where nothing is."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else float("nan")


def as_record(values: Mapping[str, float]) -> dict[str, float | None]:
    """For JSON: None where undefined."""
    return {name: None if np.isnan(value) else float(value) for name, value in values.items()}


@dataclass(frozen=True)
class Categories:
    """Average precision and recall of K categories at T IoU thresholds, and how they are averaged.

    ``precision`` and ``recall`` have an array (T, ..., K, ...) for each range of areas: all, small, medium, large.
    ``mean(array, thresholds, categories)`` averages what is defined of those chosen.
    """

    precision: Sequence[np.ndarray]
    recall: Sequence[np.ndarray]
    frequencies: np.ndarray  # (K,) r, c or f
    mean: Callable[[np.ndarray, slice, Any], Value]

    def ap(self, iou: float | None = None, size: str = "", frequency: str = "") -> Value:
        """Mean average precision, at all IoU thresholds or at ``iou``.

        Of objects of one ``size`` (s, m or l), or of the categories of one ``frequency`` (r, c or f), if given.
        """
        return self._mean(self.precision, iou, size, frequency)

    def ar(self, iou: float | None = None, size: str = "", frequency: str = "") -> Value:
        """Mean recall that all detections together reach, chosen as for :meth:`ap`."""
        return self._mean(self.recall, iou, size, frequency)

    def _mean(self, arrays: Sequence[np.ndarray], iou: float | None, size: str, frequency: str) -> Value:
        thresholds = slice(None)
        if iou is not None:
            place = int(np.flatnonzero(np.isclose(IOU_THRESHOLDS, iou))[0])
            thresholds = slice(place, place + 1)
        categories = self.frequencies == frequency if frequency else slice(None)
        return self.mean(arrays[SIZES.index(size)], thresholds, categories)


@dataclass(frozen=True)
class Metric:
    """A figure; ``shown`` maps a kind of overlap to the figure's heading in the matrix, where it stands there.

    ``of_group``: it is about some categories as a sample of their kind, so that its interval holds other ones too.
    """

    name: str
    make: Callable[[Categories], Value]
    shown: Mapping[str, str] = field(default_factory=dict)
    of_group: bool = False


#: In the order in which they are written.
METRICS = (
    Metric("AP", lambda of: of.ap(), {"segm": "AP", "bbox": "box AP"}),
    Metric("AP50", lambda of: of.ap(iou=0.5), {"segm": "AP50"}),
    Metric("AP75", lambda of: of.ap(iou=0.75)),
    Metric("APs", lambda of: of.ap(size="s")),
    Metric("APm", lambda of: of.ap(size="m")),
    Metric("APl", lambda of: of.ap(size="l")),
    Metric("APr", lambda of: of.ap(frequency="r"), {"segm": "APr"}, of_group=True),
    Metric("APc", lambda of: of.ap(frequency="c"), {"segm": "APc"}, of_group=True),
    Metric("APf", lambda of: of.ap(frequency="f"), {"segm": "APf"}, of_group=True),
    Metric(f"AR@{MAX_DETECTIONS}", lambda of: of.ar()),
)

#: Figures of the matrix: (kind of overlap, metric) to its heading.
SHOWN = {
    (iou_type, metric.name): metric.shown[iou_type]
    for iou_type in IOU_TYPES
    for metric in METRICS
    if iou_type in metric.shown
}

#: Figures whose intervals are over categories too.
OF_GROUPS = tuple(metric.name for metric in METRICS if metric.of_group)


def figures(categories: Categories) -> dict[str, Value]:
    """Every figure by its name."""
    return {metric.name: metric.make(categories) for metric in METRICS}
