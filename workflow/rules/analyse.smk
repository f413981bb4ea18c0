rule weight_norms:
    input:
        checkpoint=CELL.checkpoint,
        annotations=DATA.annotations(EXPERIMENT.train_split),
    output:
        report(
            CELL.weight_norms,
            caption="../../reports/captions/weight_norms.rst",
            category="{architecture}",
            subcategory="{activation}",
        ),
    log:
        CELL.log("weight_norms"),
    benchmark:
        CELL.benchmark("weight_norms")
    conda:
        ENVIRONMENT
    shell:
        "python -m gumbel weight-norms {input.checkpoint:q} --annotations {input.annotations:q}"
        " --output {output:q} &> {log:q}"


rule object_distribution:
    input:
        DATA.annotations(EXPERIMENT.train_split),
    output:
        report(
            FILES.object_distribution,
            caption="../../reports/captions/object_distribution.rst",
            category="Experiment",
        ),
    log:
        FILES.log("object_distribution"),
    benchmark:
        FILES.benchmark("object_distribution")
    conda:
        ENVIRONMENT
    params:
        grid=EXPERIMENT.grid,
    shell:
        "python -m gumbel object-distribution {input:q} --grid {params.grid:q} --output {output:q} &> {log:q}"
