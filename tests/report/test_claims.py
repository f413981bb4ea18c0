"""Each rule gives each of its verdicts."""

from dataclasses import fields
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gumbel import functional
from gumbel.report.page.content import Content
from gumbel.report.summary.collect import COLUMNS
from gumbel.report.verdicts.claims import Claim, Verdict, decide, judge, load_claims
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


def norm(activation: str, value: float, metric: str = "coefficient_of_variation", stage: str = "0") -> dict:
    return {
        "source": "weight_norms", "architecture": "mask_rcnn_r50", "activation": activation, "seed": 0,
        "metric": metric, "value": value, "text": stage,
    }  # fmt: skip


def verdict(claim: str, *rows: dict, reproduction: bool = False) -> Verdict:
    """The first verdict of a claim: the one on Mask R-CNN R50, where it has one an architecture."""
    return decide(summary(*rows), [CLAIMS[claim]], make_experiment(reproduction=reproduction))[0]


def test_a_difference_that_rounds_to_nothing_has_no_minus() -> None:
    found = verdict("gumbel-above-softmax-ap", scored("gumbel", 0.15496), scored("softmax", 0.155))
    assert found.evidence == "15.5 − 15.5 = +0.0"


@pytest.mark.parametrize(
    ("gumbel", "outcome"),
    [(0.25, "reproduced"), (0.15, "contradicted"), (0.205, "inconclusive"), (0.195, "inconclusive")],
)
def test_a_difference_is_judged_against_the_margin_on_both_sides(gumbel: float, outcome: str) -> None:
    found = verdict("gumbel-above-softmax-ap", scored("gumbel", gumbel), scored("softmax", 0.20))
    assert found.outcome == outcome
    assert found.value == pytest.approx(100 * (gumbel - 0.20))


def test_a_missing_side_is_not_run_and_named() -> None:
    found = verdict("gumbel-above-softmax-ap", scored("gumbel", 0.2))
    assert (found.outcome, found.evidence) == ("not_run", "no value: Softmax")


def test_an_undefined_figure_is_not_run() -> None:
    rows = [scored("gumbel", 0.2, metric="APr"), scored("softmax", np.nan, metric="APr")]
    assert verdict("gumbel-above-softmax-apr", *rows).outcome == "not_run"


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [(0.02, 0.08, "reproduced"), (-0.08, -0.02, "contradicted"), (-0.01, 0.08, "inconclusive")],
)
def test_a_paired_interval_outweighs_the_difference(low: float, high: float, outcome: str) -> None:
    paired = scored("gumbel", 0.05) | {"source": "paired", "low": low, "high": high, "text": "softmax/matched"}
    found = verdict("gumbel-above-softmax-ap", scored("gumbel", 0.25), scored("softmax", 0.20), paired)
    assert found.outcome == outcome
    assert found.interval == pytest.approx((100 * low, 100 * high))


def test_only_seeds_that_both_sides_have_are_compared() -> None:
    rows = [scored("gumbel", 0.25, 0), scored("gumbel", 0.99, 1), scored("softmax", 0.20, 0), scored("softmax", 0.0, 2)]
    assert verdict("gumbel-above-softmax-ap", *rows).value == pytest.approx(5)


def test_the_scoring_of_sigmoid_decides_which_claim_a_value_serves() -> None:
    rows = [scored("gumbel", 0.20), scored("sigmoid", 0.15, scoring="released"), scored("sigmoid", 0.25)]
    assert verdict("gumbel-above-sigmoid-released", *rows).outcome == "reproduced"
    assert verdict("gumbel-above-sigmoid-matched", *rows).outcome == "contradicted"


def test_another_split_decides_nothing() -> None:
    rows = [scored(name, 0.2) | {"split": "val_uniform"} for name in ("gumbel", "softmax")]
    assert verdict("gumbel-above-softmax-ap", *rows).outcome == "not_run"


@pytest.mark.parametrize(
    ("gumbel", "outcome"), [(0.1, "reproduced"), (0.199, "inconclusive"), (0.25, "contradicted"), (0.4, "contradicted")]
)
def test_a_spread_must_lie_below_both_others(gumbel: float, outcome: str) -> None:
    found = verdict("balanced-weight-norms-spread", norm("gumbel", gumbel), norm("softmax", 0.3), norm("sigmoid", 0.2))
    assert found.outcome == outcome


