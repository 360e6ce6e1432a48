"""Pruning.

Inputs: a base model and its calibration windows. Outputs: for each sub-model packed masks and a manifest; ordinary
checkpoints of the sub-models that the grid keeps.
"""


rule prune:
    """Prune a base model; the product is a mask, and the kept values where the method changes them."""
    input:
        model=get_model,
        windows=get_windows,
        general=get_general_windows,
    output:
        mask=TREE.mask,
        manifest=f"{TREE.submodel}/manifest.json",
    log:
        TREE.log("prune", "model", "submodel"),
    benchmark:
        TREE.timing("prune", "model", "submodel")
    conda:
        environment("submodels")
    threads: 1
    resources:
        # Device, batch size and offload are resources, not parameters, so that changing them reruns nothing.
        device=GRID.config.pruning.device,
        batch_size=GRID.config.pruning.batch_size,
        offload="offload" if GRID.config.pruning.offload else "no-offload",
        gpu=WORK.gpus("prune"),
        mem_mb=get_mem_mb,
        runtime=get_runtime,
    params:
        directory=subpath(output.mask, parent=True),
        model=get_model_dir,
        method=get_method_options,
        dtype=GRID.config.pruning.computed_in,
        version=lambda wildcards: METHODS[get_submodel(wildcards).method].version,
    shell:
        "python -m submodels prune --model {params.model:q} {params.method} --device {resources.device} "
        "--dtype {params.dtype} --batch-size {resources.batch_size} --{resources.offload} --threads {threads} "
        "--out {params.directory} > {log} 2>&1"


rule export:
    """Write a sub-model as an ordinary Hugging Face checkpoint."""
    input:
        model=get_model,
        mask=TREE.mask,
    output:
        directory=directory(TREE.checkpoint),
        config=f"{TREE.checkpoint}/config.json",
    log:
        TREE.log("export", "model", "submodel"),
    benchmark:
        TREE.timing("export", "model", "submodel")
    conda:
        environment("submodels")
    threads: 1
    resources:
        mem_mb=get_mem_mb,
        runtime=get_runtime,
    params:
        model=get_model_dir,
        submodel=subpath(input.mask, parent=True),
        version=versions.EXPORT,
    shell:
        "python -m submodels export --model {params.model:q} --submodel {params.submodel} --out {output.directory} "
        "> {log} 2>&1"
