"""Planning.

Inputs: none; what is there already counts as done. Outputs: what the grid costs, printed, and as CSV and a page.
"""


localrules:
    plan,


rule plan:
    """Say what the grid takes: jobs, hours, memory, disk. It has no declared output, so it always runs."""
    log:
        TREE.log("plan"),
    conda:
        environment("submodels")
    params:
        grid=get_grid,
        files=get_grid_files,
        directory=TREE.plan,
    shell:
        "SUBMODELS_GRID_FILES={params.files:q} python -m submodels plan --config {params.grid:q} --out {params.directory} "
        "2>&1 | tee {log}"
