"""Machine code of loops that NumPy would need many passes for.

    python -m gumbel.evaluation.compiled

compiles all of it, as ``make install`` does; otherwise a function is compiled when it is first called. The code is kept
beside its module, for each kind of processor; where that cannot be written, in the user's cache folder. numba looks
whether the module changed, not what it imports: so a compiled function calls only those of its own module.
"""

import json
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba.core.caching import FunctionCache

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile ``function`` when it is first called; other threads run meanwhile, and 1 / 0 is infinite as in NumPy."""
    made: Any = numba.njit(function, nogil=True, error_model="numpy")
    with suppress(RuntimeError):  # no place that can be written
        made._cache = _Cache(function)
    return made


class _Cache(FunctionCache):
    """numba's cache of a function's code, without which it goes on where it cannot be read or written.

    The disk may be full, a file another user's, truncated, or written by another version: any error may come of it.
    """

    def load_overload(self, *call: Any) -> Any:
        try:
            return super().load_overload(*call)
        except Exception:
            return None

    def save_overload(self, *call: Any) -> None:
        with suppress(Exception):
            super().save_overload(*call)


def prepare() -> None:
    """Call every compiled function once, on one object and its detection."""
    from gumbel.evaluation.bootstrap import resample
    from gumbel.evaluation.lvis_ap import score
    from gumbel.evaluation.predictions import PredictionWriter

    image = {"id": 1, "height": 9, "width": 9, "neg_category_ids": [], "not_exhaustive_category_ids": []}
    thing = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 4, 4], "area": 16}
    thing["segmentation"] = [[1, 1, 5, 1, 5, 5, 1, 5]]
    categories = [{"id": 1, "name": "thing", "frequency": "f"}]
    with tempfile.TemporaryDirectory() as folder:
        annotations, predictions = Path(folder) / "annotations.json", Path(folder) / "predictions.parquet"
        annotations.write_text(json.dumps({"images": [image], "annotations": [thing], "categories": categories}))
        with PredictionWriter(predictions) as writer:
            mask = {"size": [9, 9], "counts": b":4500000S1"}
            writer.write(1, [1], [0.5], [thing["bbox"]], [mask])
        found = score(annotations, predictions, ["segm", "bbox", "boundary"], overlaps=True).found
    resample(found.matches["segm"], 1)


if __name__ == "__main__":
    prepare()
