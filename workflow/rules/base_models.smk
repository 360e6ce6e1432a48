"""The tiny world and the base models.

Inputs: the seed; Hub repositories. Outputs: corpus, calibration pools and benchmark items of the tiny world, and each
base model as a Hugging Face directory with a manifest.
"""


localrules:
    fetch_base_model,


rule world:
    """Write the synthetic corpus, its calibration pools and its benchmarks."""
    output:
        train=layout.WORLD_TRAIN,
        pools=expand(layout.WORLD_POOL, pool=corpus.POOLS),
        benchmarks=expand(layout.WORLD_ITEMS, benchmark=corpus.BENCHMARKS),
        manifest=f"{layout.WORLD}/manifest.json",
    log:
        "results/logs/world.log",
    benchmark:
        layout.TIMINGS["world"]
    conda:
        environment("submodels")
    resources:
        mem_mb=get_mem_mb,
        runtime=get_runtime,
    params:
        directory=subpath(output.manifest, parent=True),
        seed=GRID.grid.seed,
        version=versions.WORLD,
    shell:
        "python -m submodels world --out {params.directory} --seed {params.seed} > {log} 2>&1"


rule train_base_model:
    """Train a tiny base model on the tiny world."""
    input:
        train=layout.WORLD_TRAIN,
    output:
        directory=directory(layout.TRAINED_MODEL),
        manifest=f"{layout.TRAINED_MODEL}/manifest.json",
    log:
        "results/logs/base_models/{model}.log",
    benchmark:
        layout.TIMINGS["train_base_model"]
    wildcard_constraints:
        model=any_of(name for name in GRID.models if GRID.spec(name).tiny_world),
    conda:
        environment("submodels")
    threads: 1
    resources:
        mem_mb=get_mem_mb,
        runtime=get_runtime,
    params:
        architecture=get_architecture,
        seed=GRID.grid.seed,
        version=versions.TRAIN,
    shell:
        "python -m submodels train --corpus {input.train} --architecture {params.architecture} --seed {params.seed} "
        "--threads {threads} --out {output.directory} > {log} 2>&1"


rule fetch_base_model:
    """Bring a base model from the Hub at its pinned revision; the only kind of rule that uses the network."""
    output:
        directory=directory(layout.FETCHED_MODEL),
        manifest=f"{layout.FETCHED_MODEL}/manifest.json",
    log:
        "results/logs/fetch/{model}.log",
    wildcard_constraints:
        model=any_of(name for name in GRID.models if GRID.spec(name).hub),
    retries: 2
    conda:
        environment("submodels")
    params:
        repository=lambda wildcards: GRID.spec(wildcards.model).hub,
        revision=lambda wildcards: GRID.spec(wildcards.model).revision,
        version=versions.FETCH,
    shell:
        "HF_HUB_OFFLINE=0 python -m submodels fetch-model --hub {params.repository:q} --revision {params.revision:q} "
        "--out {output.directory} > {log} 2>&1"
