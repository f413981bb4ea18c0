"""Detections on disk: Parquet written in row groups while predicting, or the official LVIS JSON results."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gumbel.jobs.files import atomic_path

BOX = ("x", "y", "width", "height")

#: One row a detection. The box is in pixels from the top left corner; the mask is COCO's compressed RLE,
#: whose size is that of the image.
SCHEMA = pa.schema(
    [
        ("image_id", pa.int64()),
        ("category_id", pa.int64()),
        ("score", pa.float64()),
        *((name, pa.float64()) for name in BOX),
        ("mask_height", pa.int32()),
        ("mask_width", pa.int32()),
        ("mask_counts", pa.binary()),
    ]
)
_FLOATS = ("score", *BOX)
_MASK = ("mask_height", "mask_width", "mask_counts")
_NO_MASKS = "expected masks, found detections without `segmentation`: use `--iou-type bbox` alone"
_ROWS = 1 << 16  # detections in a row group: about 10 MB in memory while predicting


class PredictionWriter:
    """Write detections image by image; the file appears under its name only when the block succeeds.

    Memory holds one row group. ``metadata`` goes to the file's schema and comes back from
    :func:`read_predictions`.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "predictions.parquet"
    >>> with PredictionWriter(path) as writer:
    ...     writer.write(7, [3], [0.5], [[0, 0, 2, 2]], [{"size": [4, 4], "counts": b"022"}])
    >>> len(read_predictions(path))
    1
    """

    def __init__(self, path: Path, metadata: Mapping[str, str] | None = None) -> None:
        self._path = path
        self._schema = SCHEMA.with_metadata(dict(metadata or {}))
        self._stack = ExitStack()
        self._pending: list[pa.RecordBatch] = []
        self._rows = 0

    def __enter__(self) -> "PredictionWriter":
        temporary = self._stack.enter_context(atomic_path(self._path))
        self._file = self._stack.enter_context(
            pq.ParquetWriter(
                temporary,
                self._schema,
                compression="zstd",
                compression_level=9,
                use_dictionary=[name for name in SCHEMA.names if name not in (*_FLOATS, "mask_counts")],
                use_byte_stream_split=list(_FLOATS),
                write_page_checksum=True,
            )
        )
        self._stack.push(self._finish)
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def _finish(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._flush()

    def write(
        self, image_id: int, category_ids: Any, scores: Any, boxes_xywh: Any, masks: Sequence[Mapping[str, Any]]
    ) -> None:
        """Add the ``n`` detections of one image.

        ``category_ids`` (n,), ``scores`` (n,), ``boxes_xywh`` (n, 4) in pixels, ``masks`` n compressed
        RLEs ``{"size": [height, width], "counts": bytes | str}``. Raises ValueError if the lengths
        differ or a score or box is not finite.
        """
        categories = np.asarray(category_ids)
        score = np.asarray(scores, dtype=np.float64)
        box = np.asarray(boxes_xywh, dtype=np.float64).reshape(-1, 4)
        lengths = (len(categories), len(score), len(box), len(masks))
        if len(set(lengths)) > 1:
            raise ValueError(
                f"expected as many categories, scores, boxes and masks, found {lengths} for image {image_id}"
            )
        if not (np.isfinite(score).all() and np.isfinite(box).all()):
            raise ValueError(
                f"expected finite scores and boxes, found NaN or infinity for image {image_id}: "
                "look for a diverged training in its history"
            )
        if len(score) == 0:
            return
        columns = [
            np.full(len(score), image_id),
            categories,
            score,
            *box.T,
            *np.transpose([mask["size"] for mask in masks]),
            [mask["counts"] for mask in masks],
        ]
        self._add([pa.array(column, kind.type) for column, kind in zip(columns, SCHEMA, strict=True)])

    def copy(self, path: Path) -> None:
        """Add the detections of a file that a writer wrote. Raises ValueError if it is damaged."""
        with _whole(path):
            for batch in pq.ParquetFile(path, page_checksum_verification=True).iter_batches(_ROWS):
                self._add(batch.columns)

    def _add(self, columns: Sequence[pa.Array]) -> None:
        self._pending.append(pa.RecordBatch.from_arrays(columns, schema=self._schema))
        self._rows += len(columns[0])
        if self._rows >= _ROWS:
            self._flush()

    def _flush(self) -> None:
        if self._pending:
            self._file.write_table(pa.Table.from_batches(self._pending).combine_chunks())
        self._pending, self._rows = [], 0


class Shapes(NamedTuple):
    """Boxes (x, y, width, height in pixels) and masks (COCO's compressed RLE) of n detections.

    None where a JSON file does not carry them.
    """

    box: np.ndarray | None  # (n, 4) float64
    mask_size: np.ndarray | None  # (n, 2) int32, height and width
    counts: np.ndarray | None  # (bytes,) uint8, of these masks and perhaps of others
    spans: np.ndarray | None  # (n, 2) int64, where the counts of each mask begin and end

    def take(self, rows: np.ndarray) -> "Shapes":
        """Those of ``rows`` (m,)."""
        box, size, spans = (None if each is None else each[rows] for each in (self.box, self.mask_size, self.spans))
        return Shapes(box, size, self.counts, spans)

    def runs(self) -> tuple[np.ndarray, np.ndarray]:
        """``counts`` and ``spans``. Raises ValueError without masks."""
        if self.counts is None or self.spans is None:
            raise ValueError(_NO_MASKS)
        return self.counts, self.spans

    def masks(self) -> list[dict[str, Any]]:
        """COCO's compressed RLE dicts, sizes (height, width)."""
        counts, spans = self.runs()
        pairs = zip(np.asarray(self.mask_size).tolist(), spans.tolist(), strict=True)
        return [{"size": size, "counts": counts[first:last].tobytes()} for size, (first, last) in pairs]


@dataclass(frozen=True)
class Predictions:
    """Detections in columns, in the order of the file; N rows, whose shapes are read a group of rows at a time."""

    image_id: np.ndarray  # (N,) int64
    category_id: np.ndarray  # (N,) int64
    score: np.ndarray  # (N,) float64
    groups: np.ndarray  # (G + 1,) the first row of each group, and N
    read: Callable[[int, bool], Shapes]  # the shapes of a group, with boxes or perhaps without
    metadata: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.score)

    @cached_property
    def shapes(self) -> Shapes:
        """Those of all rows, in memory."""
        parts = [self.read(group, True) for group in range(len(self.groups) - 1)] or [NO_SHAPES]
        if len(parts) == 1:
            return parts[0]
        box, size, counts, spans = zip(*parts, strict=True)
        return Shapes(np.concatenate(box), np.concatenate(size), *_in_one(counts, spans))

    def parts(self, rows: np.ndarray, boxes: bool = True) -> Iterator[tuple[np.ndarray, Shapes]]:
        """Places in ``rows``, which are sorted by image, with the shapes there; no image is in two parts.

        Whoever needs no ``boxes`` is spared their reading.
        Memory holds one group of rows where no image is in two groups either, else all.
        """
        if not len(rows):
            yield np.zeros(0, np.int64), NO_SHAPES
        group = np.searchsorted(self.groups, rows, side="right") - 1
        image = self.image_id[rows]
        last = np.flatnonzero(group[1:] != group[:-1])
        if (image[last] == image[last + 1]).any():
            shapes = self.shapes
            ends = np.searchsorted(image, image[_ROWS - 1 :: _ROWS], side="right")
            for part in np.split(np.arange(len(rows)), np.unique(ends)):
                if len(part):
                    yield part, shapes.take(rows[part])
            return
        order = np.argsort(group, kind="stable")
        numbers, starts = np.unique(group[order], return_index=True)
        for number, part in zip(numbers.tolist(), np.split(order, starts[1:]), strict=False):
            yield part, self.read(number, boxes).take(rows[part] - self.groups[number])


