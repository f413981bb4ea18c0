"""Each rule gives each of its verdicts."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gumbel import functional
from gumbel.report.page.content import Content
from gumbel.report.summary.collect import COLUMNS
from gumbel.report.verdicts import trainings
from gumbel.report.verdicts.claims import Claim, Verdict, count, decide, judge, load_claims
from gumbel.report.verdicts.rules.comparison import compared
from gumbel.report.verdicts.rules.gradient import gradient_error
from tests.report.fixtures import make_experiment

CLAIMS = {claim.id: claim for claim in load_claims()}


def summary(*rows: dict) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=list(COLUMNS)).astype(COLUMNS)


def scored(activation: str, value: float, seed: int = 0, scoring: str = "matched", metric: str = "AP") -> dict:
    return {
        "source": "evaluation", "architecture": "mask_rcnn_r50", "activation": activation, "seed": seed, "split": "val",
        "scoring": scoring, "iou_type": "segm", "metric": metric, "value": value,
    }  # fmt: skip


def norm(
    activation: str, value: float, metric: str = "coefficient_of_variation", stage: str = "0", seed: int = 0
) -> dict:
    return {
        "source": "weight_norms", "architecture": "mask_rcnn_r50", "activation": activation, "seed": seed,
        "metric": metric, "value": value, "text": stage,
    }  # fmt: skip


def verdict(claim: str, *rows: dict, reproduction: bool = False) -> Verdict:
    """The first verdict of a claim: the one on Mask R-CNN R50, where it has one an architecture."""
    return decide(summary(*rows), [CLAIMS[claim]], make_experiment(reproduction=reproduction))[0]


def trained(number: int, gumbel: float, low: float, high: float, metric: str = "AP", error: float = 0.0) -> list[dict]:
    """Trainings of Gumbel and, at 20 points, of softmax, with the paired interval of their difference in points."""
    rows = [
        scored(name, value, seed, metric=metric)
        for name, value in (("gumbel", gumbel), ("softmax", 0.2))
        for seed in range(number)
    ]
    bounds = {"low": low / 100, "high": high / 100, "error": error / 100, "text": "softmax/matched"}
    return [*rows, scored("gumbel", gumbel - 0.2, metric=metric) | {"source": "paired", "seed": None} | bounds]


def normed(number: int, sides: dict[str, float], metric: str, reach: float) -> list[dict]:
    """Trainings with a statistic of their norms, and intervals of the others minus Gumbel's."""
    rows = [norm(name, value, metric, seed=seed) for name, value in sides.items() for seed in range(number)]
    for name, value in sides.items():
        bounds = {"low": value - sides["gumbel"] - reach, "high": value - sides["gumbel"] + reach, "error": 0.0}
        row = norm(name, value - sides["gumbel"], metric) | {"source": "norm_paired", "seed": None} | bounds
        rows.append(row | {"text": "gumbel/matched"})
    return rows


def test_a_difference_that_rounds_to_nothing_has_no_minus() -> None:
    found = verdict("gumbel-above-softmax-ap", scored("gumbel", 0.15496), scored("softmax", 0.155))
    assert found.evidence == "one training each: 15.5 − 15.5 = +0.0"


#: Bounds in points, what they say of a threshold of 1, and how it is said of a reproduction and elsewhere.
FINDINGS = [
    (2, 8, "above", "reproduced", "same_direction"),
    (0.5, 8, "positive", "positive", "same_direction"),
    (-0.5, 0.9, "equivalent", "equivalent", "no_clear_difference"),
    (0.2, 0.9, "equivalent", "equivalent", "no_clear_difference"),
    (-2, 8, "undecided", "undecided", "no_clear_difference"),
    (-8, -0.5, "negative", "negative", "opposite"),
    (-8, -2, "below", "contradicted", "opposite"),
]


@pytest.mark.parametrize(("low", "high", "finding", "said", "elsewhere"), FINDINGS)
def test_three_trainings_a_side_are_judged_by_their_interval(low, high, finding, said, elsewhere) -> None:
    for reproduction, outcome in ((True, said), (False, elsewhere)):
        found = verdict("gumbel-above-softmax-ap", *trained(3, 0.25, low, high), reproduction=reproduction)
        assert (found.finding, found.outcome) == (finding, outcome)
        assert found.interval == pytest.approx((low, high))
        assert found.value == pytest.approx(5)
        assert found.bounds.startswith("images and trainings: ")


@pytest.mark.parametrize(("number", "words"), [(1, "one training"), (2, "two trainings")])
def test_fewer_trainings_have_no_verdict_however_large_their_difference(number: int, words: str) -> None:
    found = verdict("gumbel-above-softmax-apr", *trained(number, 0.25, 30, 40, metric="APr"), reproduction=True)
    assert (found.finding, found.outcome) == ("few_trainings", "few_trainings")
    assert found.evidence.startswith(f"{words} each: 25.0 − 20.0 = +5.0")


