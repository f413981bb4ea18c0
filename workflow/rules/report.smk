import mimetypes

# So that `snakemake --report` offers them as files, and does not print them as text
mimetypes.add_type("application/vnd.apache.parquet", ".parquet")
mimetypes.add_type("application/x-npz", ".npz")

EVIDENCE = [path for cell in CELLS for path in matrix.evidence(EXPERIMENT, cell)]
CELL_FOLDERS = [cell.paths(EXPERIMENT).root for cell in CELLS]


rule collect:
    input:
        experiment=FILES.experiment,
        evidence=(
            [] if EXPERIMENT.allow_missing else [*EVIDENCE, FILES.object_distribution]
        ),
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
        found=(
            fingerprint([*CELL_FOLDERS, FILES.object_distribution])
            if EXPERIMENT.allow_missing
            else None
        ),
    shell:
        "python -m gumbel collect --experiment {input.experiment} --output {output} &> {log}"


rule report:
    input:
        experiment=FILES.experiment,
        summary=FILES.summary,
        recipe=[] if EXPERIMENT.allow_missing else FILES.recipe,
        paper=sorted((paths.CONFIGS / "paper").iterdir()),
        templates=sorted(path for path in paths.TEMPLATES.rglob("*") if path.is_file()),
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
        "python -m gumbel report --experiment {input.experiment} --output {output} &> {log}"
