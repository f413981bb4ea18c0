WARM_START = FILES.warm_start("{architecture}")
# What decides a training is in its configuration's parameters, the code that it runs too; so the checks before it may
# be made anew (ancient) without one. Below such an input Snakemake would overlook parameters of the training itself.
# Signals reach every process of a job: the shell and tee live on while the training saves itself
TRAIN = (
    "trap '' TERM USR1; {resources.launcher} -m gumbel train --wait {input.config:q} 2>&1"
    " | tee {log:q} >&2"
)


rule config:
    input:
        DATA.inputs,
    output:
        CELL.config,
    log:
        CELL.log("config"),
    localrule: True
    conda:
        ENVIRONMENT
    params:
        settings=cell_settings,
        sources=cell_sources,
    shell:
        f"python -m gumbel configs --experiment {SETTINGS} --only {{output:q}} &> {{log:q}}"


rule recipe:
    input:
        experiment=FILES.experiment,
        paper=PAPER,
    output:
        FILES.recipe,
    log:
        FILES.log("recipe"),
    localrule: True
    conda:
        ENVIRONMENT
    params:
        sources=matrix_sources,
    shell:
        "python -m gumbel recipe --experiment {input.experiment:q} --output {output:q} &> {log:q}"


rule doctor:
    input:
        experiment=FILES.experiment,
        data=DATA.record,
        weights=[] if EXPERIMENT.warm_start else BACKBONES,
    output:
        FILES.doctor,
    log:
        FILES.log("doctor"),
    benchmark:
        FILES.benchmark("doctor")
    priority: 20
    conda:
        ENVIRONMENT
    resources:
        checks="--skip gpu",
    shell:
        "python -m gumbel doctor --experiment {input.experiment:q} {resources.checks} --output {output:q} 2>&1"
        " | tee {log:q} >&2"


if EXPERIMENT.warm_start:

    # Not taken over from the rule that it is made from
    localrules:
        warm_start_config,

    use rule config as warm_start_config with:
        output:
            WARM_START.config,
        log:
            WARM_START.log("config"),
        params:
            settings=warm_start_settings,
            sources=warm_start_sources,

    rule warm_start:
        input:
            config=WARM_START.config,
            preflight=ancient(FILES.doctor),
            annotations=DATA.annotations(EXPERIMENT.warm_start.split),
        output:
            WARM_START.checkpoint,
            WARM_START.history,
            WARM_START.manifest,
        log:
            WARM_START.log("train"),
        benchmark:
            WARM_START.benchmark("train")
        priority: 10
        conda:
            ENVIRONMENT
        resources:
            launcher="python",
        shell:
            TRAIN


rule train:
    input:
        config=cell_config,
        preflight=ancient(FILES.doctor),
        annotations=DATA.annotations(EXPERIMENT.train_split),
        starting_weights=starting_weights,
    output:
        CELL.checkpoint,
        report(
            CELL.history,
            caption="../../reports/captions/history.rst",
            category="{architecture}",
            subcategory="{activation}",
        ),
        CELL.manifest,
        [CELL.at(percent).checkpoint for percent in EXPERIMENT.snapshots],
    log:
        CELL.log("train"),
    benchmark:
        CELL.benchmark("train")
    wildcard_constraints:
        architecture=TRAINED_ARCHITECTURE,
    priority: 5
    conda:
        ENVIRONMENT
    resources:
        launcher="python",
    shell:
        TRAIN
