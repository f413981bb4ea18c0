rule experiment:
    output:
        FILES.experiment,
    log:
        FILES.log("experiment"),
    localrule: True
    conda:
        ENVIRONMENT
    params:
        # Whether the report waits for every cell changes no other file
        experiment=EXPERIMENT.model_dump(mode="json", exclude={"allow_missing"}),
    script:
        "../scripts/write_experiment.py"


if EXPERIMENT.mini is not None:

    rule mini_data:
        input:
            experiment=FILES.experiment,
        output:
            annotations=[DATA.annotations(split) for split in matrix.MINI_SPLITS],
            attribution=DATA.attribution,
            checksums=DATA.checksums,
        log:
            FILES.log("mini_data"),
        benchmark:
            FILES.benchmark("mini_data")
        conda:
            ENVIRONMENT
        shell:
            "python -m gumbel data mini --experiment {input.experiment} &> {log}"

else:

    # On the submit host: compute nodes are often without a network. What is downloaded is no output, so that
    # Snakemake never removes it; the outputs are links to it
    rule lvis_data:
        input:
            experiment=FILES.experiment,
        output:
            annotations=[DATA.annotations(split) for split in matrix.LVIS_SPLITS],
            attribution=DATA.attribution,
            verified=DATA.verified,
        log:
            FILES.log("lvis_data"),
        localrule: True
        conda:
            ENVIRONMENT
        params:
            root=EXPERIMENT.data_root,
        shell:
            "python -m gumbel data lvis --experiment {input.experiment} 2>&1 | tee {log} >&2"


rule backbone:
    output:
        paths.backbone("{name}"),
    log:
        FILES.log("backbone_{name}"),
    localrule: True
    conda:
        ENVIRONMENT
    shell:
        "python -m gumbel backbones {wildcards.name} 2>&1 | tee {log} >&2"
