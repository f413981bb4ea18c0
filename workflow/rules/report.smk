import mimetypes

# So that `snakemake --report` offers them as files, and does not print them as text
mimetypes.add_type("application/vnd.apache.parquet", ".parquet")
mimetypes.add_type("application/x-npz", ".npz")


rule collect:
    input:
        experiment=FILES.experiment,
        evidence=evidence,
    output:
        report(
            FILES.summary,
            caption="../../reports/captions/summary.rst",
            category="Experiment",
        ),
    log:
        FILES.log("collect"),
    benchmark:
        FILES.benchmark("collect")
    conda:
        ENVIRONMENT
    params:
        # With allow_missing all that is there counts, and no job is run to make more of it
        found=fingerprint(there()) if EXPERIMENT.allow_missing else None,
    shell:
        "python -m gumbel collect --experiment {input.experiment:q} --output {output:q} &> {log:q}"


rule report:
    input:
        experiment=FILES.experiment,
        summary=FILES.summary,
        recipe=[] if EXPERIMENT.allow_missing else FILES.recipe,
        paper=PAPER,
        templates=files_of_the_project(paths.TEMPLATES),
    output:
        # The experiment's own page and its exports are written with it. Were they named here, Snakemake would know
        # nothing of an experiment that is run for the first time, and take the page of another one for its own
        report(
            paths.REPORT,
            caption="../../reports/captions/summary_page.rst",
            category="Experiment",
        ),
    log:
        FILES.log("report"),
    benchmark:
        FILES.benchmark("report")
    conda:
        ENVIRONMENT
    shell:
        "python -m gumbel report --experiment {input.experiment:q} --output {output:q} &> {log:q}"
