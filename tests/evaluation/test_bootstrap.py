"""Draws that models share, and the intervals made of them."""

import numpy as np
import pytest
import scipy.stats

from gumbel.evaluation.bootstrap import (
    bootstrap_weights,
    interval,
    jackknife_error,
    jackknife_weights,
    load,
    monte_carlo_error,
    paired_difference,
    resample,
    save,
)
from gumbel.evaluation.lvis_ap import score
from tests.evaluation import federated


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Two models on the same images, the second with half of its detections lost, and the first's figures."""
    root = tmp_path_factory.mktemp("models")
    truth, detections = federated.generate(0, images=40)
    annotations, predictions = federated.write(root, truth, detections)
    first, figures = (
        federated.match(annotations, predictions, "segm"),
        score(annotations, predictions, ("segm",))[0]["segm"],
    )
    second = federated.match(*federated.write(root, truth, detections[::2]), "segm")
    return resample(first, 100), resample(second, 100), figures


def test_a_bootstrap_draws_as_many_images_as_there_are():
    weights = bootstrap_weights(30, 500, 0)
    assert (weights.sum(axis=1) == 30).all()
    assert (weights == 0).mean() == pytest.approx((1 - 1 / 30) ** 30, abs=0.01)


@pytest.mark.parametrize("images", [7, 200, 450])
def test_a_jackknife_leaves_every_image_out_once(images):
    weights = jackknife_weights(images, 0)
    assert ((1 - weights).sum(axis=0) == 1).all()
    sizes = (1 - weights).sum(axis=1)
    assert sizes.max() - sizes.min() <= 1


def test_point_estimates_are_the_figures(models):
    first, _, figures = models
    assert {name: values[0] for name, values in first.point.items()} == pytest.approx(figures, abs=1e-12)


def test_models_share_their_draws(models):
    first, second, _ = models
    again = paired_difference([first], [first], "AP")
    assert again == (0, 0, 0)
    paired = np.std(second.bootstrap["AP"] - first.bootstrap["AP"])
    unpaired = np.std(second.bootstrap["AP"] - np.roll(first.bootstrap["AP"], 1))
    assert paired < unpaired


def test_paired_differences_are_percentiles_of_differences(models):
    first, second, _ = models
    difference = paired_difference([first], [second], "AP50", level=0.8)
    assert difference.estimate == second.point["AP50"][0] - first.point["AP50"][0]
    expected = np.percentile(second.bootstrap["AP50"] - first.bootstrap["AP50"], [10, 90])
    assert (difference.low, difference.high) == pytest.approx(expected)
    opposite = paired_difference([second], [first], "AP50", level=0.8)
    assert opposite == pytest.approx((-difference.estimate, -difference.high, -difference.low))


def test_other_images_or_other_draws_cannot_be_paired(models):
    first, second, _ = models
    for other in (second._replace(images=second.images + 1), second._replace(seed=1)):
        with pytest.raises(ValueError, match="same images"):
            paired_difference([first], [other], "AP")


def test_jackknife_error_of_a_mean_is_the_standard_error():
    values = np.random.default_rng(0).normal(size=50)
    means = (values.sum() - values) / 49
    assert jackknife_error(means) == pytest.approx(values.std(ddof=1) / np.sqrt(50))


def test_interval_corrects_the_bias_that_redrawing_shows(models):
    first, _, _ = models
    low, high = interval([first], "AP")[1:]
    shift = first.bootstrap["AP"].mean() - first.point["AP"][0]
    assert shift > 0
    assert (low + high) / 2 == pytest.approx(first.point["AP"][0] - shift)
    assert (high - low) / 2 == pytest.approx(1.959964 * jackknife_error(first.jackknife["AP"]), rel=1e-6)


def test_undefined_figures_have_undefined_intervals(models):
    first, _, _ = models
    undefined = first._replace(
        **{
            part: getattr(first, part) | {"APr": np.full(len(getattr(first, part)["AP"]), np.nan)}
            for part in ("point", "bootstrap", "jackknife")
        }
    )
    assert np.isnan(interval([undefined], "APr")).all()


def shifted(resamples, by):
    """A training whose figures all lie higher ``by`` as much."""
    parts = {part: {name: v + by for name, v in getattr(resamples, part).items()} for part in ("point", "bootstrap")}
    return resamples._replace(**parts, jackknife={name: v + by for name, v in resamples.jackknife.items()})


def width(found):
    return found.high - found.low


def test_trainings_that_are_alike_add_nothing(models):
    first, second, _ = models
    assert interval([first] * 3, "AP") == pytest.approx(interval([first], "AP"))
    difference = paired_difference([first] * 2, [second] * 2, "AP")
    assert difference == pytest.approx(paired_difference([first], [second], "AP"))


