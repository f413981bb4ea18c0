"""Figures of detections, and of one detector against another."""

from pathlib import Path

from gumbel.commands.command import Argument, command, file_to_read, file_to_write

ANNOTATIONS = file_to_read("--annotations", required=True, help="ground truth, LVIS v1 JSON")
REPLICATES = Argument("--replicates", type=int, default=1000, help="bootstrap draws of the images")


@command(
    ANNOTATIONS,
    file_to_read("--predictions", required=True, help="Parquet, or official JSON results"),
    Argument("--iou-type", nargs="+", choices=["segm", "bbox"], default=["segm", "bbox"]),
    file_to_write("--per-category", help="also write the AP of each category (Parquet)"),
    Argument("--backend", choices=["hotcoco", "official"], default="hotcoco"),
    file_to_write("--bootstrap", help="also write every figure on resampled images (npz), for intervals"),
    REPLICATES,
    Argument("--seed", type=int, default=0, help="seed of the draws: the same for all that is compared"),
    file_to_write("--errors", help="also write types of error, score histogram and calibration (JSON)"),
    file_to_write(required=True),
)
def evaluate(
    annotations: Path,
    predictions: Path,
    iou_type: list[str],
    per_category: Path | None,
    backend: str,
    bootstrap: Path | None,
    replicates: int,
    seed: int,
    errors: Path | None,
    output: Path,
) -> None:
    """Write the LVIS AP of detections, Parquet or official JSON."""
    from gumbel.evaluation.ground_truth import read_ground_truth
    from gumbel.evaluation.lvis_ap import collector_paused, score
    from gumbel.evaluation.predictions import read_predictions
    from gumbel.jobs.files import atomic_path, write_json

    with collector_paused():
        read = read_ground_truth(annotations), read_predictions(predictions)
        if errors and read[1].counts is None:
            raise ValueError("expected masks for --errors, found detections without `segmentation`: leave --errors out")
        metrics, table = score(*read, iou_type, backend)
        write_json(output, metrics)
        if per_category:
            with atomic_path(per_category) as temporary:
                table.to_parquet(temporary, index=False)
        if bootstrap:
            from gumbel.evaluation import bootstrap as resampling
            from gumbel.evaluation.matches import find_matches

            found = {kind: resampling.resample(find_matches(*read, kind), replicates, seed) for kind in iou_type}
            resampling.save(bootstrap, found)
        if errors:
            from gumbel.analysis.errors import describe, find_errors

            write_json(errors, describe(find_errors(*read)))


@command(
    file_to_read("first"),
    file_to_read("second"),
    ANNOTATIONS,
    Argument("--iou-type", choices=["segm", "bbox"], default="segm"),
    REPLICATES,
)
def compare(first: Path, second: Path, annotations: Path, iou_type: str, replicates: int) -> None:
    """Print the figures of the second detections minus the first's, with paired intervals."""
    from gumbel.evaluation.compare import as_text, compare

    print(as_text(compare(annotations, first, second, iou_type, replicates=replicates)))
