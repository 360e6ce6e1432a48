"""Calibration.

Inputs: a file of rows for each calibration set (tiny world, local, or fetched), for a mix those of its components; the
base model's tokenizer.
Outputs: token windows and a manifest for each base model and draw `<set>-s<seed>`, `<set>-n<rows>-s<seed>` where a block
of the grid names the rows.
"""


localrules:
    fetch_calibration_set,


rule fetch_calibration_set:
    """Bring a calibration set from the Hub at its pinned revision."""
    output:
        rows=layout.FETCHED_ROWS,
        manifest=f"{layout.FETCHED_SET}/manifest.json",
    log:
        "results/logs/fetch/{set}.log",
    wildcard_constraints:
        set=any_of(name for name, entry in GRID.registries.calibration_sets.items() if entry.source.hub),
    retries: 2
    conda:
        environment("submodels")
    params:
        directory=subpath(output.rows, parent=True),
        source=get_hub_source,
        version=versions.FETCH,
    shell:
        "HF_HUB_OFFLINE=0 python -m submodels fetch-calibration-set --source {params.source:q} --out {params.directory} "
        "> {log} 2>&1"


rule calibrate:
    """Draw rows with a fixed seed, fill the template, tokenise into windows."""
    input:
        model=get_model,
        source=get_calibration_source,
    output:
        windows=f"{layout.WINDOWS}/windows.safetensors",
        manifest=f"{layout.WINDOWS}/manifest.json",
    log:
        "results/logs/calibration/{model}/{calibration}.log",
    benchmark:
        layout.TIMINGS["calibrate"]
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
        seed=get_calibration_seed,
        size=get_calibration_size,
        seqlen=GRID.grid.calibration.seqlen,
        windows=GRID.grid.calibration.windows,
        protocol=GRID.grid.calibration.protocol,
        prompt=get_calibration_prompt,
        source=get_source_arguments,
        version=versions.CALIBRATE,
    shell:
        "python -m submodels calibrate --spec {params.spec:q} {params.source} --model {params.model:q} "
        "{params.prompt} {params.size} --seqlen {params.seqlen} --windows {params.windows} --protocol {params.protocol} --seed {params.seed} "
        "--out {params.directory} > {log} 2>&1"