def test_without_luck_of_the_images_trainings_have_students_and_welchs_intervals(models):
    still = models[0]._replace(**{part: {"AP": np.full(9, 0.3)} for part in ("point", "bootstrap", "jackknife")})
    shifts = np.array([0, 0.01, 0.04]), np.array([0.02, 0.021, 0.05])
    first, second = ([shifted(still, by) for by in side] for side in shifts)
    one = scipy.stats.ttest_1samp(0.3 + shifts[0], 0).confidence_interval(0.9)
    assert interval(first, "AP", level=0.9) == pytest.approx((0.3 + shifts[0].mean(), *one))
    two = scipy.stats.ttest_ind(shifts[1], shifts[0], equal_var=False).confidence_interval(0.9)
    estimate = shifts[1].mean() - shifts[0].mean()
    assert paired_difference(first, second, "AP", level=0.9) == pytest.approx((estimate, *two))


def test_trainings_add_their_spread_to_that_of_the_images(models):
    first, second, _ = models
    several = [[shifted(one, by) for by in (-0.01, 0, 0.01)] for one in (first, second)]
    half = scipy.stats.t.ppf(0.975, 2) * 0.01 / np.sqrt(3)
    assert width(interval(several[0], "AP")) / 2 == pytest.approx(np.hypot(half, width(interval([first], "AP")) / 2))
    half = scipy.stats.t.ppf(0.975, 4) * 0.01 * np.sqrt(2 / 3)
    assert width(paired_difference(*several, "AP")) / 2 == pytest.approx(
        np.hypot(half, width(paired_difference([first], [second], "AP")) / 2)
    )


def test_a_figure_of_a_group_is_the_mean_of_its_categories(models):
    first, _, _ = models
    assert set(first.categories) == {"APr", "APc", "APf"}
    for name, values in first.categories.items():
        assert np.nanmean(values) == pytest.approx(first.point[name][0], abs=1e-12)


def test_without_luck_of_the_images_categories_have_students_intervals_paired_in_a_difference(models):
    still = models[0]._replace(**{part: {"APr": np.full(9, 0.3)} for part in ("point", "bootstrap", "jackknife")})
    of_each = np.array([0.0, 0.1, 0.0, 0.7, np.nan]), np.array([0.1, 0.1, 0.05, 0.9, 0.4])
    first, second = (still._replace(categories={"APr": values}) for values in of_each)
    one = scipy.stats.ttest_1samp(of_each[0][:4], 0).confidence_interval(0.9)
    reach = (one.high - one.low) / 2
    found = interval([first], "APr", level=0.9, within=(-1, 1))
    assert found == pytest.approx((0.3, 0.3 - reach, 0.3 + reach))
    two = scipy.stats.ttest_rel(of_each[1][:4], of_each[0][:4]).confidence_interval(0.9)
    reach = (two.high - two.low) / 2
    assert paired_difference([first], [second], "APr", level=0.9) == pytest.approx((0, -reach, reach))


def test_one_category_tells_nothing_about_others(models):
    alone = models[0]._replace(categories={"APr": np.array([0.3, np.nan])})
    assert np.isnan(paired_difference([alone], [alone], "APr")[1:]).all()


def test_the_monte_carlo_error_is_what_other_draws_move_a_bound(models):
    rng = np.random.default_rng(0)
    still = models[0]._replace(bootstrap={"AP": np.zeros(4000)})
    drawn = [still._replace(bootstrap={"AP": rng.normal(size=4000)}) for _ in range(200)]
    bounds = [paired_difference([still], [one], "AP").high for one in drawn]
    errors = [monte_carlo_error([still], [one], "AP") for one in drawn]
    assert np.mean(errors) == pytest.approx(np.std(bounds), rel=0.25)


def test_a_file_without_values_of_categories_is_refused(tmp_path, models):
    save(tmp_path / "b.npz", {"segm": models[0]._replace(categories={})})
    with pytest.raises(ValueError, match="evaluate the predictions anew"):
        load(tmp_path / "b.npz")


def test_saved_resamples_come_back(tmp_path, models):
    first, second, _ = models
    save(tmp_path / "b.npz", {"segm": first, "bbox": second})
    loaded = load(tmp_path / "b.npz")
    for resamples, iou_type in ((first, "segm"), (second, "bbox")):
        assert loaded[iou_type].seed == resamples.seed
        assert np.array_equal(loaded[iou_type].images, resamples.images)
        for part in ("point", "bootstrap", "jackknife", "categories"):
            assert getattr(resamples, part)
            for name, values in getattr(resamples, part).items():
                assert np.array_equal(getattr(loaded[iou_type], part)[name], values, equal_nan=True)
