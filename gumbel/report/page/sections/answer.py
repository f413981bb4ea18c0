"""The answer: how far the activations differ, model by model."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gumbel.report.drawing.forest import forest
from gumbel.report.page.results import PageSection, Results
from gumbel.report.page.sections.categories import KEYS, category_frame
from gumbel.report.verdicts.claims import Claim
from gumbel.report.verdicts.rules.comparison import DifferenceClaim
from gumbel.words import activation_name, architecture_name, detector_name, fixed

#: The masks' figures that are compared, in words.
METRICS = {"AP": "AP", "APr": "rare AP (APr)", "APc": "common AP (APc)", "APf": "frequent AP (APf)"}
#: What an interval of a difference says, in the order in which it is told.
SIGNS = ("higher", "lower", "no clear difference", "not measurable", "not run")
_FLOOR = 0.05  # points: below it, both sides print as 0.0


@dataclass(frozen=True)
class Contrast:
    """A figure of one activation minus another's: what each model's interval says, and the differences in points."""

    metric: str
    against: str
    signs: dict[str, str]
    differences: dict[str, float]

    @property
    def said(self) -> str:
        """Such as ``lower in 2 of 5 models, no clear difference in 3``."""
        counts = Counter(self.signs.values())
        first, *others = (f"{sign} in {counts[sign]}" for sign in SIGNS if counts[sign])
        models = "1 model" if len(self.signs) == 1 else f"{len(self.signs)} models"
        return ", ".join([f"{first} of {models}", *others])


class Answer(PageSection):
    """Forest plots of the masks' figures, one a figure, and what they say.

    ``contrasts``: of each figure and each other activation. ``clearest``: the contrast whose intervals agree on a sign
    in most models, if in more than half. ``rare``: per model, how many rare categories either compared activation
    scores above 0, of how many. ``tallies``: of each claim, how many of its verdicts have each outcome.
    """

    title = "Answer"

    def __init__(self, results: Results):
        self.of = self.against = ""
        self.contrasts: list[Contrast] = []
        self.clearest: tuple[Contrast, str, str] | None = None
        self.tallies: list[tuple[Claim, Counter[str]]] = []
        for verdict in results.verdicts:
            if not self.tallies or self.tallies[-1][0] is not verdict.claim:
                self.tallies.append((verdict.claim, Counter()))
            self.tallies[-1][1][verdict.outcome] += 1
        self.models = {architecture_name(name): detector_name(name) for name in results.experiment.architectures}
        self.rare: dict[str, str] = {}
        if results.compared is None:
            return
        of, first = results.compared
        self.of, self.against = activation_name(of), activation_name(first)
        others = sorted((name for name in results.activations if name != of), key=lambda name: name != first)
        table = _differences(results, of, others)
        self.contrasts = [_contrast(results, table, metric, of, against) for metric in METRICS for against in others]
        self.clearest = _clearest(self.contrasts)
        self.rare = _measurable(results, (of, first))
        bands = {
            claim.evidence.metric: claim.threshold
            for claim in reversed(results.claims)
            if isinstance(claim, DifferenceClaim) and claim.evidence.of.activation == of
        }
        self.bands = {metric: str(band) for metric, band in bands.items() if metric in METRICS}
        self.published = [name for name in others if name in set(table[table["kind"] == "paper"]["against"])]
        span = np.ceil(table[["value", "low", "high"]].abs().max().max() * 1.05) if len(table) else 1.0
        drawn = [
            forest(
                table[table["metric"] == metric],
                words[0].upper() + words[1:],
                list(self.models),
                self.of,
                bands[metric].value if metric in bands else None,
                float(span),
                results.palette,
            )
            for metric, words in METRICS.items()
            if (table["metric"] == metric).any()
        ]
        self.figures = {"differences": drawn}

    @property
    def headline(self) -> list[str]:
        """What the differences in rare AP and in AP say; nothing before there are any."""
        main = {one.metric: one for one in self.contrasts if activation_name(one.against) == self.against}
        measured = any(one.differences for one in main.values())
        return [f"{name}: {main[key].said}" for name, key in (("Rare AP", "APr"), ("AP", "AP"))] if measured else []


def _differences(results: Results, of: str, others: list[str]) -> pd.DataFrame:
    """Columns metric, model, against, kind, value, low and high, in points: means, seeds where several, the paper's."""
    summary = results.summary
    masks = summary[(summary["iou_type"] == "segm") & summary["metric"].isin(METRICS) & summary["value"].notna()]
    own = masks[(masks["split"] == results.split) & (masks["scoring"] == "matched")]
    keys = ["metric", "architecture"]
    parts = []
    for against in others:
        paired = own[(own["source"] == "paired") & (own["activation"] == of) & (own["text"] == f"{against}/matched")]
        parts.append(paired[[*keys, "value", "low", "high"]].assign(kind="mean", against=against))
        sides = [
            own[(own["source"] == "evaluation") & (own["activation"] == name)].set_index([*keys, "seed"])["value"]
            for name in (of, against)
        ]
        seeds = (sides[0] - sides[1]).dropna().reset_index()
        if results.several_seeds:
            parts.append(seeds[[*keys, "value"]].assign(kind="seed", against=against))
        elif paired.empty:
            parts.append(seeds[[*keys, "value"]].assign(kind="mean", against=against))
        parts.append(_published(results, of, against).assign(kind="paper", against=against))
    frame = pd.concat(parts, ignore_index=True).reindex(
        columns=[*keys, "against", "kind", "value", "low", "high"]
    )  # no figure has bounds where nothing was resampled
    frame[["value", "low", "high"]] = frame[["value", "low", "high"]].astype(float) * 100
    return frame.assign(model=frame["architecture"].map(architecture_name))


