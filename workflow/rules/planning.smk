"""Planning.

Inputs: none; products that exist count as done. Outputs: the grid's estimated cost, printed, and as CSV and a page.
"""


localrules:
    plan,


rule plan:
    """Estimate the grid's cost: jobs, hours, memory, disk. It has no declared output, so it always runs."""
    log:
        TREE.log("plan"),
    conda:
        environment("submodels")
    params:
        grid=get_grid,
        variable=trees.GRID_FILES,
        files=get_grid_files,
        directory=TREE.plan,
    shell:
        "{params.variable}={params.files:q} python -m submodels plan --config {params.grid:q} "
        "--out {params.directory} 2>&1 | tee {log}"