def test_the_interval_of_one_training_says_that_it_is_over_images_alone() -> None:
    found = verdict("gumbel-above-softmax-ap", *trained(1, 0.238, 3.1, 4.5))
    assert (found.evidence, found.bounds) == ("one training each: 23.8 − 20.0 = +3.8", "images alone: +3.1 to +4.5")


def test_figures_of_a_group_of_categories_are_judged_over_categories_too_and_say_how_many_are_above_0() -> None:
    rows = trained(3, 0.25, 2, 8, metric="APr")
    rows += [
        scored(name, count, metric="APr") | {"source": "above_zero", "seed": None, "text": "13"}
        for name, count in (("gumbel", 2), ("softmax", 0))
    ]
    found = verdict("gumbel-above-softmax-apr", *rows)
    assert found.bounds.startswith("images, categories and trainings: ")
    assert found.evidence.endswith("; 2 of 13 and 0 of 13 categories above 0")


@pytest.mark.parametrize("number", [1, 3])
def test_what_prints_as_nothing_on_both_sides_is_not_measurable(number: int) -> None:
    rows = [scored(name, 0.0004, seed, metric="APr") for name in ("gumbel", "softmax") for seed in range(number)]
    found = verdict("gumbel-above-softmax-apr", *rows, reproduction=True)
    assert (found.outcome, found.caveat) == ("not_measurable", "neither side is above 0")
    rows[0]["value"] = 0.1
    assert verdict("gumbel-above-softmax-apr", *rows, reproduction=True).outcome != "not_measurable"


def test_trainings_without_an_interval_decide_nothing() -> None:
    rows = [scored(name, value, seed) for name, value in (("gumbel", 0.9), ("softmax", 0.1)) for seed in range(3)]
    assert verdict("gumbel-above-softmax-ap", *rows).finding == "undecided"


@pytest.mark.parametrize(("low", "near"), [(1.015, True), (1.05, False), (-0.015, True), (0.5, False)])
def test_a_bound_within_its_monte_carlo_error_of_a_threshold_is_marked(low: float, near: bool) -> None:
    found = verdict("gumbel-above-softmax-ap", *trained(3, 0.25, low, 8, error=0.01))
    assert ("other draws may decide otherwise" in found.caveat) == near


def test_a_published_spread_stands_in_for_that_of_one_training_in_a_reproduction_and_says_so() -> None:
    rows = trained(1, 0.238, 3.1, 4.5)
    found = verdict("gumbel-above-softmax-ap", *rows, reproduction=True)
    reach = np.hypot(0.7, scipy.stats.t.ppf(0.975, 4) * 0.30 * np.sqrt(2))
    assert found.interval == pytest.approx((3.8 - reach, 3.8 + reach))
    assert found.outcome == "reproduced"
    assert "a published spread of trainings: " in found.bounds
    assert "5 trainings" in found.caveat
    assert verdict("gumbel-above-softmax-ap", *rows).finding == "few_trainings"


def test_every_published_spread_has_its_source_and_enough_trainings() -> None:
    table = pd.read_csv(trainings.SPREADS)
    assert table["source"].str.len().gt(30).all()
    assert (table["trainings"] >= trainings.ENOUGH).all()
    assert set(trainings.published()) == {("segm", "AP"), ("bbox", "AP")}


def test_only_seeds_that_both_sides_have_are_compared() -> None:
    rows = [scored("gumbel", 0.25, 0), scored("gumbel", 0.99, 1), scored("softmax", 0.20, 0), scored("softmax", 0.0, 2)]
    assert verdict("gumbel-above-softmax-ap", *rows).value == pytest.approx(5)


def test_the_scoring_of_sigmoid_decides_which_claim_a_value_serves() -> None:
    rows = [scored("gumbel", 0.20), scored("sigmoid", 0.15, scoring="released"), scored("sigmoid", 0.25)]
    assert verdict("gumbel-above-sigmoid-released", *rows).value == pytest.approx(5)
    assert verdict("gumbel-above-sigmoid-matched", *rows).value == pytest.approx(-5)


def test_another_split_decides_nothing() -> None:
    rows = [scored(name, 0.2) | {"split": "val_uniform"} for name in ("gumbel", "softmax")]
    assert verdict("gumbel-above-softmax-ap", *rows).outcome == "not_run"


@pytest.mark.parametrize(
    ("gumbel", "finding"),
    [(0.1, "above"), (0.188, "positive"), (0.2, "equivalent"), (0.212, "negative"), (0.25, "below"), (0.4, "below")],
)
def test_a_spread_must_lie_below_both_others(gumbel: float, finding: str) -> None:
    sides = {"gumbel": gumbel, "softmax": 0.3, "sigmoid": 0.2}
    found = verdict("balanced-weight-norms-spread", *normed(3, sides, "coefficient_of_variation", 0.008))
    assert found.finding == finding
    assert found.value == pytest.approx(0.2 - gumbel)
    assert found.bounds.startswith("categories and trainings: ")