def test_a_spread_without_one_of_the_others_is_not_run() -> None:
    found = verdict("balanced-weight-norms-spread", norm("gumbel", 0.1), norm("softmax", 0.3))
    assert (found.outcome, found.evidence) == ("not_run", "no value: Sigmoid")


def test_correlations_are_compared_by_size() -> None:
    rows = [norm(name, value, "spearman") for name, value in (("gumbel", -0.9), ("softmax", 0.5), ("sigmoid", 0.5))]
    assert verdict("balanced-weight-norms-correlation", *rows).outcome == "contradicted"


def test_stages_are_averaged() -> None:
    rows = [norm("gumbel", value, stage=str(k)) for k, value in enumerate((0.1, 0.2, 0.3))]
    found = verdict("balanced-weight-norms-spread", *rows, norm("softmax", 0.5), norm("sigmoid", 0.4))
    assert found.value == pytest.approx(0.2)


@pytest.mark.parametrize(("frequent", "outcome"), [(0.04, "reproduced"), (0.06, "contradicted")])
def test_every_group_must_keep_to_the_threshold(frequent: float, outcome: str) -> None:
    values = {"rare": 0.001, "frequent": frequent, "common": 0.9}
    rows = [{"source": "object_distribution", "metric": "expected", "value": v, "text": k} for k, v in values.items()]
    assert verdict("low-expected-occurrence", *rows).outcome == outcome
    assert verdict("low-expected-occurrence", rows[0]).outcome == "not_run"


def test_the_gradient_formula_holds() -> None:
    assert verdict("gradient-formula").outcome == "reproduced"


def test_a_wrong_gradient_contradicts_the_formula(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = functional.gumbel_cross_entropy
    monkeypatch.setattr(functional, "gumbel_cross_entropy", lambda *a, **k: 1.001 * exact(*a, **k))
    assert gradient_error(-2, 2, 11) == pytest.approx(0.001)
    assert verdict("gradient-formula").outcome == "contradicted"


def test_absolute_numbers_are_judged_in_a_reproduction_only() -> None:
    paper = scored("gumbel", 0.190) | {"source": "paper", "split": None, "seed": None, "low": 0.1895, "high": 0.1905}
    assert decide(summary(paper), [CLAIMS["published-numbers"]], make_experiment()) == []
    outcomes = [
        verdict("published-numbers", paper, *rows, reproduction=True).outcome
        for rows in ([scored("gumbel", 0.2004)], [scored("gumbel", 0.2006)], [scored("gumbel", 0.17)], [])
    ]
    assert outcomes == ["reproduced", "contradicted", "contradicted", "not_run"]


def test_a_verdict_on_a_published_number_is_about_its_activation_and_scoring() -> None:
    paper = scored("sigmoid", 0.164, scoring="released")
    paper |= {"source": "paper", "split": None, "seed": None, "low": 0.1635, "high": 0.1645}
    side = verdict("published-numbers", paper, reproduction=True).side
    assert side is not None
    assert (side.activation, side.scoring) == ("sigmoid", "released")


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=2), st.floats(0, 10))
def test_swapping_the_sides_swaps_the_verdict(bounds: list[float], margin: float) -> None:
    low, high = sorted(bounds)
    swapped = {"reproduced": "contradicted", "contradicted": "reproduced", "inconclusive": "inconclusive"}
    assert judge(-high, -low, margin) == swapped[judge(low, high, margin)]


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
            yield Verdict(self, None, "contradicted", 1.0, None, "always")

    threshold = {"value": 0.5, "unit": "points", "origin": "invented"}
    claim = {"id": "one", "statement": "Nothing", "source": "none", "rule": "never", "threshold": threshold}
    file = tmp_path / "claims.yaml"
    file.write_text(yaml.safe_dump({"schema": 1, "claims": [claim]}))
    (found,) = load_claims(file)
    assert found.rule_in_words == "Contradicted above 0.5 points."
    assert [verdict.outcome for verdict in decide(summary(), [found], make_experiment())] == ["contradicted"]


def test_claims_name_architectures_that_an_experiment_need_not_have() -> None:
    verdicts = decide(summary(), [CLAIMS["gumbel-above-softmax-ap"]], make_experiment(architectures=["htc_r101"]))
    assert {verdict.architecture for verdict in verdicts} > {"htc_r101"}
    assert {verdict.outcome for verdict in verdicts} == {"not_run"}
