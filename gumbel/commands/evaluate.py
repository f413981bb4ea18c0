"""AP of detections, differences between two detectors, classifier weight norms, and where objects are."""

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


REPLICATES = whole_number("--replicates", 1, default=10_000, help="number of bootstrap samples of the images")
IOU_TYPES = ["segm", "bbox", "boundary"]


@command(
    ANNOTATIONS,
    file_to_read("--predictions", required=True, help="detections: Parquet, or JSON in the official results format"),
    Argument(
        "--iou-type",
        nargs="+",
        choices=IOU_TYPES,
        default=["segm", "bbox"],
        help="what is matched: masks, boxes, or mask boundaries",
    ),
    file_to_read("--images", help="score only these images: a JSON list of ids, or annotations (default: all images)"),
    Argument(
        "--protocol",
        choices=["lvis", "fixed"],
        default="lvis",
        help="lvis: at most 300 detections per image; fixed: at most 10,000 per category (AP-fixed)",
    ),
    file_to_write("--per-category", help="also write the AP of each category (Parquet)"),
    Argument(
        "--backend",
        choices=["compiled", "official"],
        default="compiled",
        help="official: lvis 0.5.3 itself, slow, for reference",
    ),
    file_to_write("--bootstrap", help="also write every metric on resampled images (npz), for intervals"),
    REPLICATES,
    whole_number(
        "--seed", 0, default=0, help="seed of the bootstrap; use the same one for everything that you compare"
    ),
    file_to_write("--errors", help="also write types of error, score histogram and calibration (JSON)"),
    file_to_write(required=True, help="metrics to write (JSON)"),
)
def evaluate(**given: Any) -> None:
    """Compute the LVIS AP of detections.

    Example:
      python -m gumbel evaluate --annotations val.json --predictions predictions.parquet --output metrics.json
    """
    from gumbel.analysis.evaluate import write_evaluation

    write_evaluation(**given)


@command(
    file_to_read("first", help="detections of the baseline (Parquet or JSON)"),
    file_to_read("second", help="detections of what is compared with it"),
    ANNOTATIONS,
    Argument("--iou-type", choices=IOU_TYPES, default="segm", help="what is matched: masks, boxes, or mask boundaries"),
    REPLICATES,
)
def compare(first: Path, second: Path, annotations: Path, iou_type: str, replicates: int) -> None:
    """Print how the metrics of two files of detections differ, with paired intervals.

    Differences are second minus first: a positive one means that the second file scores higher.

    Example:
      python -m gumbel compare softmax.parquet gumbel.parquet --annotations val.json
    """
    from gumbel.evaluation.compare import as_text, compare

    print(as_text(compare(annotations, first, second, iou_type, replicates=replicates)))


@command(
    file_to_read("checkpoint", help="weights of a detector, of mmdet 2.x or 3.x"),
    file_to_read("--annotations", required=True, help="training annotations, LVIS v1 JSON"),
    file_to_write(help="also write the norm of each category (Parquet)"),
)
def weight_norms(checkpoint: Path, annotations: Path, output: Path | None) -> None:
    """Print statistics of the classifier's weight norms.

    Example:
      python -m gumbel weight-norms checkpoint.pth --annotations train.json
    """
    import pandas as pd

    from gumbel.analysis.weight_norms import norm_statistics, weight_norms
    from gumbel.jobs.files import atomic_path

    table = weight_norms(checkpoint, annotations)
    if output:
        with atomic_path(output) as temporary:
            table.to_parquet(temporary, index=False)
    print(pd.DataFrame(norm_statistics(table)).T.rename_axis("stage").to_string(float_format="{:.4f}".format))


@command(
    file_to_read("annotations", help="annotations, LVIS v1 JSON"),
    whole_number("--grid", 2, default=16, help="side of the grid that every image is divided into"),
    file_to_write(help="also write the distribution of each category (npz)"),
)
def object_distribution(annotations: Path, grid: int, output: Path | None) -> None:
    """Print how likely objects of rare, common and frequent categories are at a place in the image.

    Example:
      python -m gumbel object-distribution train.json --output object_distribution.npz
    """
    import pandas as pd

    from gumbel.analysis.object_distribution import group_statistics, object_distribution, save

    distribution = object_distribution(annotations, grid)
    if output:
        save(output, distribution)
    print(pd.DataFrame(group_statistics(distribution)).T.rename_axis("group").to_string(float_format="{:.2e}".format))
