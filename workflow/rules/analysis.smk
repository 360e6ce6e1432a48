"""Analysis.

Inputs: masks and scores. Outputs: overlap of masks, tables, figures, the report page.
"""


localrules:
    describe,


rule overlap:
    """Jaccard distances between the masks of a base model."""
    input:
        get_masks,
    output:
        layout.OVERLAP,
    log:
        "results/logs/overlap/{model}.log",
    benchmark:
        layout.TIMINGS["overlap"]
    conda:
        environment("submodels")
    threads: 1
    resources:
        mem_mb=get_mem_mb,
        runtime=get_runtime,
    params:
        directories=get_submodel_dirs,
        levels=["--level layer", "--level module_kind"],
        version=versions.OVERLAP,
    shell:
        "python -m submodels overlap {params.directories} {params.levels} --out {output} > {log} 2>&1"


rule describe:
    """Write the expanded grid as data, for what follows."""
    output:
        layout.GRID,
    log:
        "results/logs/describe.log",
    conda:
        environment("submodels")
    params:
        grid=get_grid,
        description=get_description,
    shell:
        "python -m submodels describe --grid {params.grid:q} --out {output} > {log} 2>&1"


rule tabulate:
    """Tables of every score, of the best sub-models, of languages, of overlaps and of methods."""
    input:
        grid=layout.GRID,
        scores=get_scores,
        overlap=get_overlaps,
        manifests=get_manifests,
    output:
        shown_tables(),
        collect(f"{layout.TABLES}/{{table}}.{{format}}", table=layout.TABLE_NAMES, format=["md", "tex"]),
    log:
        "results/logs/tables.log",
    benchmark:
        layout.TIMINGS["tabulate"]
    conda:
        environment("submodels")
    resources:
        mem_mb=get_mem_mb,
        runtime=get_runtime,
    params:
        directory=get_output_dir,
        scores=[f"--scores {path}" for path in get_scores(None)],
        overlap=[f"--overlap {path}" for path in get_overlaps(None)],
        submodels=layout.SUBMODELS,
        version=versions.TABULATE,
    shell:
        "python -m submodels tabulate --grid {input.grid} {params.scores} {params.overlap} "
        "--submodels {params.submodels} --out {params.directory} > {log} 2>&1"


rule figures:
    """Figures and the data behind each."""
    input:
        grid=layout.GRID,
        tables=collect(f"{layout.TABLES}/{{table}}.csv", table=layout.TABLE_NAMES),
    output:
        shown_figures(),
        collect(f"{layout.FIGURES}/{{figure}}-{{model}}.csv", figure=layout.FIGURE_NAMES, model=GRID.models),
    log:
        "results/logs/figures.log",
    benchmark:
        layout.TIMINGS["figures"]
    conda:
        environment("submodels")
    resources:
        mem_mb=get_mem_mb,
        runtime=get_runtime,
    params:
        tables=get_tables_dir,
        directory=get_output_dir,
        version=versions.FIGURES,
    shell:
        "python -m submodels figures --grid {input.grid} --tables {params.tables} --out {params.directory} > {log} 2>&1"


rule report:
    """The page that shows it all, and a copy of the pictures on it."""
    input:
        grid=layout.GRID,
        scores=get_scores,
        tables=rules.tabulate.output,
        figures=rules.figures.output,
    output:
        page=layout.REPORT,
        directory=report(
            directory(str(Path(layout.REPORT).parent)),
            htmlindex=Path(layout.REPORT).name,
            caption="../report/page.rst",
            category="Report",
            labels={"page": "everything"},
        ),
    log:
        "results/logs/report.log",
    benchmark:
        layout.TIMINGS["report"]
    conda:
        environment("submodels")
    resources:
        mem_mb=get_mem_mb,
        runtime=get_runtime,
    params:
        scores=[f"--scores {path}" for path in get_scores(None)],
        tables=get_tables_dir,
        figures=get_figures_dir,
        version=versions.REPORT,
    shell:
        "python -m submodels report --grid {input.grid} {params.scores} --tables {params.tables} "
        "--figures {params.figures} --out {output.page} > {log} 2>&1"
