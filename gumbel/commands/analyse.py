"""What a classifier learned, and where objects are."""

from pathlib import Path

from gumbel.commands.command import Argument, command, file_to_read, file_to_write


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
    Argument("--grid", type=int, default=16, help="side of the normalised grid"),
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
