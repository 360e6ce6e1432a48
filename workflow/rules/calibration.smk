"""Calibration.

Inputs: a file of rows for each calibration set (tiny world, local, or fetched), for a mix those of its components; the
base model's tokenizer.
Outputs: token windows, the rows they are made of, and a manifest for each base model and draw `<set>-s<seed>`,
`<set>-n<rows>-s<seed>` where a block of the grid names the rows.
"""


localrules:
    fetch_calibration_set,


rule fetch_calibration_set:
    """Download a calibration set, from the Hub or a git repository, at its pinned revision."""
    output:
        rows=paths.FETCHED_ROWS,
        manifest=f"{paths.FETCHED_SET}/manifest.json",
    log:
        TREE.log("fetch_calibration_set", "fetched"),
    wildcard_constraints:
        fetched=any_of(GRID.fetched_sets),
    retries: 2
    conda:
        environment("submodels")
    params:
        directory=subpath(output.rows, parent=True),
        source=lambda wildcards: as_json(GRID.fetched_sets[wildcards.fetched]),
        version=versions.FETCH,
    shell:
        "HF_HUB_OFFLINE=0 python -m submodels fetch-calibration-set --source {params.source:q} --out {params.directory} "
        "> {log} 2>&1"


rule collect_files:
    """Take the source files of a directory as rows; run again when one of them is edited, added or removed."""
    output:
        rows=TREE.collected_rows,
        manifest=f"{TREE.collected}/manifest.json",
    log:
        TREE.log("collect_files", "calibration_set"),
    wildcard_constraints:
        calibration_set=any_of(COLLECTED),
    conda:
        environment("submodels")
    resources:
        mem_mb=get_mem_mb,
        runtime=get_runtime,
    params:
        directory=subpath(output.rows, parent=True),
        source=lambda wildcards: as_json(COLLECTED[wildcards.calibration_set]),
        state=lambda wildcards: source_files.state(COLLECTED[wildcards.calibration_set]),
        version=versions.COLLECT,
    shell:
        "python -m submodels collect-files --source {params.source:q} --out {params.directory} > {log} 2>&1"


rule calibrate:
    """Draw rows with a fixed seed, fill the template, tokenise into windows."""
    input:
        model=get_model,
        source=get_calibration_source,
    output:
        windows=TREE.windows,
        rows=TREE.drawn_rows,
        manifest=f"{TREE.calibration}/manifest.json",
    log:
        TREE.log("calibrate", "model", "calibration"),
    benchmark:
        TREE.timing("calibrate", "model", "calibration")
    conda:
        environment("submodels")
    threads: 1
    resources:
        mem_mb=get_mem_mb,
        runtime=get_runtime,
    params:
        directory=subpath(output.windows, parent=True),
        model=get_model_dir,
        spec=get_calibration_spec,
        draw=get_draw_options,
        source=get_source_options,
        version=versions.CALIBRATE,
    shell:
        "python -m submodels calibrate --spec {params.spec:q} {params.source} --model {params.model:q} {params.draw} "
        "--out {params.directory} > {log} 2>&1"
