"""Planning.

Inputs: none; what is there already counts as done. Outputs: what the grid costs, printed, and as CSV and a page.
"""


localrules:
    plan,


rule plan:
    """Say what the grid takes: jobs, hours, memory, disk. It has no declared output, so it always runs."""
    log:
        "results/logs/plan.log",
    conda:
        environment("submodels")
    params:
        grid=get_grid,
        directory=layout.PLAN,
    shell:
        "python -m submodels plan --config {params.grid:q} --out {params.directory} 2>&1 | tee {log}"
