import yaml


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
        experiment=yaml.safe_dump(
            EXPERIMENT.model_dump(mode="json", exclude={"allow_missing"}),
            sort_keys=False,
        ),
    # No script: Snakemake starts these by the interpreter's path unquoted, which may have spaces
    shell:
        "printf %s {params.experiment:q} > {output:q} 2> {log:q}"


rule data:
    input:
        DATA.inputs,
    output:
        annotations=[DATA.annotations(split) for split in DATA.splits],
        attribution=DATA.attribution,
        record=DATA.record,
    log:
        FILES.log("data"),
    benchmark:
        FILES.benchmark("data")
    # Compute nodes are often without a network. What is downloaded is no output, so that Snakemake never removes it;
    # the outputs are links to it
    localrule: DATA.on_submit_host
    conda:
        ENVIRONMENT
    params:
        settings=dependencies.as_settings(matrix.source(EXPERIMENT)),
    shell:
        f"python -m gumbel data --experiment {SETTINGS} 2>&1 | tee {{log:q}} >&2"


rule backbone:
    output:
        paths.backbone("{name}"),
    log:
        FILES.log("backbone_{name}"),
    localrule: True
    conda:
        ENVIRONMENT
    shell:
        "python -m gumbel backbones {wildcards.name:q} 2>&1 | tee {log:q} >&2"
