"""Cheaper ways to an answer: weights trained elsewhere, fewer images, the classification layer alone."""

HEAD_ONLY = FILES.head_only("{architecture}", "{activation}", "{seed}")
FEATURES = FILES.head_only_features("{architecture}", "{seed}")


if EXPERIMENT.checkpoints:
    GIVEN = paths.TrainingPaths(FILES.root / "{cell}")

    GIVEN_URLS = {
        weights.path(each).name: each
        for each in EXPERIMENT.checkpoints.values()
        if weights.is_url(each)
    }

    rule weights:
        output:
            paths.given_weights("{name}"),
        log:
            FILES.log("weights_{name}"),
        wildcard_constraints:
            name="|".join(GIVEN_URLS) or "(?!)",
        # Compute nodes are often without a network
        localrule: True
        conda:
            ENVIRONMENT
        params:
            url=given_url,
        shell:
            "python -m gumbel weights {params.url:q} 2>&1 | tee {log:q} >&2"

    rule convert:
        input:
            config=GIVEN.config,
            checkpoint=given_checkpoint,
        output:
            GIVEN.checkpoint,
            GIVEN.history,
            GIVEN.manifest,
        log:
            GIVEN.log("convert"),
        benchmark:
            GIVEN.benchmark("convert")
        wildcard_constraints:
            cell=GIVEN_CELLS,
        conda:
            ENVIRONMENT
        shell:
            "python -m gumbel convert {input.config:q} --checkpoint {input.checkpoint:q} &> {log:q}"


if EXPERIMENT.subset:

    rule subset:
        input:
            DATA.annotations("train"),
        output:
            DATA.annotations(EXPERIMENT.train_split),
        log:
            FILES.log("subset"),
        benchmark:
            FILES.benchmark("subset")
        conda:
            ENVIRONMENT
        params:
            images=EXPERIMENT.subset.images_per_category,
        shell:
            "python -m gumbel subset {input:q} --images-per-category {params.images:q} --output {output:q} &> {log:q}"


rule features:
    input:
        unpack(frozen_detector),
        annotations=DATA.annotations(EXPERIMENT.train_split),
    output:
        FEATURES,
    log:
        FILES.log("features_{architecture}_seed{seed}"),
    benchmark:
        FILES.benchmark("features_{architecture}_seed{seed}")
    conda:
        ENVIRONMENT
    params:
        images=EXPERIMENT.head_only.images,
        rois=["--rois", EXPERIMENT.head_only.rois] if EXPERIMENT.head_only.rois else [],
    shell:
        "python -m gumbel features {input.config:q} --checkpoint {input.checkpoint:q} --images {params.images:q}"
        " {params.rois:q} --output {output:q} &> {log:q}"


rule train_head:
    input:
        unpack(frozen_detector),
        own_config=CELL.config,
        features=FEATURES,
    output:
        HEAD_ONLY.checkpoint,
        HEAD_ONLY.history,
        HEAD_ONLY.manifest,
    log:
        HEAD_ONLY.log("head_only"),
    benchmark:
        HEAD_ONLY.benchmark("head_only")
    conda:
        ENVIRONMENT
    params:
        root=str(HEAD_ONLY.root),
    shell:
        "python -m gumbel head-only {input.own_config:q} --detector {input.checkpoint:q} --features {input.features:q}"
        " --folder {params.root:q} &> {log:q}"


use rule predict as predict_head with:
    input:
        config=CELL.config,
        checkpoint=HEAD_ONLY.checkpoint,
        annotations=DATA.annotations("{split}"),
    output:
        HEAD_ONLY.predictions("{split}", "{scoring}"),
    log:
        HEAD_ONLY.log("predict_{split}_{scoring}"),
    benchmark:
        HEAD_ONLY.benchmark("predict_{split}_{scoring}")
    wildcard_constraints:
        activation="[^/]+",


use rule evaluate_split as evaluate_head with:
    input:
        annotations=DATA.annotations("{split}"),
        predictions=HEAD_ONLY.predictions("{split}", "{scoring}"),
    output:
        metrics=HEAD_ONLY.metrics("{split}", "{scoring}"),
        per_category=HEAD_ONLY.per_category("{split}", "{scoring}"),
    log:
        HEAD_ONLY.log("evaluate_{split}_{scoring}"),
    benchmark:
        HEAD_ONLY.benchmark("evaluate_{split}_{scoring}")
    wildcard_constraints:
        split="[^/]+",


rule head_only:
    input:
        head_only_metrics,
        experiment=FILES.experiment,
    output:
        FILES.head_only_order,
    log:
        FILES.log("head_only"),
    benchmark:
        FILES.benchmark("head_only")
    conda:
        ENVIRONMENT
    shell:
        "python -m gumbel head-only-order --experiment {input.experiment:q} --output {output:q} 2>&1 | tee {log:q} >&2"
