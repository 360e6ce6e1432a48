"""Evaluation: generate, execute, score.

Inputs: base model, mask, benchmark items. Outputs: samples of each sub-model and benchmark, verdicts of executed code,
and a score file for each base model and benchmark.

The products of each of the three stages are beside its marker and are not declared as outputs: Snakemake deletes
declared outputs before a job, but finished products must survive a killed job and an added benchmark. So a job runs
whenever one of its inputs was renewed, and the stage renews only products that are stale by their manifests.
"""


localrules:
    fetch_benchmark,
    fetch_wordnet,


rule fetch_benchmark:
    """Download the rows of a benchmark from the Hub at their pinned revision."""
    output:
        rows=paths.FETCHED_BENCHMARK_ROWS,
        manifest=f"{paths.FETCHED_BENCHMARK}/manifest.json",
    log:
        TREE.log("fetch_benchmark", "fetched"),
    wildcard_constraints:
        fetched=any_of(GRID.fetched_benchmarks),
    retries: 2
    conda:
        environment("submodels")
    params:
        directory=subpath(output.rows, parent=True),
        source=lambda wildcards: as_json(GRID.fetched_benchmarks[wildcards.fetched]),
        version=versions.FETCH,
    shell:
        "HF_HUB_OFFLINE=0 python -m submodels fetch-benchmark --source {params.source:q} --out {params.directory} "
        "> {log} 2>&1"


rule benchmark_items:
    """Write the items of a benchmark: those of a package, or those that its adapter makes of the rows of a data set."""
    input:
        rows=get_rows,
    output:
        rows=TREE.items,
        manifest=TREE.items_manifest,
    log:
        TREE.log("benchmark_items", "benchmark"),
    wildcard_constraints:
        benchmark=any_of(name for name, task in GRID.benchmarks.items() if task.source.is_converted),
    conda:
        environment("submodels")
    resources:
        mem_mb=get_mem_mb,
        runtime=get_runtime,
    params:
        rows=get_rows_options,
        version=versions.ITEMS,
    shell:
        "python -m submodels items --benchmark {wildcards.benchmark} {params.rows} --out {output.rows} > {log} 2>&1"


rule fetch_wordnet:
    """Download WordNet, for METEOR's synonyms."""
    output:
        directory=directory(paths.FETCHED_WORDNET),
        manifest=paths.FETCHED_WORDNET_MANIFEST,
    log:
        TREE.log("fetch_wordnet"),
    retries: 2
    conda:
        environment("submodels")
    params:
        version=versions.FETCH,
    shell:
        "HF_HUB_OFFLINE=0 python -m submodels fetch-wordnet --out {output.directory} > {log} 2>&1"


rule generate:
    """Run every missing benchmark of a sub-model in one process, if its calibration rows hold no items."""
    input:
        model=get_model,
        weights=get_weights,
        rows=get_drawn_rows,
        questions=[stand_in(GRID.items(name)) for name in GRID.benchmarks],
    output:
        marker=TREE.generated,
    log:
        TREE.log("generate", "model", "submodel"),
    benchmark:
        TREE.timing("generate", "model", "submodel")
    conda:
        environment({"hf": "submodels", "vllm": "vllm"}[GRID.config.evaluation.backend])  # vLLM's pins conflict with the lock
    threads: 1
    resources:
        device=GRID.config.evaluation.device,
        batch_size=GRID.config.evaluation.batch_size,
        gpu=WORK.gpus("generate"),
        mem_mb=get_mem_mb,
        runtime=get_runtime,
    params:
        directory=subpath(output.marker, parent=True),
        model=get_model_dir,
        submodel=get_submodel_options,
        benchmarks=benchmark_options(GRID.benchmarks),
        settings=get_generation_options,
        asked=lambda wildcards: QUESTIONS[wildcards.model],
        versions=f"{versions.GENERATE} {versions.CONTAMINATION}",
    shell:
        "python -m submodels generate --model {params.model:q} {params.submodel} {params.benchmarks} {params.settings} "
        "--device {resources.device} --batch-size {resources.batch_size} --threads {threads} "
        "--out {params.directory} > {log} 2>&1"


rule execute:
    """Run the programs of a sub-model against their tests, in a sandbox; one job for all benchmarks."""
    input:
        marker=TREE.generated,
    output:
        marker=TREE.executed,
    log:
        TREE.log("execute", "model", "submodel"),
    benchmark:
        TREE.timing("execute", "model", "submodel")
    conda:
        environment("toolchains")
    threads: 1
    resources:
        mem_mb=get_mem_mb,
        runtime=get_runtime,
    params:
        samples=subpath(input.marker, parent=True),
        directory=subpath(output.marker, parent=True),
        benchmarks=benchmark_options(GRID.code),
        sandbox=GRID.config.evaluation.sandbox,
        timeout=GRID.config.evaluation.timeout,
        memory=GRID.config.evaluation.memory_mb,
        programs=GRID.programs(),
        version=versions.EXECUTE,
    shell:
        "python -m submodels execute {params.benchmarks} --samples {params.samples} --sandbox {params.sandbox} "
        "--timeout {params.timeout} --memory-mb {params.memory} --workers {threads} --record-not-run "
        "--out {params.directory} > {log} 2>&1"


rule score:
    """Score the sub-models of a base model on every benchmark."""
    input:
        generated=of_submodels(TREE.generated, GRID.evaluated),
        executed=of_submodels(TREE.executed, GRID.evaluated) if GRID.code else [],
        wordnet=[paths.FETCHED_WORDNET_MANIFEST] if any(map(GRID.takes_wordnet, GRID.benchmarks)) else [],
    output:
        TREE.scored,
    log:
        TREE.log("score", "model"),
    benchmark:
        TREE.timing("score", "model")
    conda:
        environment("submodels")
    threads: 1
    resources:
        mem_mb=get_mem_mb,
        runtime=get_runtime,
    params:
        directory=TREE.scores,
        generations=TREE.generations,
        executions=TREE.executions,
        submodels=lambda wildcards: GRID.evaluated(wildcards.model),
        benchmarks=benchmark_options(GRID.benchmarks),
        settings=SCORING,
        metrics=GRID.metrics(),
        version=versions.SCORE,
    shell:
        "python -m submodels score --model {wildcards.model} {params.benchmarks} --generations {params.generations} "
        "--executions {params.executions} {params.settings} --workers {threads} --out {params.directory} "
        "{params.submodels} > {log} 2>&1"
