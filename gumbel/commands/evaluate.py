"""Figures of detections, of one detector against another, of what a classifier learned, and of where objects are."""

from pathlib import Path
from typing import Any

from gumbel.commands import Argument, command, file_to_read, file_to_write

ANNOTATIONS = file_to_read("--annotations", required=True, help="ground truth, LVIS v1 JSON")


def whole_number(flag: str, least: int, **settings: Any) -> Argument:
    """An option that is a whole number of at least ``least``."""

    def read(given: int) -> int:
        if given < least:
            raise ValueError(f"{flag}: expected at least {least}, found {given}")
        return given

    return Argument(flag, type=int, read=read, **settings)


REPLICATES = whole_number("--replicates", 1, default=1000, help="bootstrap draws of the images")
IOU_TYPES = ["segm", "bbox", "boundary"]


@command(
    ANNOTATIONS,
    file_to_read("--predictions", required=True, help="Parquet, or official JSON results"),
    Argument("--iou-type", nargs="+", choices=IOU_TYPES, default=["segm", "bbox"]),
    file_to_read("--images", help="score these images alone: JSON ids, or LVIS minival's annotations"),
    Argument(
        "--protocol", choices=["lvis", "fixed"], default="lvis", help="fixed: 10,000 detections a category (AP-fixed)"
    ),
    file_to_write("--per-category", help="also write the AP of each category (Parquet)"),
    Argument("--backend", choices=["compiled", "official"], default="compiled"),
    file_to_write("--bootstrap", help="also write every figure on resampled images (npz), for intervals"),
    REPLICATES,
    whole_number("--seed", 0, default=0, help="seed of the draws: the same for all that is compared"),
    file_to_write("--errors", help="also write types of error, score histogram and calibration (JSON)"),
    file_to_write(required=True),
)
def evaluate(
    annotations: Path,
    predictions: Path,
    iou_type: list[str],
    images: Path | None,
    protocol: str,
    per_category: Path | None,
    backend: str,
    bootstrap: Path | None,
    replicates: int,
    seed: int,
    errors: Path | None,
    output: Path,
) -> None:
    """Write the LVIS AP of detections, Parquet or official JSON."""
    from gumbel.analysis.errors import describe, find_errors
    from gumbel.evaluation import bootstrap as resampling
    from gumbel.evaluation.lvis_ap import score
    from gumbel.jobs.files import atomic_path, write_json

    scores = score(
        annotations,
        predictions,
        iou_type,
        images=images,
        protocol=protocol,
        backend=backend,
        overlaps=errors is not None,
    )
    write_json(output, scores.metrics)
    if per_category:
        with atomic_path(per_category) as temporary:
            scores.per_category.to_parquet(temporary, index=False)
    if bootstrap:
        matches = scores.found.matches.items()
        resampling.save(bootstrap, {kind: resampling.resample(found, replicates, seed) for kind, found in matches})
    if errors:
        write_json(errors, describe(find_errors(scores.found)))


@command(
    file_to_read("first"),
    file_to_read("second"),
    ANNOTATIONS,
    Argument("--iou-type", choices=IOU_TYPES, default="segm"),
    REPLICATES,
)
def compare(first: Path, second: Path, annotations: Path, iou_type: str, replicates: int) -> None:
    """Print the figures of the second detections minus the first's, with paired intervals."""
    from gumbel.evaluation.compare import as_text, compare

    print(as_text(compare(annotations, first, second, iou_type, replicates=replicates)))


@command(
    file_to_read("checkpoint"),
    file_to_read("--annotations", required=True, help="training annotations"),
    file_to_write(help="also write the norm of each category (Parquet)"),
)
def weight_norms(checkpoint: Path, annotations: Path, output: Path | None) -> None:
    """Print statistics of the classifier's weight norm of each category."""
    import pandas as pd

    from gumbel.analysis.weight_norms import norm_statistics, weight_norms
    from gumbel.jobs.files import atomic_path

    table = weight_norms(checkpoint, annotations)
    if output:
        with atomic_path(output) as temporary:
            table.to_parquet(temporary, index=False)
    print(pd.DataFrame(norm_statistics(table)).T.rename_axis("stage").to_string(float_format="{:.4f}".format))


@command(
    file_to_read("annotations"),
    whole_number("--grid", 2, default=16, help="side of the normalised grid"),
    file_to_write(help="also write the distribution of each category (npz)"),
)
def object_distribution(annotations: Path, grid: int, output: Path | None) -> None:
    """Print the probability of an object per class and place, by frequency group."""
    import pandas as pd

    from gumbel.analysis.object_distribution import group_statistics, object_distribution, save

    distribution = object_distribution(annotations, grid)
    if output:
        save(output, distribution)
    print(pd.DataFrame(group_statistics(distribution)).T.rename_axis("group").to_string(float_format="{:.2e}".format))
