"""Figures of detections, and of one detector against another."""

from pathlib import Path

from gumbel.commands.command import Argument, command, file_to_read, file_to_write

ANNOTATIONS = file_to_read("--annotations", required=True, help="ground truth, LVIS v1 JSON")
REPLICATES = Argument("--replicates", type=int, default=1000, help="bootstrap draws of the images")
IOU_TYPES = ["segm", "bbox", "boundary"]


@command(
    ANNOTATIONS,
    file_to_read("--predictions", required=True, help="Parquet, or official JSON results"),
    Argument("--iou-type", nargs="+", choices=IOU_TYPES, default=["segm", "bbox"]),
    file_to_read("--images", help="score these images alone: JSON ids, or LVIS minival's annotations"),
    Argument(
        "--protocol",
        choices=["lvis", "fixed"],
        default="lvis",
        help="fixed: 10,000 detections a category (AP-fixed)",
    ),
    file_to_write("--per-category", help="also write the AP of each category (Parquet)"),
    Argument("--backend", choices=["compiled", "official"], default="compiled"),
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
    from gumbel.analysis.evaluate import write_evaluation

    write_evaluation(
        annotations,
        predictions,
        output,
        iou_type,
        per_category=per_category,
        bootstrap=bootstrap,
        errors=errors,
        replicates=replicates,
        seed=seed,
        images=images,
        protocol=protocol,
        backend=backend,
    )


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
