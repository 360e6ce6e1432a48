"""Analysis.

Inputs: masks and scores. Outputs: overlap of masks, tables, figures, the report page.
"""


localrules:
    describe,


rule overlap:
    """Jaccard distances between the masks of a base model."""
    input:
        of_submodels(TREE.mask, GRID.submodels),
    output:
        TREE.overlap,
    log:
        TREE.log("overlap", "model"),
    benchmark:
        TREE.timing("overlap", "model")
    conda:
        environment("submodels")
    threads: 1
    resources:
        mem_mb=get_mem_mb,
        runtime=get_runtime,
    params:
        directories=of_submodels(TREE.submodel, GRID.submodels),
        version=versions.OVERLAP,
    shell:
        "python -m submodels overlap {params.directories} --level layer --out {output} > {log} 2>&1"


rule describe:
    """Write the expanded grid as data, for the later stages."""
    output:
        TREE.grid,
    log:
        TREE.log("describe"),
    conda:
        environment("submodels")
    params:
        grid=get_grid,
        description=get_description,
    shell:
        "python -m submodels describe --grid {params.grid:q} --out {output} > {log} 2>&1"


rule tabulate:
    """Tables of every score, of the best sub-models, of languages, of overlaps and of methods, and the report's texts."""
    input:
        grid=TREE.grid,
        scores=expand(TREE.scored, model=GRID.models),
        overlap=expand(TREE.overlap, model=GRID.models),
        manifests=lambda wildcards: PRUNED,
    output:
        [shown(f"{TREE.tables}/{name}.csv", "tables", "Tables", table=name) for name in paths.TABLE_NAMES],
        collect(f"{TREE.tables}/{{table}}.{{format}}", table=paths.TABLE_NAMES, format=["md", "tex"]),
        TREE.page,
    log:
        TREE.log("tabulate"),
    benchmark:
        TREE.timing("tabulate")
    conda:
        environment("submodels")
    resources:
        mem_mb=get_mem_mb,
        runtime=get_runtime,
    params:
        directory=get_output_dir,
        scores=[f"--scores {path}" for path in SCORES],
        overlap=[f"--overlap {path}" for path in expand(TREE.overlap, model=GRID.models)],
        submodels=TREE.submodels,
        version=versions.TABULATE,
    shell:
        "python -m submodels tabulate --grid {input.grid} {params.scores} {params.overlap} "
        "--submodels {params.submodels} --out {params.directory} > {log} 2>&1"


rule figures:
    """Figures and the data behind each."""
    input:
        grid=TREE.grid,
        tables=collect(f"{TREE.tables}/{{table}}.csv", table=paths.TABLE_NAMES),
    output:
        [
            shown(f"{TREE.figures}/{figure}-{model}.svg", figure, "Figures", figure=figure, model=model)
            for figure in paths.FIGURE_NAMES
            for model in GRID.models
        ],
        collect(f"{TREE.figures}/{{figure}}-{{model}}.csv", figure=paths.FIGURE_NAMES, model=GRID.models),
    log:
        TREE.log("figures"),
    benchmark:
        TREE.timing("figures")
    conda:
        environment("submodels")
    resources:
        mem_mb=get_mem_mb,
        runtime=get_runtime,
    params:
        tables=directory_of("tables"),
        directory=get_output_dir,
        version=versions.FIGURES,
    shell:
        "python -m submodels figures --grid {input.grid} --tables {params.tables} --out {params.directory} > {log} 2>&1"


rule report:
    """One page with all results, a copy of its pictures, and a page for the masks of every two calibration sets."""
    input:
        grid=TREE.grid,
        tables=rules.tabulate.output,
        figures=rules.figures.output,
    output:
        page=TREE.report,
        directory=report(
            directory(str(Path(TREE.report).parent)),
            htmlindex=Path(TREE.report).name,
            caption="../report/page.rst",
            category="Report",
            labels={"page": "everything"},
        ),
        views=directory(TREE.views),
    log:
        TREE.log("report"),
    benchmark:
        TREE.timing("report")
    conda:
        environment("submodels")
    resources:
        mem_mb=get_mem_mb,
        runtime=get_runtime,
    params:
        tables=directory_of("tables"),
        figures=directory_of("figures"),
        version=versions.REPORT,
    shell:
        "python -m submodels report --grid {input.grid} --tables {params.tables} "
        "--figures {params.figures} --views {output.views} --out {output.page} > {log} 2>&1"