def _published(results: Results, of: str, against: str) -> pd.DataFrame:
    """The paper's differences; an activation that it published under the released scoring alone stands for itself."""
    paper = {
        (architecture, activation, metric): value
        for scoring in ("released", "matched")  # the latter wins
        for (architecture, activation, scored, iou_type, metric), (value, _) in results.published.items()
        if (scored, iou_type) == (scoring, "segm")
    }
    rows = [
        {"metric": metric, "architecture": name, "value": paper[name, of, metric] - paper[name, against, metric]}
        for name in results.experiment.architectures
        for metric in METRICS
        if (name, of, metric) in paper and (name, against, metric) in paper
    ]
    return pd.DataFrame(rows, columns=["metric", "architecture", "value"])


def _contrast(results: Results, table: pd.DataFrame, metric: str, of: str, against: str) -> Contrast:
    chosen = (table["metric"] == metric) & (table["against"] == against) & (table["kind"] == "mean")
    found = table[chosen].set_index("architecture")
    level = results.summary
    level = level[(level["source"] == "evaluation") & (level["iou_type"] == "segm") & (level["metric"] == metric)]
    level = level[(level["scoring"] == "matched") & (level["split"] == results.split)]
    sides = level[level["activation"].isin([of, against])].groupby("architecture")["value"].max()
    signs = {}
    for name in results.experiment.architectures:
        if name not in found.index:
            signs[name] = "not run"
        elif 100 * sides[name] < _FLOOR:
            signs[name] = "not measurable"
        else:
            row = found.loc[name]
            signs[name] = "higher" if row["low"] > 0 else "lower" if row["high"] < 0 else "no clear difference"
    return Contrast(metric, against, signs, {str(name): value for name, value in found["value"].items()})


def _clearest(contrasts: list[Contrast]) -> tuple[Contrast, str, str] | None:
    """The contrast of which most models agree on a sign, with the sign and the range of its differences."""
    counted = [(sum(s == sign for s in one.signs.values()), one, sign) for one in contrasts for sign in SIGNS[:2]]
    size = {id(one): abs(sum(one.differences.values())) for one in contrasts}
    number, one, sign = max(counted, key=lambda entry: (entry[0], size[id(entry[1])]))
    if 2 * number <= len(one.signs):
        return None
    values = sorted((one.differences[name] for name, found in one.signs.items() if found == sign), key=abs)
    ends = dict.fromkeys(fixed(value, "+.1f") for value in (values[0], values[-1]))
    return one, sign, " to ".join(ends)


def _measurable(results: Results, pair: tuple[str, str]) -> dict[str, str]:
    frame = category_frame(results.experiment)
    rare = frame[(frame["frequency"] == "r") & frame["activation"].isin(pair)].dropna(subset="AP")
    best = rare.groupby([*KEYS, "architecture"], sort=False)["AP"].max().groupby("architecture", sort=False)
    return {
        architecture_name(str(name)): f"{int((found > 0).sum())} of {len(found)}" for name, found in best if len(found)
    }