def test_a_spread_of_one_training_each_has_no_verdict() -> None:
    sides = {"gumbel": 0.1, "softmax": 0.3, "sigmoid": 0.2}
    found = verdict("balanced-weight-norms-spread", *normed(1, sides, "coefficient_of_variation", 0.008))
    assert found.finding == "few_trainings"
    assert found.bounds.startswith("categories alone: ")


def test_a_spread_without_one_of_the_others_is_not_run() -> None:
    found = verdict("balanced-weight-norms-spread", norm("gumbel", 0.1), norm("softmax", 0.3))
    assert (found.outcome, found.evidence) == ("not_run", "no value: Sigmoid")


@pytest.mark.parametrize(
    ("gumbel", "others", "finding"),
    [(0.1, 0.5, "above"), (-0.9, 0.5, "above"), (0.5, -0.9, "below"), (-0.2, -0.9, "not_measurable")],
)
def test_norms_that_follow_frequency_are_compared_not_any_correlation(gumbel, others, finding) -> None:
    sides = {"gumbel": gumbel, "softmax": others, "sigmoid": others}
    found = verdict("balanced-weight-norms-correlation", *normed(3, sides, "spearman", 0.02))
    assert found.finding == finding


def test_stages_are_averaged() -> None:
    rows = [norm("gumbel", value, stage=str(k)) for k, value in enumerate((0.1, 0.2, 0.3))]
    found = verdict("balanced-weight-norms-spread", *rows, norm("softmax", 0.5), norm("sigmoid", 0.4))
    assert found.value == pytest.approx(0.2)


def test_expected_occurrences_are_an_illustration_that_counts_for_nothing() -> None:
    values = {"rare": 0.001, "frequent": 0.003}
    rows = [{"source": "object_distribution", "metric": "expected", "value": v, "text": k} for k, v in values.items()]
    found = verdict("low-expected-occurrence", *rows)
    assert (found.outcome, found.value) == ("illustration", 0.003)
    assert "in every image it would be 0.0039" in found.evidence
    assert count([found]) == {}
    assert verdict("low-expected-occurrence", rows[0]).outcome == "not_run"


def test_the_gradient_formula_holds_which_reproduces_nothing() -> None:
    found = verdict("gradient-formula", reproduction=True)
    assert found.outcome == "holds"
    assert count([found]) == {}


def test_a_wrong_gradient_contradicts_the_formula(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = functional.gumbel_cross_entropy
    monkeypatch.setattr(functional, "gumbel_cross_entropy", lambda *a, **k: 1.001 * exact(*a, **k))
    assert gradient_error(-2, 2, 11) == pytest.approx(0.001)
    assert verdict("gradient-formula").outcome == "fails"


#: Of three trainings each 0.1 apart, whose next one lies within 0.5 of their mean: the published 19.0 ± 1.05 held.
VALUES = (0.190, 0.2004, 0.2060, 0.17)


def test_absolute_numbers_are_judged_in_a_reproduction_only() -> None:
    paper = scored("gumbel", 0.190) | {"source": "paper", "split": None, "seed": None, "low": 0.1895, "high": 0.1905}
    assert decide(summary(paper), [CLAIMS["published-numbers"]], make_experiment()) == []
    trained = [[scored("gumbel", value + by, seed) for seed, by in enumerate((-0.001, 0, 0.001))] for value in VALUES]
    outcomes = [verdict("published-numbers", paper, *rows, reproduction=True).outcome for rows in [*trained, []]]
    assert outcomes == ["reproduced", "undecided", "contradicted", "contradicted", "not_run"]


def test_one_training_is_held_against_a_published_number_with_a_published_spread_or_not_at_all() -> None:
    paper = scored("gumbel", 0.190) | {"source": "paper", "split": None, "seed": None, "low": 0.1895, "high": 0.1905}
    found = verdict("published-numbers", paper, scored("gumbel", 0.190), reproduction=True)
    assert found.interval == pytest.approx(np.array([-1, 1]) * scipy.stats.t.ppf(0.975, 4) * 0.30 * np.sqrt(2))
    assert (found.outcome, "5 trainings" in found.caveat) == ("undecided", True)
    rows = [paper | {"metric": "APr"}, scored("gumbel", 0.190, metric="APr")]
    assert verdict("published-numbers", *rows, reproduction=True).outcome == "few_trainings"


def test_a_verdict_on_a_published_number_is_about_its_activation_and_scoring() -> None:
    paper = scored("sigmoid", 0.164, scoring="released")
    paper |= {"source": "paper", "split": None, "seed": None, "low": 0.1635, "high": 0.1645}
    side = verdict("published-numbers", paper, reproduction=True).side
    assert side is not None
    assert (side.activation, side.scoring) == ("sigmoid", "released")


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=2), st.floats(0, 10))
def test_swapping_the_sides_swaps_the_verdict(bounds: list[float], margin: float) -> None:
    low, high = sorted(bounds)
    swapped = {"above": "below", "positive": "negative", "equivalent": "equivalent", "undecided": "undecided"}
    swapped |= {second: first for first, second in swapped.items()}
    assert judge(-high, -low, margin) == swapped[judge(low, high, margin)]


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_claim_says_that_it_needs_what_a_run_that_is_no_reproduction_lacks(claim: str) -> None:
    said = CLAIMS[claim].caveat(make_experiment())
    assert ("needs the paper’s data and recipe" in said) == (claim != "gradient-formula")
    assert CLAIMS[claim].caveat(make_experiment(reproduction=True)) == ""


