"""Write the experiment as Snakemake resolved it, command line included."""

from pathlib import Path

import yaml

from gumbel.jobs.files import atomic_path

with atomic_path(Path(snakemake.output[0])) as temporary:  # noqa: F821 - given by Snakemake
    temporary.write_text(yaml.safe_dump(snakemake.params.experiment, sort_keys=False))  # noqa: F821
