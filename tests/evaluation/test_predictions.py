"""Detections on disk: nothing lost, nothing half-written, nothing foreign read."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gumbel.evaluation.predictions import SCHEMA, PredictionWriter, read_predictions
from tests.evaluation import federated

MASK = {"size": [4, 4], "counts": b"022"}


def write_random(path, images=60, dtype=np.float64, metadata=None):
    rng = np.random.default_rng(0)
    written = []
    with PredictionWriter(path, metadata) as writer:
        for image in rng.permutation(images):
            n = int(rng.integers(0, 5))
            arrays = rng.integers(1, 1204, n), rng.random(n).astype(dtype), rng.normal(0, 99, (n, 4)).astype(dtype)
            masks = [{"size": [480, 640], "counts": rng.bytes(rng.integers(1, 200))} for _ in range(n)]
            writer.write(image, *arrays, masks)
            written.append((image, *arrays, masks))
    return written


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_reading_returns_every_bit_that_was_written_in_order(tmp_path, dtype):
    written = write_random(tmp_path / "p.parquet", dtype=dtype)
    read = read_predictions(tmp_path / "p.parquet")
    images, categories, scores, boxes, masks = zip(*written, strict=True)
    assert np.array_equal(read.image_id, np.repeat(images, [len(score) for score in scores]))
    assert np.array_equal(read.category_id, np.concatenate(categories))
    assert np.array_equal(read.score, np.concatenate(scores))
    assert np.array_equal(read.shapes.box, np.concatenate(boxes))
    assert read.shapes.masks() == [mask for group in masks for mask in group]


def test_metadata_comes_back(tmp_path):
    write_random(tmp_path / "p.parquet", metadata={"configuration": "é1"})
    assert read_predictions(tmp_path / "p.parquet").metadata == {"configuration": "é1"}


def test_writer_holds_at_most_one_row_group(tmp_path, monkeypatch):
    monkeypatch.setattr("gumbel.evaluation.predictions._ROWS", 10)
    write_random(tmp_path / "p.parquet")
    file = pq.ParquetFile(tmp_path / "p.parquet")
    sizes = [file.metadata.row_group(k).num_rows for k in range(file.metadata.num_row_groups)]
    assert len(sizes) > 5
    assert max(sizes) < 10 + 5  # an image is never split


def test_failure_while_predicting_leaves_what_was_there(tmp_path):
    path = tmp_path / "p.parquet"
    path.write_text("before")

    def predict():
        with PredictionWriter(path) as writer:
            writer.write(1, [1], [0.5], [[0, 0, 1, 1]], [MASK])
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        predict()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_file_is_invisible_until_it_is_whole(tmp_path):
    with PredictionWriter(tmp_path / "p.parquet") as writer:
        writer.write(1, [1], [0.5], [[0, 0, 1, 1]], [MASK])
        assert not (tmp_path / "p.parquet").exists()
    assert len(read_predictions(tmp_path / "p.parquet")) == 1


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_non_finite_scores_are_refused_while_writing(tmp_path, bad):
    with pytest.raises(ValueError, match="finite"), PredictionWriter(tmp_path / "p.parquet") as writer:
        writer.write(1, [1], [bad], [[0, 0, 1, 1]], [MASK])
    assert not list(tmp_path.iterdir())


def test_unequal_lengths_are_refused_while_writing(tmp_path):
    with pytest.raises(ValueError, match="as many"), PredictionWriter(tmp_path / "p.parquet") as writer:
        writer.write(1, [1, 2], [0.5], [[0, 0, 1, 1]], [MASK])


def test_parquet_takes_at_most_a_third_of_the_official_json(tmp_path):
    truth, detections = federated.generate(0, images=150)
    _, predictions = federated.write(tmp_path, truth, detections)
    official = json.dumps(federated.official_records(detections, "segm"))
    assert predictions.stat().st_size <= len(official) / 3


def test_truncated_parquet_is_refused(tmp_path):
    path = tmp_path / "p.parquet"
    write_random(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match="truncated"):
        read_predictions(path)


def test_damaged_parquet_is_refused(tmp_path):
    path = tmp_path / "p.parquet"
    write_random(path, images=400)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(ValueError, match="damaged"):
        _ = read_predictions(path).shapes


def test_missing_values_are_refused(tmp_path):
    columns = [pa.array([None, None], kind.type) if kind.name == "score" else pa.array([1, 1]).cast(kind.type)
               for kind in SCHEMA if kind.name != "mask_counts"]  # fmt: skip
    table = pa.table([*columns, pa.array([b"", b""])], schema=SCHEMA)
    pq.write_table(table, tmp_path / "p.parquet")
    with pytest.raises(ValueError, match="missing values in \\['score'\\]"):
        read_predictions(tmp_path / "p.parquet")


def test_foreign_parquet_is_refused(tmp_path):
    pq.write_table(pa.table({"score": [1.0]}), tmp_path / "p.parquet")
    with pytest.raises(ValueError, match="columns"):
        read_predictions(tmp_path / "p.parquet")


def test_missing_file_says_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match="prediction stage"):
        read_predictions(tmp_path / "p.parquet")


RECORD = {"image_id": 1, "category_id": 2, "score": 0.5, "bbox": [0, 0, 1, 1]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "empty"),
        ("hello", "no valid JSON"),
        ("[{", "no valid JSON"),
        ("{}", "list of detections"),
        ("[1]", "expected an object"),
        (json.dumps([{**RECORD, "score": None}]), "`score`"),
        (json.dumps([{key: value for key, value in RECORD.items() if key != "score"}]), "`score`"),
        (json.dumps([{**RECORD, "score": float("nan")}]), "finite"),
        (json.dumps([{**RECORD, "bbox": [0, 0, 1]}]), "`bbox`"),
        (json.dumps([{**RECORD, "bbox": None}]), "`bbox`"),
        (json.dumps([{**RECORD, "image_id": True}]), "`image_id`"),
        (json.dumps([{**RECORD, "image_id": 1.0}]), "`image_id`"),
        (json.dumps([{**RECORD, "category_id": 1 << 63}]), "`category_id`"),
        (json.dumps([{**RECORD, "bbox": [0, 0, 1, float("inf")]}]), "finite"),
        (json.dumps([{**RECORD, "segmentation": [[0, 0, 1, 1, 0, 1]]}]), "compressed RLE"),
        (json.dumps([{**RECORD, "segmentation": {"size": [2, 2], "counts": [4]}}]), "compressed RLE"),
        (json.dumps([{**RECORD, "segmentation": {"size": None, "counts": "04"}}]), "compressed RLE"),
        (json.dumps([{**RECORD, "segmentation": {"size": [4], "counts": "04"}}]), "compressed RLE"),
        (json.dumps([{**RECORD, "segmentation": {"size": [1 << 31, 4], "counts": "04"}}]), "size"),
        (json.dumps([RECORD, {key: value for key, value in RECORD.items() if key != "bbox"}]), "1 of 2"),
        (json.dumps([{key: value for key, value in RECORD.items() if key != "bbox"}]), "`segmentation` or `bbox`"),
    ],
)
def test_foreign_json_is_refused(tmp_path, content, message):
    (tmp_path / "p.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        read_predictions(tmp_path / "p.json")


def test_official_json_reads_like_the_parquet(tmp_path):
    truth, detections = federated.generate(1)
    _, parquet = federated.write(tmp_path, truth, detections)
    records = federated.official_records(detections, "segm")
    for record, one in zip(records, detections, strict=True):
        record["bbox"] = one["box"]
    (tmp_path / "p.json").write_text(json.dumps(records))
    ours, theirs = read_predictions(parquet), read_predictions(tmp_path / "p.json")
    for name in ("image_id", "category_id", "score"):
        assert np.array_equal(getattr(ours, name), getattr(theirs, name))
    assert np.array_equal(ours.shapes.box, theirs.shapes.box)
    assert np.array_equal(ours.shapes.mask_size, theirs.shapes.mask_size)
    assert ours.shapes.masks() == theirs.shapes.masks()
