import re

SNAPSHOT = CELL.at("{percent}")
EVALUATE = (
    "python -m gumbel evaluate --annotations {input.annotations:q} --predictions {input.predictions:q}"
    " --output {output.metrics:q} --per-category {output.per_category:q}"
)


rule predict:
    input:
        config=CELL.config,
        checkpoint=CELL.checkpoint,
        annotations=[DATA.annotations(split) for split in EXPERIMENT.splits],
    output:
        [CELL.predictions(split, "matched") for split in EXPERIMENT.splits],
    log:
        CELL.log("predict"),
    benchmark:
        CELL.benchmark("predict")
    wildcard_constraints:
        activation=SCORED_ONCE,
    conda:
        ENVIRONMENT
    resources:
        launcher="python",
    shell:
        "{resources.launcher} -m gumbel predict {input.config:q} --checkpoint {input.checkpoint:q}"
        " --output {output:q} &> {log:q}"


if SCORED_TWICE:

    use rule predict as predict_released with:
        output:
            [CELL.predictions(split, "matched") for split in EXPERIMENT.splits],
            CELL.predictions(EXPERIMENT.splits[0], "released"),
        wildcard_constraints:
            activation=SCORED_TWICE,


rule evaluate:
    input:
        annotations=DATA.annotations("{split}"),
        predictions=CELL.predictions("{split}", "{scoring}"),
    output:
        metrics=report(
            CELL.metrics("{split}", "{scoring}"),
            caption="../../reports/captions/metrics.rst",
            category="{architecture}",
            subcategory="{activation}",
        ),
        per_category=CELL.per_category("{split}", "{scoring}"),
        bootstrap=CELL.bootstrap("{split}", "{scoring}"),
        errors=report(
            CELL.errors("{split}", "{scoring}"),
            caption="../../reports/captions/errors.rst",
            category="{architecture}",
            subcategory="{activation}",
        ),
    log:
        CELL.log("evaluate_{split}_{scoring}"),
    benchmark:
        CELL.benchmark("evaluate_{split}_{scoring}")
    wildcard_constraints:
        split=re.escape(EXPERIMENT.splits[0]),
    conda:
        ENVIRONMENT
    shell:
        f"{EVALUATE} --bootstrap {{output.bootstrap:q}} --errors {{output.errors:q}} &> {{log:q}}"


# Intervals and types of error are of the first split alone, which decides the claims. The rules share no file: where
# two could make it, Snakemake considers a job of each
rule evaluate_split:
    input:
        annotations=DATA.annotations("{split}"),
        predictions=CELL.predictions("{split}", "{scoring}"),
    output:
        metrics=report(
            CELL.metrics("{split}", "{scoring}"),
            caption="../../reports/captions/metrics.rst",
            category="{architecture}",
            subcategory="{activation}",
        ),
        per_category=CELL.per_category("{split}", "{scoring}"),
    log:
        CELL.log("evaluate_{split}_{scoring}"),
    benchmark:
        CELL.benchmark("evaluate_{split}_{scoring}")
    wildcard_constraints:
        split=f"(?!{re.escape(EXPERIMENT.splits[0])}/)[^/]+",
    conda:
        ENVIRONMENT
    shell:
        f"{EVALUATE} &> {{log:q}}"


if EXPERIMENT.snapshots:

    use rule predict as predict_snapshot with:
        input:
            config=CELL.config,
            checkpoint=SNAPSHOT.checkpoint,
            annotations=DATA.annotations("{split}"),
        output:
            SNAPSHOT.predictions("{split}", "{scoring}"),
        log:
            CELL.log("predict_{split}_{scoring}_at_{percent}"),
        benchmark:
            CELL.benchmark("predict_{split}_{scoring}_at_{percent}")
        wildcard_constraints:
            activation="[^/]+",

    use rule evaluate_split as evaluate_snapshot with:
        input:
            annotations=DATA.annotations("{split}"),
            predictions=SNAPSHOT.predictions("{split}", "{scoring}"),
        output:
            metrics=SNAPSHOT.metrics("{split}", "{scoring}"),
            per_category=SNAPSHOT.per_category("{split}", "{scoring}"),
        log:
            CELL.log("evaluate_{split}_{scoring}_at_{percent}"),
        benchmark:
            CELL.benchmark("evaluate_{split}_{scoring}_at_{percent}")
        wildcard_constraints:
            split="[^/]+",
