# No ancient() on what another job may make anew: Snakemake then overlooks changed parameters in the same run
WARM_START = FILES.warm_start("{architecture}")
# SLURM signals every process of a job: the shell and tee live on while the training saves itself
TRAIN = (
    "trap '' TERM USR1; {resources.launcher} -m gumbel train --wait {input.config} 2>&1"
    " | tee {log} >&2"
)


rule configs:
    input:
        experiment=FILES.experiment,
        sources=sorted(paths.CONFIGS.glob("[!ep]*/*.*")),
        compose=paths.REPOSITORY / "gumbel" / "detection" / "compose.py",
        released=[
            paths.CONFIGS / "paper" / name
            for name in ("recipe.yaml", "recipes.csv", "deviations.yaml")
        ],
    output:
        FILES.recipe,
        [cell.paths(EXPERIMENT).config for cell in CELLS],
        [FILES.warm_start(name).config for name in EXPERIMENT.architectures]
        if EXPERIMENT.warm_start
        else [],
    log:
        FILES.log("configs"),
    benchmark:
        FILES.benchmark("configs")
    conda:
        ENVIRONMENT
    shell:
        "python -m gumbel configs --experiment {input.experiment} &> {log}"


rule doctor:
    input:
        experiment=FILES.experiment,
        data=DATA.checksums if EXPERIMENT.mini else DATA.verified,
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
        "python -m gumbel doctor --experiment {input.experiment} {resources.checks} --output {output} 2>&1"
        " | tee {log} >&2"


if EXPERIMENT.warm_start:

    rule warm_start:
        input:
            config=WARM_START.config,
            preflight=FILES.doctor,
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
        params:
            **dependencies.warm_start_parameters(EXPERIMENT),
        shell:
            TRAIN


rule train:
    input:
        config=cell_config,
        preflight=FILES.doctor,
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
    params:
        **dependencies.cell_parameters(EXPERIMENT),
    shell:
        TRAIN
