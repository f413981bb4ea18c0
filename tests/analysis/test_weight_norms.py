"""Weight norms per class from checkpoints of any origin, and how balanced they are."""

import json

import numpy as np
import pytest
import scipy.stats
import torch

from gumbel.analysis.weight_norms import gini, norm_statistics, rank_correlation, resampled_statistics, weight_norms
from gumbel.evaluation.bootstrap import paired_difference

IMAGES = [3, 40, 500, 7, 60, 900]
RUN = []


def run(message):
    RUN.append(message)


class Foreign:
    """An object of a framework that would run code when it is unpickled."""

    def __reduce__(self):
        return run, ("code of the checkpoint ran",)


@pytest.fixture
def annotations(tmp_path):
    categories = [
        {"id": 20 - 2 * k, "name": f"c{k}", "frequency": "rcf"[k % 3], "image_count": count}
        for k, count in enumerate(IMAGES)
    ]
    (tmp_path / "train.json").write_text(json.dumps({"categories": categories}))
    return tmp_path / "train.json"


def layer(prefix, seed, rows=7, bias=True):
    generator = torch.Generator().manual_seed(seed)
    state = {f"{prefix}.fc_cls.weight": torch.randn(rows, 16, generator=generator)}
    return state | ({f"{prefix}.fc_cls.bias": torch.randn(rows, generator=generator)} if bias else {})


def save(path, content):
    torch.save(content, path)
    return path


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("prefix", ["roi_head.bbox_head", "module.roi_head.bbox_head"])
def test_norms_are_those_of_the_foreground_rows_in_the_order_of_the_file(tmp_path, annotations, nested, prefix):
    state = layer(prefix, 0)
    table = weight_norms(save(tmp_path / "c.pth", {"state_dict": state, "meta": {}} if nested else state), annotations)
    weight, bias = (state[f"{prefix}.fc_cls.{key}"].double().numpy() for key in ("weight", "bias"))
    assert table["norm"].to_numpy() == pytest.approx(np.sqrt((weight[:6] ** 2).sum(axis=1)), rel=1e-14)
    assert table["bias"].tolist() == bias[:6].tolist()
    assert table["image_count"].tolist() == IMAGES
    assert table["category_id"].tolist() == [20, 18, 16, 14, 12, 10]
    assert set(table["stage"]) == {0}


def test_every_stage_of_a_cascade_has_its_rows(tmp_path, annotations):
    state = {key: value for k in (2, 0, 1) for key, value in layer(f"roi_head.bbox_head.{k}", k).items()}
    table = weight_norms(save(tmp_path / "c.pth", {"state_dict": state}), annotations)
    assert table["stage"].tolist() == [0] * 6 + [1] * 6 + [2] * 6
    for stage in range(3):
        expected = state[f"roi_head.bbox_head.{stage}.fc_cls.weight"].norm(dim=1)[:6].tolist()
        assert table[table["stage"] == stage]["norm"].tolist() == pytest.approx(expected, rel=1e-6)


def test_layer_without_bias_has_undefined_biases(tmp_path, annotations):
    table = weight_norms(save(tmp_path / "c.pth", layer("roi_head.bbox_head", 0, bias=False)), annotations)
    assert table["bias"].isna().all()


@pytest.mark.parametrize("legacy", [False, True])
def test_records_of_numpy_in_the_checkpoint_are_passed_over(tmp_path, annotations, legacy):
    content = {"state_dict": layer("roi_head.bbox_head", 0), "message_hub": {"numbers": np.arange(3)}}
    torch.save(content, tmp_path / "c.pth", _use_new_zipfile_serialization=not legacy)
    assert len(weight_norms(tmp_path / "c.pth", annotations)) == 6