NO_SHAPES = Shapes(np.zeros((0, 4)), np.zeros((0, 2), np.int32), np.zeros(0, np.uint8), np.zeros((0, 2), np.int64))


def read_predictions(path: Path) -> Predictions:
    """Read detections that :class:`PredictionWriter` wrote, or a JSON file of official LVIS results.

    The shapes stay in a Parquet file until they are asked for. The JSON is a list of ``{"image_id", "category_id",
    "score", "segmentation": compressed RLE, "bbox": [x, y, width, height]}`` with a mask, a box or both
    (https://github.com/lvis-dataset/lvis-api). Raises ValueError for a truncated, empty or foreign file, and for
    missing or non-finite scores.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"expected predictions at {path}, found no file: run the prediction stage first")
    with path.open("rb") as file:
        start = file.read(4)
    if start == b"PAR1":
        return _scan_parquet(path)
    from gumbel.evaluation import official_json

    return official_json.read(path)


def _scan_parquet(path: Path) -> Predictions:
    with _whole(path):
        file = pq.ParquetFile(path, page_checksum_verification=True)
        if _columns(file.schema_arrow) != _columns(SCHEMA):
            columns = ", ".join(f"{column.name} {column.type}" for column in SCHEMA)
            raise ValueError(f"expected the columns {columns} in {path}, found others: give what `predict` wrote")
        table = _refuse_holes(file.read(["image_id", "category_id", "score"]), path)
        image_id, category_id, score = map(_numbers, table.columns)
        _refuse_infinite(score, path)
        sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    metadata = {key.decode(): value.decode() for key, value in (file.schema_arrow.metadata or {}).items()}

    def read(group: int, boxes: bool) -> Shapes:
        with _whole(path):
            return _shapes(file.read_row_group(group, [*(BOX if boxes else ()), *_MASK]), path)

    return Predictions(
        image_id=image_id.astype(np.int64, copy=False),
        category_id=category_id.astype(np.int64, copy=False),
        score=score,
        groups=np.cumsum([0, *sizes]),
        read=read,
        metadata={key: value for key, value in metadata.items() if key != "ARROW:schema"},
    )


def _columns(schema: pa.Schema) -> list[tuple[str, pa.DataType]]:
    """Names and types; integers of any width are alike."""
    return [(each.name, pa.int64() if pa.types.is_integer(each.type) else each.type) for each in schema]


def _shapes(table: pa.Table, path: Path) -> Shapes:
    if not len(table):
        return NO_SHAPES
    _refuse_holes(table, path)
    box = None
    if BOX[0] in table.schema.names:
        box = np.stack([_numbers(table[name]) for name in BOX], axis=1)
        _refuse_infinite(box, path)
    size = np.stack([_numbers(table[name]) for name in _MASK[:2]], axis=1)
    counts, spans = [], []
    for chunk in table["mask_counts"].chunks:
        _, ends, data = chunk.buffers()
        counts.append(np.frombuffer(data or b"", np.uint8))
        spans.append(spans_between(np.frombuffer(ends, np.int32)[chunk.offset : chunk.offset + len(chunk) + 1]))
    return Shapes(box, size, *_in_one(counts, spans))


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    """As ``to_numpy``, which imports pandas, for half a second."""
    return np.from_dlpack(column.combine_chunks())


def spans_between(ends: np.ndarray) -> np.ndarray:
    """Where each of n begins and ends (n, 2), from ``ends`` (n + 1,)."""
    return np.stack([ends[:-1], ends[1:]], axis=1).astype(np.int64)


def _in_one(counts: Sequence[np.ndarray], spans: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """``counts`` and ``spans`` of several, one after the other."""
    if len(counts) == 1:
        return counts[0], spans[0]
    first = np.cumsum([0, *map(len, counts)])
    # Read-only like that of one file: for writable arrays numba would compile once more
    joined = np.frombuffer(b"".join(each.data for each in counts), np.uint8)
    return joined, np.concatenate([each + start for each, start in zip(spans, first, strict=False)])


@contextmanager
def _whole(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise ValueError(
            f"expected a whole Parquet file, found {path} damaged or truncated ({error}): remove it and predict again"
        ) from error


def _refuse_holes(table: pa.Table, path: Path) -> pa.Table:
    holes = [name for name in table.schema.names if table[name].null_count]
    if holes:
        raise ValueError(f"expected a value in every row, found missing values in {holes} of {path}: predict again")
    return table


def _refuse_infinite(values: np.ndarray, path: Path) -> None:
    bad = ~np.isfinite(values).all(axis=tuple(range(1, values.ndim)))
    if bad.any():
        raise ValueError(
            f"expected finite scores and boxes, found NaN or infinity in {bad.sum()} detections of {path}: predict "
            "again from a training that did not diverge"
        )
