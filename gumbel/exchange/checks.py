"""What can be checked of a cell's files that came from elsewhere: nothing of them is believed, and nothing run."""

import json
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from gumbel.analysis.evaluate import write_evaluation
from gumbel.analysis.weight_norms import read_categories, weight_norms
from gumbel.datasets.unpack import MAX_GROWTH
from gumbel.detection.checkpoints import load_weights
from gumbel.detection.convert import fit
from gumbel.detection.parts import box_heads
from gumbel.detection.predict import build_model
from gumbel.exchange.archive import ALLOWED, parsed
from gumbel.exchange.cell import Wanted, compare
from gumbel.jobs import manifest
from gumbel.paths import CellPaths

#: Figures and norms may differ by so much: processors round differently.
TOLERANCE = 1e-6


def record(path: Path) -> dict[str, Any]:
    """A small record (JSON)."""
    if path.stat().st_size > ALLOWED:
        raise ValueError(f"expected at most {ALLOWED:,} bytes in {path.name}, found {path.stat().st_size:,}")
    found = parsed(path.read_bytes(), path.name)
    if not isinstance(found, dict):
        raise ValueError(f"expected a record in {path.name}, found {type(found).__name__}")
    return found


def history(path: Path, iterations: int) -> None:
    """A row an iteration, all of them numbers, under names that a page can show."""
    with _parquet(path, iterations) as file:
        table = file.read().to_pandas()
    named = {"iteration", "loss", "seconds"} <= set(table) and all(re.fullmatch(r"[\w.]+", name) for name in table)
    numbers = named and all(map(pd.api.types.is_numeric_dtype, table.dtypes))
    if not numbers or table["iteration"].tolist() != [*range(1, iterations + 1)]:
        raise ValueError(f"expected numbers of each of {iterations} iterations in {path.name}, found others")


def weights(path: Path, wanted: Wanted) -> None:
    """Tensors of the cell's model and nothing else, stored as PyTorch does."""
    try:
        with zipfile.ZipFile(path) as parts:
            size = sum(part.file_size for part in parts.infolist())
    except zipfile.BadZipFile:
        raise ValueError(f"expected weights of PyTorch in {path.name}, found others; nothing of them was run") from None
    if size > path.stat().st_size:
        raise ValueError(f"expected no more than its own size inside {path.name}, found {size:,} bytes")
    fit(load_weights(path), build_model(deepcopy(wanted.config)), path)


def predictions(path: Path, wanted: Wanted, split: str, scoring: str, checkpoint: str | None) -> None:
    """No more detections than the model may find; of this configuration, these images and, where known, weights."""
    annotations = wanted.annotations(split)
    images = len(json.loads(annotations.read_bytes())["images"])
    with _parquet(path, images * wanted.config.model.test_cfg.rcnn.max_per_img) as file:
        told = {
            key.decode(errors="replace"): value.decode(errors="replace")
            for key, value in (file.schema_arrow.metadata or {}).items()
        }
    expected = {"config_sha256": wanted.config_sha256, "annotations_sha256": manifest.sha256(annotations)}
    expected |= {"scoring": scoring} | ({"checkpoint_sha256": checkpoint} if checkpoint else {})
    compare(expected, {key: told.get(key) for key in expected}, f"predictions of {wanted} on {split}")


def figures(came: CellPaths, made: CellPaths, wanted: Wanted, split: str, scoring: str, intervals: bool) -> None:
    """What follows from the predictions, written to ``made``, and the same figures in what came."""
    found = write_evaluation(
        wanted.annotations(split),
        came.predictions(split, scoring),
        made.metrics(split, scoring),
        per_category=made.per_category(split, scoring),
        bootstrap=made.bootstrap(split, scoring) if intervals else None,
        errors=made.errors(split, scoring) if intervals else None,
    )
    told = record(came.metrics(split, scoring))
    expected = {kind: found[kind] for kind in ("segm", "bbox")}
    what = f"figures of {wanted} on {split} to follow from its predictions"
    compare(expected, {kind: told.get(kind) for kind in expected}, what, TOLERANCE)


def norms(came: CellPaths, made: CellPaths, wanted: Wanted) -> None:
    """Norms of the weights, written to ``made``, where these came; else norms of the categories that lie here."""
    annotations = wanted.annotations(wanted.experiment.train_split)
    categories = pd.DataFrame(read_categories(annotations)).rename(columns={"id": "category_id"})
    stages = range(len(box_heads(wanted.config.model)))
    with _parquet(came.weight_norms, len(stages) * len(categories)) as file:
        table = file.read().to_pandas()
    if came.checkpoint.exists():
        expected = weight_norms(came.checkpoint, annotations)
        expected.to_parquet(made.weight_norms, index=False)
    else:
        expected = pd.concat([categories.assign(stage=stage) for stage in stages], ignore_index=True)
        expected = expected[["stage", "category_id", "name", "frequency", "image_count"]]
        # For these, what came stands for what is expected
        own = table.reindex(columns=["norm", "bias"]).apply(pd.to_numeric, errors="coerce")
        expected = expected.assign(norm=own["norm"].where(own["norm"] < np.inf).abs(), bias=own["bias"])
    try:
        pd.testing.assert_frame_equal(table, expected, check_dtype=False, rtol=TOLERANCE, atol=TOLERANCE)
    except AssertionError as error:
        raise ValueError(f"expected weight norms of {wanted}, found others: {error}") from None


@contextmanager
def _parquet(path: Path, rows: int) -> Iterator[pq.ParquetFile]:
    """A file of at most ``rows`` rows that does not unpack to much more than it is."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            size = sum(file.metadata.row_group(group).total_byte_size for group in range(file.num_row_groups))
            limit = MAX_GROWTH * path.stat().st_size
            if file.metadata.num_rows > rows or size > limit:
                raise ValueError(
                    f"expected at most {rows:,} rows and {limit:,} bytes in {path.name}, found "
                    f"{file.metadata.num_rows:,} and {size:,}"
                )
            yield file
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"expected a Parquet file in {path.name}, found another or a damaged one ({error})") from error