def test_decisions_are_counted_by_what_is_said_of_them_without_checks_and_illustrations() -> None:
    claim = CLAIMS["gumbel-above-softmax-ap"]
    verdicts = [Verdict(claim, None, finding, 0.0, None, "") for finding in ("above", "below", "undecided", "not_run")]
    others = [Verdict(CLAIMS["gradient-formula"], None, "holds", 0.0, None, "")]
    others += [Verdict(CLAIMS["low-expected-occurrence"], None, "illustration", 0.0, None, "")]
    assert count([*verdicts, *others]) == {"same_direction": 1, "no_clear_difference": 1, "opposite": 1, "not_run": 1}
    assert count([replace(verdicts[0], reproduction=True)]) == {"reproduced": 1}


def test_an_empty_summary_decides_nothing_but_the_mathematics() -> None:
    claims: list[Claim] = list(CLAIMS.values())
    outcomes = {v.claim.id: v.outcome for v in decide(summary(), claims, make_experiment())}
    assert {name for name, outcome in outcomes.items() if outcome != "not_run"} == {"gradient-formula"}


def test_every_rule_of_the_claims_points_to_a_section_of_the_page() -> None:
    sections = {field.name for field in fields(Content)}
    assert {claim.anchor("mask_rcnn_r50", ids=()) for claim in CLAIMS.values()} <= sections


def test_a_claim_points_to_the_rows_of_its_architecture_where_they_are_there() -> None:
    claim = CLAIMS["gumbel-above-softmax-ap"]
    assert claim.anchor("mask_rcnn_r50", ids={"row-mask_rcnn_r50"}) == "row-mask_rcnn_r50"
    assert claim.anchor("htc_r101", ids={"row-mask_rcnn_r50"}) == "matrix"
    assert CLAIMS["balanced-weight-norms-spread"].anchor("htc_r101", ids={"norms-htc_r101"}) == "norms-htc_r101"


@pytest.mark.parametrize(
    ("activations", "pair"),
    [
        (["softmax", "sigmoid", "gumbel"], ("gumbel", "softmax")),
        (["gumbel", "seesaw", "softmax"], ("gumbel", "softmax")),
        (["sigmoid", "gumbel"], ("gumbel", "sigmoid")),
        (["softmax", "seesaw", "eqlv2"], ("eqlv2", "softmax")),
        (["gumbel"], None),
    ],
)
def test_the_first_claim_with_both_sides_says_what_is_compared_else_the_last_with_the_first(activations, pair) -> None:
    assert compared(CLAIMS.values(), make_experiment(activations=activations, released_scoring=[])) == pair


def test_a_rule_is_added_by_adding_a_class(tmp_path: Path) -> None:
    class Never(Claim):
        words = "Contradicted above {threshold}."
        rule: Literal["never"]

        def decide(self, summary, experiment):
            yield Verdict(self, None, "below", 1.0, None, "always")

    threshold = {"value": 0.5, "unit": "points", "origin": "invented"}
    claim = {"id": "one", "statement": "Nothing", "source": "none", "rule": "never", "threshold": threshold}
    file = tmp_path / "claims.yaml"
    file.write_text(yaml.safe_dump({"schema": 1, "claims": [claim]}))
    (found,) = load_claims(file)
    assert found.rule_in_words == "Contradicted above 0.5 points."
    assert [verdict.finding for verdict in decide(summary(), [found], make_experiment())] == ["below"]


def test_claims_name_architectures_that_an_experiment_need_not_have() -> None:
    verdicts = decide(summary(), [CLAIMS["gumbel-above-softmax-ap"]], make_experiment(architectures=["htc_r101"]))
    assert {verdict.architecture for verdict in verdicts} > {"htc_r101"}
    assert {verdict.outcome for verdict in verdicts} == {"not_run"}
