"""The names that readers see: short and long, in the order in which they are shown."""

from gumbel import activations
from gumbel.experiment import architectures

FREQUENCIES = {"r": "rare", "c": "common", "f": "frequent"}

_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")

#: What may become of a decision, in the order in which it is counted (gumbel.report.verdicts.claims).
VERDICTS = (
    "reproduced", "same_direction", "positive", "equivalent", "no_clear_difference", "undecided", "negative",
    "opposite", "contradicted", "not_measurable", "few_trainings", "not_run",
)  # fmt: skip

#: How often nominal 95 % intervals held the truth of AP: by benchmarks/coverage.py, tabulated in docs/evaluation.md.
SIMULATED = {
    "single": "In a simulation of 200 images such intervals held the true AP in 94 % of draws, AP50 in 92 %.",
    "difference": "In a simulation of 200 images they held the two trainings’ true difference in AP in 94 % of draws.",
    "mean": "In a simulation of 200 images and 3 trainings such intervals held the true mean AP in 98 % of draws.",
    "differences": "In a simulation of 200 images and 3 trainings they held the true difference in 99 % of draws.",
}

#: Types of error (gumbel.analysis.errors), as they are shown.
ERRORS = {
    "classification": "wrong category",
    "localisation": "badly placed",
    "both": "both of these",
    "duplicate": "duplicate",
    "background": "nothing there",
    "missed": "missed",
}

STATISTICS = {
    "coefficient_of_variation": "Coefficient of variation",
    "gini": "Gini",
    "spearman": "Spearman with training images",
    "ratio_frequent_rare": "Mean frequent / rare",
}


def activation_name(activation: str, scoring: str = "matched") -> str:
    """``sigmoid`` as ``Sigmoid``, or ``Sigmoid, scored with softmax`` under the released scoring."""
    name = activations.said(activation)["label"] if activation in activations.names() else activation
    return name if scoring == "matched" else f"{name}, scored with softmax"


def architecture_name(architecture: str) -> str:
    """``mask_rcnn_r50`` as ``M-R50``."""
    return architectures.get(architecture).label if architecture in architectures.names() else architecture


def detector_name(architecture: str) -> str:
    """``mask_rcnn_r50`` as ``Mask R-CNN, ResNet-50``."""
    return architectures.get(architecture).detector if architecture in architectures.names() else architecture


def scientific(value: float | None) -> str:
    """Two digits, as a power of ten where it is small.

    >>> scientific(0.36), scientific(0.000021)
    ('0.36', '2.1×10⁻⁵')
    """
    if value is None or value != value:
        return "–"
    if value == 0 or value >= 1e-3:
        return f"{value:.2g}"
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa}×10⁻{str(-int(exponent)).translate(_SUPERSCRIPTS)}"


def fixed(value: float | None, form: str) -> str:
    """A number with a true minus and no negative zero; an en dash where there is none.

    >>> fixed(-1.25, "+.1f"), fixed(-0.01, "+.1f"), fixed(float("nan"), ".2f")
    ('−1.2', '+0.0', '–')
    """
    if value is None or value != value:
        return "–"
    shown = format(value, form)
    return (shown if float(shown) else format(0.0, form)).replace("-", "−")


def percent(value: float | None, sign: bool = False) -> str:
    """A fraction x 100 with one decimal, as :func:`fixed` prints it."""
    return fixed(None if value is None else 100 * value, "+.1f" if sign else ".1f")


def share(value: float | None) -> str:
    """A fraction as a whole percentage; an en dash where there is none.

    >>> share(0.034), share(0.001), share(None)
    ('3 %', '0 %', '–')
    """
    return "–" if value is None else f"{value:.0%}".replace("%", " %")


def duration(seconds: float | None) -> str:
    """Seconds as ``45 s``, ``3 min 20 s``, ``39 min`` or ``5 h 07 min``.

    >>> duration(45.2), duration(200), duration(2340), duration(18420)
    ('45 s', '3 min 20 s', '39 min', '5 h 07 min')
    """
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    if minutes >= 10:
        return f"{round(seconds / 60)} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
