"""The figures of a file of detections, and beside them what intervals and types of error are made from."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gumbel.analysis.errors import describe, find_errors
from gumbel.evaluation.lvis_ap import score
from gumbel.jobs.files import atomic_path, write_json


def write_evaluation(
    annotations: Path,
    predictions: Path,
    output: Path,
    *,
    iou_type: Iterable[str] = ("segm", "bbox"),
    per_category: Path | None = None,
    bootstrap: Path | None = None,
    errors: Path | None = None,
    replicates: int = 10_000,
    seed: int = 0,
    **options: Any,
) -> dict[str, Any]:
    """Write the metrics of detections to ``output``, and each further file that is named; return the metrics.

    ``iou_type`` and ``options`` are those of :func:`score`, whose errors it raises; ``replicates`` and ``seed`` are
    those of the bootstrap.
    """
    scores = score(annotations, predictions, iou_type, overlaps=errors is not None, **options)
    write_json(output, scores.metrics)
    if per_category:
        with atomic_path(per_category) as temporary:
            scores.per_category.to_parquet(temporary, index=False)
    if bootstrap:
        from gumbel.evaluation import bootstrap as resampling  # with scipy, a fifth of a second

        matches = scores.found.matches.items()
        resampling.save(bootstrap, {kind: resampling.resample(found, replicates, seed) for kind, found in matches})
    if errors:
        write_json(errors, describe(find_errors(scores.found)))
    return scores.metrics
