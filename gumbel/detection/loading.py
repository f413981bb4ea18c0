"""Annotations that every process of a machine reads from the same pages of memory."""

import hashlib
import multiprocessing
import os
import pickle
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
from mmcv.transforms import LoadImageFromFile
from mmdet.datasets import LVISV1Dataset
from mmdet.registry import DATASETS, TRANSFORMS
from platformdirs import user_cache_path

from gumbel.datasets.sizes import CAUSES
from gumbel.jobs import manifest
from gumbel.jobs.files import atomic_path
from gumbel.jobs.lock import claim
from gumbel.paths import mapped

#: One row an image: mmdet's record of it, pickled as mmdet does, and the labels of its objects.
SCHEMA = pa.schema({"record": pa.large_binary(), "labels": pa.large_list(pa.int32())})


@TRANSFORMS.register_module()
class LoadAnnotatedImage(LoadImageFromFile):
    """mmdet's ``LoadImageFromFile`` for a picture whose size must be that of its annotations.

    Raises:
        ValueError: it has another size; the picture is named.
    """

    def transform(self, results: dict) -> dict:
        expected = results["height"], results["width"]
        loaded: dict = super().transform(results)
        if (found := loaded["img"].shape[:2]) != expected:
            raise ValueError(
                f"expected {results['img_path']} to have height and width {expected}, as annotated, found {found}, "
                f"{CAUSES}; `python -m gumbel data --every-picture` finds all of them"
            )
        return loaded


@DATASETS.register_module()
class MappedLVISDataset(LVISV1Dataset):
    """mmdet's ``LVISV1Dataset``, read from the annotations once and mapped into memory from then on.

    What mmdet makes of LVIS's 1.1 GB takes each process minutes and gigabytes. Here the first process that needs it
    writes it beside the annotations, in the user's cache if that folder is read-only, and the others wait for it.
    The file is named by the annotations' digest and by all settings that decide what is in it. Items are mmdet's own,
    pickled.

    Raises:
        NotImplementedError: a subset is asked for after all; ``indices`` of the configuration makes one.
    """

    def full_init(self) -> None:
        if self._fully_initialized:  # type: ignore[has-type]
            return
        path = self._mapped()
        if not path.exists():
            with claim(path.with_suffix(".lock"), wait=True):
                if not path.exists():
                    self._write(path)
        with pa.memory_map(str(path)) as file:
            table = pa.ipc.open_file(file).read_all()
        self.cat_ids = pickle.loads(table.schema.metadata[b"cat_ids"])
        self.cat2label = {category: label for label, category in enumerate(self.cat_ids)}
        record, labels = (table[name].chunk(0) for name in SCHEMA.names)
        _, ends, data = record.buffers()
        self.data_bytes = np.frombuffer(data, np.uint8)
        self.data_address = np.frombuffer(ends, np.int64)[1 : len(record) + 1]
        self._label_ends = labels.offsets.to_numpy()
        self._labels = labels.values.to_numpy()
        self._fully_initialized = True

    def get_cat_ids(self, idx: int) -> list[int]:
        """The labels of an image's objects."""
        idx = range(len(self))[idx]
        labels: list[int] = self._labels[self._label_ends[idx] : self._label_ends[idx + 1]].tolist()
        return labels

    def _mapped(self) -> Path:
        annotations = Path(self.ann_file)
        settings = {key: value for key, value in vars(self).items() if key not in ("pipeline", "max_refetch")}
        decisive = [manifest.sha256(annotations), version("mmdet"), version("mmengine"), repr(settings)]
        digest = hashlib.sha256("\n".join(decisive).encode()).hexdigest()[:16]
        folder = annotations.parent
        if not os.access(folder, os.W_OK):
            folder = user_cache_path("gumbel", ensure_exists=True)
        return mapped(folder / annotations.name, f"{decisive[0][:16]}.{digest}")

    def _write(self, path: Path) -> None:
        """Let a process of its own read the annotations: its memory goes with it."""
        fork = multiprocessing.get_context("fork")
        with ProcessPoolExecutor(1, mp_context=fork) as process:
            process.submit(_write, self, path).result()
        current = ".".join(path.name.split(".")[:-2])
        annotations = Path(self.ann_file)
        for other in annotations.parent.glob(mapped(annotations, "*").name):
            if not other.name.startswith(current):
                other.unlink(missing_ok=True)

    def _get_serialized_subset(self, indices: Sequence[int] | int) -> NoReturn:
        raise NotImplementedError("expected `indices` in the configuration of the data set, found a subset of it after")


def _write(dataset: MappedLVISDataset, path: Path) -> None:
    LVISV1Dataset.full_init(dataset)
    labels = [LVISV1Dataset.get_cat_ids(dataset, index) for index in range(len(dataset))]
    ends = np.concatenate([[0], dataset.data_address])
    buffers: list[Any] = [None, pa.py_buffer(ends), pa.py_buffer(dataset.data_bytes)]
    records = pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(dataset), buffers)
    schema = SCHEMA.with_metadata({"cat_ids": pickle.dumps(dataset.cat_ids)})
    batch = pa.record_batch([records, pa.array(labels, SCHEMA.field("labels").type)], schema=schema)
    with atomic_path(path) as temporary, pa.ipc.new_file(str(temporary), schema) as writer:
        writer.write_batch(batch)
