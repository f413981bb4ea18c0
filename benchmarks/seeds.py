"""How far another training moves AP, AP of rare categories, and each verdict of an experiment with several seeds.

    python benchmarks/seeds.py --experiment configs/experiments/mini_seeds.yaml

Reads the summary, in the folder that holds results/. Prints, for each architecture, mask AP and APr of every activation
over the seeds; the difference of each claim that compares figures, of each seed alone, with how one training would have
been judged by its images alone; and the verdict of all. The tables are Markdown.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from gumbel.experiment import matrix
from gumbel.experiment.schema import Experiment
from gumbel.paths import ExperimentPaths
from gumbel.report.summary import intervals
from gumbel.report.verdicts.claims import decide, judge, load_claims, per_seed
from gumbel.report.verdicts.rules.comparison import DifferenceClaim
from gumbel.words import activation_name, architecture_name, fixed


def spread(summary: pd.DataFrame, experiment: Experiment) -> Iterator[str]:
    """A row a model and activation: mean, standard deviation and range over seeds, in points."""
    yield "| model | activation | AP | APr |"
    yield "| --- | --- | --- | --- |"
    for architecture in experiment.architectures:
        for activation in experiment.activations:
            cells = []
            for metric in ("AP", "APr"):
                where = {"activation": activation, "scoring": "matched", "iou_type": "segm", "metric": metric}
                where |= {"architecture": architecture, "split": experiment.splits[0]}
                values = 100 * per_seed(summary, source="evaluation", **where)
                cells.append(f"{values.mean():.1f} ± {values.std():.1f} ({values.min():.1f} to {values.max():.1f})")
            yield f"| {architecture_name(architecture)} | {activation_name(activation)} | {' | '.join(cells)} |"


def verdicts(summary: pd.DataFrame, experiment: Experiment) -> Iterator[str]:
    """A row a claim and model: the difference of each seed, what it would have been called, and the verdict of all."""
    yield f"| claim | model | {' | '.join(f'seed {seed}' for seed in experiment.seeds)} | all |"
    yield f"| --- | --- |{' --- |' * (len(experiment.seeds) + 1)}"
    claims = [claim for claim in load_claims() if isinstance(claim, DifferenceClaim)]
    alone = {seed: list(intervals.rows(experiment.model_copy(update={"seeds": [seed]}))) for seed in experiment.seeds}
    for verdict in decide(summary, claims, experiment):
        if verdict.finding == "not_run":
            continue
        claim = next(claim for claim in claims if claim.id == verdict.claim.id)
        against, cells = claim.evidence.against[0], []
        for rows in alone.values():
            (row,) = (
                row
                for row in rows
                if row["source"] == "paired"
                and (row["architecture"], row["activation"]) == (verdict.architecture, claim.evidence.of.activation)
                and (row["iou_type"], row["metric"]) == (claim.evidence.iou_type, claim.evidence.metric)
                and row["text"] == f"{against.activation}/{against.scoring}"
            )
            finding = judge(100 * row["low"], 100 * row["high"], claim.threshold.value)
            cells.append(f"{fixed(100 * row['value'], '+.1f')} {finding}")
        found = f"{fixed(verdict.value, '+.1f')} ({verdict.bounds}) {verdict.finding.replace('_', ' ')}"
        yield f"| {claim.id} | {architecture_name(verdict.architecture or '')} | {' | '.join(cells)} | {found} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiment", type=Path, default=Path("configs/experiments/mini_seeds.yaml"))
    options = parser.parse_args()
    experiment = matrix.load(options.experiment)
    summary = pd.read_parquet(ExperimentPaths(experiment.name).summary)
    print("\n".join([*spread(summary, experiment), "", *verdicts(summary, experiment)]))


if __name__ == "__main__":
    main()
