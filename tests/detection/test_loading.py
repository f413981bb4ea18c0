"""The mapped data set, against mmdet's own, item by item."""

import json
import multiprocessing
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from mmdet.datasets import LVISV1Dataset
from mmengine.dataset import ClassBalancedDataset
from mmengine.registry import init_default_scope

from gumbel.datasets.annotations import URL_PREFIX
from gumbel.detection.loading import MappedLVISDataset
from gumbel.detection.loop import PlacedDataset

CLASSES = ["bird", "boat", "buoy"]
IDS = [2, 5, 9]


def annotations(rng: np.random.Generator, images: int = 40) -> dict:
    """Annotations with everything that mmdet leaves out or treats apart, and pictures too small or without objects."""
    sizes = rng.integers(20, 90, (images, 2)).tolist()
    numbers = rng.permutation(1000)[:images].tolist()
    pictures = [
        {"id": number, "width": width, "height": height, "coco_url": f"{URL_PREFIX}train/{number}.png"}
        for number, (width, height) in zip(numbers, sizes, strict=True)
    ]
    objects = []
    for identifier in range(1, 200):
        x, y, width, height = rng.uniform([-20, -20, 0, 0], [90, 90, 40, 40]).tolist()
        polygon = [x, y, x + width, y, x, y + height]
        objects.append(
            {
                "id": identifier,
                "image_id": numbers[int(rng.integers(images - 3))],
                "category_id": IDS[int(rng.integers(3))],
                "bbox": [x, y, width, height],
                "area": float(rng.integers(0, 4)),
                "segmentation": [polygon],
                **({"iscrowd": 1} if identifier % 11 == 0 else {}),
                **({"ignore": 1} if identifier % 13 == 0 else {}),
            }
        )
    names = [{"id": number, "name": name} for number, name in zip(IDS, CLASSES, strict=True)]
    return {"images": pictures, "annotations": objects, "categories": names}


@pytest.fixture
def settings(tmp_path: Path) -> dict:
    init_default_scope("mmdet")
    (tmp_path / "train.json").write_text(json.dumps(annotations(np.random.default_rng(0))))
    return {
        "ann_file": str(tmp_path / "train.json"),
        "data_prefix": {"img": "images/"},
        "metainfo": {"classes": CLASSES},
        "filter_cfg": {"filter_empty_gt": True, "min_size": 32},
        "pipeline": [],
    }


def assert_same(found: MappedLVISDataset, expected: LVISV1Dataset) -> None:
    assert len(found) == len(expected) > 0
    assert (found.cat_ids, found.cat2label, found.metainfo) == (
        expected.cat_ids,
        expected.cat2label,
        expected.metainfo,
    )
    for index in [*range(len(expected)), -1]:
        assert found[index] == expected[index]
        assert found.get_data_info(index) == expected.get_data_info(index)
        assert found.get_cat_ids(index) == expected.get_cat_ids(index)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"filter_cfg": None},
        {"filter_cfg": {"min_size": 50}},
        {"test_mode": True},
        {"indices": 7},
        {"metainfo": {"classes": CLASSES[1:]}},
        {"data_prefix": {"img": "elsewhere/"}},
    ],
)
def test_items_are_mmdets_own_when_written_and_when_mapped(settings, change):
    MappedLVISDataset(**settings)  # what other settings have left is not taken up
    expected = LVISV1Dataset(**settings | change)
    for _ in range(2):
        assert_same(MappedLVISDataset(**settings | change), expected)


def test_annotations_are_read_once_and_again_when_they_change(settings, tmp_path):
    MappedLVISDataset(**settings)
    (written,) = tmp_path.glob(".train.json.*.arrow")
    stamp = written.stat().st_mtime_ns
    MappedLVISDataset(**settings)
    assert written.stat().st_mtime_ns == stamp
    (tmp_path / "train.json").write_text(json.dumps(annotations(np.random.default_rng(1))))
    assert_same(MappedLVISDataset(**settings), LVISV1Dataset(**settings))
    (other,) = tmp_path.glob(".train.json.*.arrow")
    assert other != written, "what older annotations have left is removed"


def test_annotations_in_a_read_only_folder_are_mapped_from_the_users_cache(settings, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    # The superuser may write everywhere, so the answer of the file system is changed, not the folder
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != tmp_path)
    assert_same(MappedLVISDataset(**settings), LVISV1Dataset(**settings))
    assert not list(tmp_path.glob(".train.json.*"))
    assert len(list((tmp_path / "cache").rglob(".train.json.*.arrow"))) == 1


def test_images_of_rare_categories_are_repeated_as_often(settings):
    found = ClassBalancedDataset(MappedLVISDataset(**settings), 0.9)
    expected = ClassBalancedDataset(LVISV1Dataset(**settings), 0.9)
    assert found.repeat_indices == expected.repeat_indices
    assert len(set(found.repeat_indices)) < len(found.repeat_indices)


def test_a_training_and_its_loading_processes_read_it_as_mmdets_own(settings):
    placed = PlacedDataset(dict(settings, type="MappedLVISDataset"), seed=0)
    expected = LVISV1Dataset(**settings)
    assert pickle.loads(pickle.dumps(placed))[3, 8] == expected[3]
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(placed.__getitem__, [(3, 8), (4, 9)]) == [expected[3], expected[4]]


@pytest.mark.slow
def test_processes_that_begin_at_once_agree(settings):
    code = (
        "import sys, json; from gumbel.detection.loading import MappedLVISDataset\n"
        "dataset = MappedLVISDataset(**json.loads(sys.argv[1]))\n"
        "print(json.dumps([dataset[index] for index in range(len(dataset))], sort_keys=True))"
    )
    command = [sys.executable, "-c", code, json.dumps(settings)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    outputs = {process.communicate()[0].splitlines()[-1] for process in processes}
    expected = LVISV1Dataset(**settings)
    assert outputs == {json.dumps([expected[index] for index in range(len(expected))], sort_keys=True)}


def test_a_subset_that_the_configuration_does_not_name_is_refused(settings):
    with pytest.raises(NotImplementedError, match="indices"):
        MappedLVISDataset(**settings).get_subset([1, 2])


def test_damaged_annotations_are_named_and_leave_nothing(settings, tmp_path):
    (tmp_path / "train.json").write_text("{")
    with pytest.raises(json.JSONDecodeError, match="line 1"):
        MappedLVISDataset(**settings)
    assert [path.name for path in tmp_path.iterdir()] == ["train.json"]
