"""Two models on the same images."""

import numpy as np
import pytest

from gumbel.evaluation.compare import as_text, compare
from gumbel.evaluation.lvis_ap import score
from tests.evaluation import federated


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Annotations, detections, and the same detections with every second one left out."""
    folder = tmp_path_factory.mktemp("compare")
    for name in ("full", "half"):
        (folder / name).mkdir()
    truth, detections = federated.generate(seed=3, images=30)
    annotations, full = federated.write(folder / "full", truth, detections)
    _, half = federated.write(folder / "half", truth, detections[::2])
    return annotations, full, half


def test_differences_are_those_of_the_evaluations(files):
    annotations, full, half = files
    figures = compare(annotations, half, full, replicates=50).figures.set_index("figure")
    for name, values in {"first": half, "second": full}.items():
        record = score(annotations, values, ["segm"])[0]["segm"]
        for figure, value in record.items():
            expected = np.nan if value is None else value
            assert figures.loc[figure, name] == pytest.approx(expected, abs=1e-9, nan_ok=True)
    np.testing.assert_allclose(figures["difference"], figures["second"] - figures["first"], atol=1e-12)


def test_a_model_does_not_differ_from_itself(files):
    annotations, full, _ = files
    comparison = compare(annotations, full, full, replicates=20)
    assert (comparison.figures[["difference", "low", "high"]].dropna() == 0).all(axis=None)
    assert (comparison.categories["difference"] == 0).all()
    assert as_text(comparison).count("(none)") == 2


def test_categories_are_ranked_by_what_they_gained(files):
    annotations, full, half = files
    categories = compare(annotations, half, full, replicates=5).categories
    assert categories["difference"].is_monotonic_decreasing
    one = score(annotations, full, ["segm"]).per_category.set_index("category_id")["AP"]
    np.testing.assert_allclose(categories["second"], one[categories["category_id"]], atol=1e-12)


def test_swapping_the_two_turns_every_sign(files):
    annotations, full, half = files
    forth = compare(annotations, half, full, replicates=30).figures
    back = compare(annotations, full, half, replicates=30).figures
    np.testing.assert_allclose(back["low"], -forth["high"], atol=1e-12)
