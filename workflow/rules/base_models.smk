"""The tiny world and the base models.

Inputs: the seed; Hub repositories. Outputs: corpus, calibration pools and benchmark items of the tiny world, and each
base model as a Hugging Face directory with a manifest.
"""


localrules:
    fetch_base_model,


rule world:
    """Write the synthetic corpus, its calibration pools and its benchmarks."""
    output:
        train=TREE.world_train,
        pools=expand(TREE.world_pool, pool=corpus.POOLS),
        benchmarks=expand(TREE.world_items, benchmark=corpus.BENCHMARKS),
        manifest=f"{TREE.world}/manifest.json",
    log:
        TREE.log("world"),
    benchmark:
        TREE.timing("world")
    conda:
        environment("submodels")
    resources:
        mem_mb=get_mem_mb,
        runtime=get_runtime,
    params:
        directory=subpath(output.manifest, parent=True),
        seed=GRID.config.seed,
        version=versions.WORLD,
    shell:
        "python -m submodels world --out {params.directory} --seed {params.seed} > {log} 2>&1"


rule train_base_model:
    """Train a tiny base model on the tiny world."""
    input:
        train=TREE.world_train,
    output:
        directory=directory(TREE.trained_model),
        manifest=f"{TREE.trained_model}/manifest.json",
    log:
        TREE.log("train_base_model", "model"),
    benchmark:
        TREE.timing("train_base_model", "model")
    wildcard_constraints:
        model=any_of(name for name in GRID.models if GRID.spec(name).tiny_world),
    conda:
        environment("submodels")
    threads: 1
    resources:
        mem_mb=get_mem_mb,
        runtime=get_runtime,
    params:
        options=get_training_options,
        version=versions.TRAIN,
    shell:
        "python -m submodels train --corpus {input.train} {params.options} --threads {threads} "
        "--out {output.directory} > {log} 2>&1"


rule convert_gguf:
    """Unpack a GGUF file to a Hugging Face directory, beside the models that are fetched."""
    input:
        lambda wildcards: stand_in(str(GRID.converted_models[wildcards.fetched].gguf)),
    output:
        directory=directory(paths.FETCHED_MODEL),
        manifest=f"{paths.FETCHED_MODEL}/manifest.json",
    log:
        TREE.log("convert_gguf", "fetched"),
    wildcard_constraints:
        fetched=any_of(GRID.converted_models),
    conda:
        environment("submodels")
    threads: 1
    resources:
        mem_mb=get_mem_mb,
        runtime=get_runtime,
    params:
        gguf=lambda wildcards: str(GRID.converted_models[wildcards.fetched].gguf),
        version=versions.CONVERT,
    shell:
        "python -m submodels convert-gguf {params.gguf:q} --out {output.directory} > {log} 2>&1"


rule fetch_base_model:
    """Download a base model from the Hub at its pinned revision; only the `fetch_*` rules use the network."""
    output:
        directory=directory(paths.FETCHED_MODEL),
        manifest=f"{paths.FETCHED_MODEL}/manifest.json",
    log:
        TREE.log("fetch_base_model", "fetched"),
    wildcard_constraints:
        fetched=any_of(GRID.fetched_models),
    retries: 2
    conda:
        environment("submodels")
    params:
        repository=lambda wildcards: GRID.fetched_models[wildcards.fetched].hub,
        revision=lambda wildcards: GRID.fetched_models[wildcards.fetched].revision,
        version=versions.FETCH,
    shell:
        "HF_HUB_OFFLINE=0 python -m submodels fetch-model --hub {params.repository:q} --revision {params.revision:q} "
        "--out {output.directory} > {log} 2>&1"
