"""The answer: how far the activations differ, model by model."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gumbel.report.drawing.forest import forest
from gumbel.report.page.results import PageSection, Results
from gumbel.report.page.sections.categories import KEYS, category_frame
from gumbel.report.verdicts.claims import Claim, Finding, Side, Threshold, Verdict
from gumbel.report.verdicts.rules.comparison import DifferenceClaim, DifferenceEvidence
from gumbel.words import activation_name, architecture_name, detector_name, fixed

#: The masks' figures that are compared, in words.
METRICS = {"AP": "AP", "APr": "rare AP (APr)", "APc": "common AP (APc)", "APf": "frequent AP (APf)"}
FEW = "too few trainings for a verdict"
#: What is found of a difference and 0, in the order in which it is told.
SIGNS: dict[Finding, str] = {
    "above": "higher",
    "below": "lower",
    "undecided": "no clear difference",
    "equivalent": "no clear difference",  # no difference at all
    "few_trainings": FEW,
    "not_measurable": "not measurable",
    "not_run": "not run",
}


@dataclass(frozen=True)
class Contrast:
    """A figure of one activation minus another's: what is found of each model, and the differences in points."""

    metric: str
    against: str
    signs: dict[str, str]
    differences: dict[str, float]

    @property
    def said(self) -> str:
        """Such as ``lower in 2 of 5 models, no clear difference in 3``; of no verdict, also the range."""
        counts = Counter(self.signs.values())
        told = {sign: f"{sign} in {counts[sign]}" for sign in SIGNS.values() if counts[sign]}
        told[next(iter(told))] += f" of {len(self.signs)} model{'s' if len(self.signs) > 1 else ''}"
        if FEW in told:
            told[FEW] += f" ({_ends(sorted(self.having(FEW)))} points)"
        return ", ".join(told.values())

    def having(self, sign: str) -> list[float]:
        """The differences of the models with a sign."""
        return [self.differences[name] for name, found in self.signs.items() if found == sign]


class Answer(PageSection):
    """Forest plots of the masks' figures, one a figure, and what they say.

    ``contrasts``: of each figure and each other activation. ``clearest``: the contrast whose intervals agree on a sign
    in most models, if in more than half. ``few``: whether a difference has no verdict for want of trainings. ``rare``:
    per model, how many rare categories either compared activation scores above 0, of how many. ``tallies``: of each
    claim, how many of its verdicts have each outcome.
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
        verdicts = {(metric, name): _verdicts(results, metric, of, name) for metric in METRICS for name in others}
        table = _differences(results, of, verdicts)
        self.contrasts = [_contrast(*key, found) for key, found in verdicts.items()]
        self.few = any(FEW in one.signs.values() for one in self.contrasts)
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


def _verdicts(results: Results, metric: str, of: str, against: str) -> list[Verdict]:
    """Of each model, what the rule for differences finds of 0."""
    sides = {"of": Side(activation=of), "against": [Side(activation=against)]}
    names = results.experiment.architectures
    evidence = DifferenceEvidence(iou_type="segm", metric=metric, architectures=names, **sides)
    zero = Threshold(value=0, unit="points", origin="the sign")
    claim = DifferenceClaim(id="", statement="", source="", rule="difference", evidence=evidence, threshold=zero)
    return list(claim.decide(results.summary, results.experiment))


def _differences(results: Results, of: str, verdicts: dict[tuple[str, str], list[Verdict]]) -> pd.DataFrame:
    """Columns metric, model, against, kind, value, low, high, over and caveat: means, seeds, the paper's, in points."""
    summary = results.summary
    own = summary[(summary["source"] == "evaluation") & (summary["iou_type"] == "segm") & summary["value"].notna()]
    own = own[own["metric"].isin(METRICS) & (own["split"] == results.split) & (own["scoring"] == "matched")]
    keys = ["metric", "architecture"]
    means = []
    for (metric, against), found in verdicts.items():
        for one in found:
            low, high = one.interval or (np.nan, np.nan)
            means.append((metric, one.architecture, against, "mean", one.value, low, high, one.over, one.caveat))
    parts = [pd.DataFrame(means, columns=[*keys, "against", "kind", "value", "low", "high", "over", "caveat"])]
    for against in dict.fromkeys(name for _, name in verdicts):
        sides = [own[own["activation"] == name].set_index([*keys, "seed"])["value"] for name in (of, against)]
        seeds = (100 * (sides[0] - sides[1])).dropna().reset_index()
        if results.several_seeds:
            parts.append(seeds[[*keys, "value"]].assign(kind="seed", against=against))
        parts.append(_published(results, of, against).assign(kind="paper", against=against))
    frame = pd.concat(parts, ignore_index=True).dropna(subset="value")
    frame = frame.astype(dict.fromkeys(("value", "low", "high"), float)).fillna({"over": "", "caveat": ""})
    return frame.assign(model=frame["architecture"].map(architecture_name))


def _published(results: Results, of: str, against: str) -> pd.DataFrame:
    """The paper's differences in points, of an activation as trained, or else under the released scoring."""
    paper = {
        (architecture, activation, metric): value
        for scoring in ("released", "matched")  # the latter wins
        for (architecture, activation, scored, iou_type, metric), (value, _) in results.published.items()
        if (scored, iou_type) == (scoring, "segm")
    }
    rows = [
        {
            "metric": metric,
            "architecture": name,
            "value": 100 * (paper[name, of, metric] - paper[name, against, metric]),
        }
        for name in results.experiment.architectures
        for metric in METRICS
        if (name, of, metric) in paper and (name, against, metric) in paper
    ]
    return pd.DataFrame(rows, columns=["metric", "architecture", "value"])


def _contrast(metric: str, against: str, verdicts: list[Verdict]) -> Contrast:
    signs = {str(one.architecture): SIGNS[one.finding] for one in verdicts}
    differences = {str(one.architecture): one.value for one in verdicts if one.value is not None}
    return Contrast(metric, against, signs, differences)


def _clearest(contrasts: list[Contrast]) -> tuple[Contrast, str, str] | None:
    """The contrast of which most models agree on a sign, with the sign and the range of its differences."""
    counted = [(len(one.having(sign)), one, sign) for one in contrasts for sign in ("higher", "lower")]
    size = {id(one): abs(sum(one.differences.values())) for one in contrasts}
    number, one, sign = max(counted, key=lambda entry: (entry[0], size[id(entry[1])]))
    if 2 * number <= len(one.signs):
        return None
    return one, sign, _ends(sorted(one.having(sign), key=abs))


def _ends(values: list[float]) -> str:
    """First and last, as ``−1.1 to +7.0``; once where they print alike."""
    return " to ".join(dict.fromkeys(fixed(value, "+.1f") for value in (values[0], values[-1])))


def _measurable(results: Results, pair: tuple[str, str]) -> dict[str, str]:
    frame = category_frame(results.experiment)
    rare = frame[(frame["frequency"] == "r") & frame["activation"].isin(pair)].dropna(subset="AP")
    best = rare.groupby([*KEYS, "architecture"], sort=False)["AP"].max().groupby("architecture", sort=False)
    return {
        architecture_name(str(name)): f"{int((found > 0).sum())} of {len(found)}" for name, found in best if len(found)
    }