@pytest.mark.parametrize("legacy", [False, True])
def test_a_checkpoint_that_would_run_code_is_refused_and_runs_none(tmp_path, annotations, legacy):
    content = {"state_dict": layer("roi_head.bbox_head", 0), "message_hub": {"history": Foreign()}}
    torch.save(content, tmp_path / "c.pth", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(ValueError, match=r"would call tests\.analysis\.test_weight_norms\.run, which was not run"):
        weight_norms(tmp_path / "c.pth", annotations)
    assert not RUN


def test_checkpoint_without_classifier_is_refused(tmp_path, annotations):
    with pytest.raises(ValueError, match="found none among 1 entries"):
        weight_norms(save(tmp_path / "c.pth", {"backbone.conv1.weight": torch.ones(1)}), annotations)


def test_other_numbers_of_classes_are_refused(tmp_path, annotations):
    with pytest.raises(ValueError, match=r"expected 7 rows .* found shape \(5, 16\)"):
        weight_norms(save(tmp_path / "c.pth", layer("roi_head.bbox_head", 0, rows=5)), annotations)


def test_two_models_in_a_checkpoint_are_refused(tmp_path, annotations):
    state = layer("teacher.roi_head.bbox_head", 0) | layer("student.roi_head.bbox_head", 1)
    with pytest.raises(ValueError, match="one classifier per stage"):
        weight_norms(save(tmp_path / "c.pth", state), annotations)


def test_file_that_is_no_checkpoint_is_refused(tmp_path, annotations):
    (tmp_path / "c.pth").write_text("<html>")
    with pytest.raises(ValueError, match=r"expected weights in .*, found a damaged file"):
        weight_norms(tmp_path / "c.pth", annotations)


def test_annotations_without_training_counts_are_refused(tmp_path):
    (tmp_path / "t.json").write_text(json.dumps({"categories": [{"id": 1, "name": "a", "frequency": "r"}]}))
    with pytest.raises(ValueError, match="image_count"):
        weight_norms(save(tmp_path / "c.pth", layer("roi_head.bbox_head", 0, rows=2)), tmp_path / "t.json")


def test_statistics_equal_their_definitions(tmp_path, annotations):
    state = layer("roi_head.bbox_head.0", 0) | layer("roi_head.bbox_head.1", 1)
    table = weight_norms(save(tmp_path / "c.pth", state), annotations)
    statistics = norm_statistics(table)
    for stage in (0, 1):
        norm = table[table["stage"] == stage]["norm"].to_numpy()
        assert statistics[stage]["coefficient_of_variation"] == pytest.approx(scipy.stats.variation(norm))
        assert statistics[stage]["spearman"] == pytest.approx(scipy.stats.spearmanr(norm, IMAGES).statistic)
        assert statistics[stage]["ratio_frequent_rare"] == pytest.approx((norm[2] + norm[5]) / (norm[0] + norm[3]))
        assert statistics[stage]["gini"] == pytest.approx(np.abs(norm[:, None] - norm).mean() / 2 / norm.mean())


def test_equal_norms_are_balanced(tmp_path, annotations):
    state = {"roi_head.bbox_head.fc_cls.weight": torch.full((7, 4), 0.001)}
    statistics = norm_statistics(weight_norms(save(tmp_path / "c.pth", state), annotations))[0]
    assert statistics["coefficient_of_variation"] == pytest.approx(0, abs=1e-12)
    assert statistics["gini"] == pytest.approx(0, abs=1e-12)
    assert statistics["ratio_frequent_rare"] == pytest.approx(1)


def test_statistics_of_redrawn_categories_equal_those_of_tables_with_these_categories(tmp_path, annotations):
    table = weight_norms(save(tmp_path / "c.pth", layer("roi_head.bbox_head", 0)), annotations)
    resamples = resampled_statistics(table, replicates=50, seed=3)[0]
    drawn = np.random.default_rng(3).integers(6, size=(50, 6))
    for name, value in norm_statistics(table)[0].items():
        assert resamples.point[name].tolist() == pytest.approx([value])
        for replicate, rows in zip(resamples.bootstrap[name], drawn, strict=True):
            assert replicate == pytest.approx(norm_statistics(table.iloc[rows])[0][name], nan_ok=True)
        for k, replicate in enumerate(resamples.jackknife[name]):
            assert replicate == pytest.approx(norm_statistics(table.drop(index=k))[0][name])


def test_activations_share_the_draws_of_categories(tmp_path, annotations):
    tables = [weight_norms(save(tmp_path / "c.pth", layer("roi_head.bbox_head", k)), annotations) for k in (0, 1)]
    first, second = (resampled_statistics(table)[0] for table in tables)
    assert paired_difference([first], [first], "gini") == (0, 0, 0)
    assert paired_difference([first], [second], "gini").low < paired_difference([first], [second], "gini").high


def test_ranks_are_those_of_scipy_and_undefined_where_nothing_varies():
    x = np.random.default_rng(0).integers(4, size=(5, 20))
    y = np.random.default_rng(1).integers(9, size=(5, 20))
    expected = [scipy.stats.spearmanr(*pair).statistic for pair in zip(x, y, strict=True)]
    assert rank_correlation(x, y) == pytest.approx(np.array(expected))
    assert np.isnan(rank_correlation(np.ones(4), np.arange(4)))


def test_gini_ignores_scale_and_order():
    values = np.random.default_rng(0).gamma(2, size=50)
    assert gini(values) == pytest.approx(gini(7 * values[::-1]))
