"""What each subcommand runs, given its parsed options.

Each stage reads the files of the stage before it and writes its own; Snakemake only calls them in
the right order. Heavy packages are imported by the stage that needs them.
"""

from argparse import Namespace

from gumbel.experiment import matrix
from gumbel.jobs.files import write_json


def data(options: Namespace) -> None:
    experiment = matrix.load(options.experiment)
    if options.dataset == "lvis":
        from gumbel.datasets.lvis_v1 import provide as lvis

        if experiment.dataset != "lvis_v1":
            raise ValueError(f"expected dataset lvis_v1 in {options.experiment}, found {experiment.dataset}")
        lvis.provide(experiment.data_root, matrix.data(experiment), lvis.facts())
        return
    from gumbel.datasets.mini import generate as mini

    if experiment.mini is None:
        raise ValueError(f"expected a `mini` section in {options.experiment}, found none")
    mini.generate(experiment.mini, experiment.data_root)


def backbones(options: Namespace) -> None:
    from gumbel.datasets.backbones import backbones, provide

    known = backbones()
    if unknown := set(options.name) - set(known):
        raise ValueError(f"expected names among {', '.join(known)}; found {', '.join(unknown)}")
    for name in options.name or known:
        provide(known[name])


def subset(options: Namespace) -> None:
    from gumbel.datasets.subset import write_subset

    counts = write_subset(options.annotations, options.images_per_category, options.output)
    print(", ".join(f"{count:,} {name}" for name, count in counts.items()))


def configs(options: Namespace) -> None:
    from gumbel.detection import recipe
    from gumbel.detection.compose import write_configs
    from gumbel.jobs.files import write_json
    from gumbel.paths import ExperimentPaths

    experiment = matrix.load(options.experiment)
    write_configs(experiment)
    write_json(ExperimentPaths(experiment.name).recipe, recipe.as_record(recipe.compare(experiment)))


def recipe(options: Namespace) -> None:
    from gumbel.detection import recipe

    comparisons = recipe.compare(matrix.load(options.experiment))
    if not options.diff:
        print(recipe.listing(comparisons))
        return
    text, unnamed = recipe.as_text(comparisons)
    print(text)
    if unnamed:
        raise ValueError(
            f"expected a named reason for every deviation, found {unnamed} without one; correct the experiment, or "
            "name them in configs/paper/deviations.yaml"
        )


def doctor(options: Namespace) -> None:
    from gumbel.preflight.doctor import doctor

    doctor(matrix.load(options.experiment), options.output, options.skip)


def train(options: Namespace) -> None:
    from gumbel.detection.train import train

    train(options.config, options.wait)


def convert(options: Namespace) -> None:
    from gumbel.detection.convert import convert

    convert(options.checkpoint, options.config)


def features(options: Namespace) -> None:
    from gumbel.detection.head_only import store_features

    store_features(options.config, options.checkpoint, options.images, options.rois, options.output)


def head_only(options: Namespace) -> None:
    from gumbel.detection.head_only import train_head

    train_head(options.config, options.detector, options.features, options.folder)


def predict(options: Namespace) -> None:
    from gumbel.detection.predict import predict

    predict(options.config, options.checkpoint, options.split, options.scoring, options.output)


def evaluate(options: Namespace) -> None:
    from gumbel.analysis.errors import describe, find_errors
    from gumbel.evaluation import bootstrap
    from gumbel.evaluation.lvis_ap import score
    from gumbel.jobs.files import atomic_path

    scores = score(
        options.annotations,
        options.predictions,
        options.iou_type,
        images=options.images,
        protocol=options.protocol,
        backend=options.backend,
        overlaps=options.errors is not None,
    )
    write_json(options.output, scores.metrics)
    if options.per_category:
        with atomic_path(options.per_category) as temporary:
            scores.per_category.to_parquet(temporary, index=False)
    if options.bootstrap:
        drawn = (options.replicates, options.seed)
        matches = scores.found.matches.items()
        bootstrap.save(options.bootstrap, {iou_type: bootstrap.resample(found, *drawn) for iou_type, found in matches})
    if options.errors:
        write_json(options.errors, describe(find_errors(scores.found)))


def compare(options: Namespace) -> None:
    from gumbel.evaluation.compare import as_text, compare

    differences = compare(
        options.annotations, options.first, options.second, options.iou_type, replicates=options.replicates
    )
    print(as_text(differences))


def weight_norms(options: Namespace) -> None:
    import pandas as pd

    from gumbel.analysis.weight_norms import norm_statistics, weight_norms
    from gumbel.jobs.files import atomic_path

    table = weight_norms(options.checkpoint, options.annotations)
    if options.output:
        with atomic_path(options.output) as temporary:
            table.to_parquet(temporary, index=False)
    print(pd.DataFrame(norm_statistics(table)).T.rename_axis("stage").to_string(float_format="{:.4f}".format))


def object_distribution(options: Namespace) -> None:
    import pandas as pd

    from gumbel.analysis.object_distribution import group_statistics, object_distribution, save

    distribution = object_distribution(options.annotations, options.grid)
    if options.output:
        save(options.output, distribution)
    print(pd.DataFrame(group_statistics(distribution)).T.rename_axis("group").to_string(float_format="{:.2e}".format))


def collect(options: Namespace) -> None:
    from gumbel.jobs.files import atomic_path
    from gumbel.report.summary.collect import collect

    table = collect(matrix.load(options.experiment))
    with atomic_path(options.output) as temporary:
        table.to_parquet(temporary, index=False)


def report(options: Namespace) -> None:
    from gumbel.report.page.render import render

    render(matrix.load(options.experiment), options.output)


def status(options: Namespace) -> None:
    from gumbel.monitor.page import write_page
    from gumbel.monitor.table import show

    experiment = matrix.load(options.experiment)
    if options.html:
        write_page(experiment)
    else:
        show(experiment, options.watch)


def headline(options: Namespace) -> None:
    import pandas as pd

    from gumbel.paths import ExperimentPaths
    from gumbel.report.summary.collect import headline_table

    summary = ExperimentPaths(matrix.load(options.experiment).name).summary
    if not summary.exists():
        raise FileNotFoundError(f"expected {summary}, found nothing there; run `snakemake {summary}`")
    print(headline_table(pd.read_parquet(summary)))


def head_only_order(options: Namespace) -> None:
    from gumbel.jobs.files import atomic_path
    from gumbel.report.head_only import as_text, figures

    experiment = matrix.load(options.experiment)
    table = figures(experiment)
    if options.output:
        with atomic_path(options.output) as temporary:
            table.to_csv(temporary, index=False)
    print(as_text(table, experiment))
