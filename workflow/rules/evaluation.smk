"""Evaluation: generate, execute, score.

Inputs: base model, mask, benchmark items. Outputs: samples of each sub-model and benchmark, verdicts of executed code,
and one score file for each base model and benchmark.
"""


localrules:
    benchmark_settings,
    execution_settings,
    questions,
    programs,
    weights,
    generated,
    executed,
    fetch_benchmark,
    fetch_wordnet,


rule fetch_benchmark:
    """Bring the rows of a benchmark from the Hub at their pinned revision."""
    output:
        rows=layout.FETCHED_BENCHMARK_ROWS,
        manifest=f"{layout.FETCHED_BENCHMARK}/manifest.json",
    log:
        "results/logs/fetch/benchmarks/{benchmark}.log",
    wildcard_constraints:
        benchmark=any_of(name for name, task in GRID.benchmarks.items() if task.source.hub),
    retries: 2
    conda:
        environment("submodels")
    params:
        directory=subpath(output.rows, parent=True),
        source=get_benchmark_source,
        version=versions.FETCH,
    shell:
        "HF_HUB_OFFLINE=0 python -m submodels fetch-benchmark --source {params.source:q} --out {params.directory} "
        "> {log} 2>&1"


rule benchmark_items:
    """Write the items of a benchmark: those of a package, or what its adapter makes of the rows of a data set."""
    input:
        rows=get_rows,
    output:
        layout.ITEMS,
    log:
        "results/logs/benchmark_items/{benchmark}.log",
    wildcard_constraints:
        benchmark=any_of(name for name, task in GRID.benchmarks.items() if task.source.package or task.source.hub),
    conda:
        environment("submodels")
    resources:
        mem_mb=get_mem_mb,
        runtime=get_runtime,
    params:
        rows=get_rows_arguments,
        version=versions.ITEMS,
    shell:
        "python -m submodels items --benchmark {wildcards.benchmark} {params.rows} --out {output} > {log} 2>&1"


rule fetch_wordnet:
    """Bring WordNet, for METEOR's synonyms."""
    output:
        directory=directory(layout.FETCHED_WORDNET),
        manifest=layout.FETCHED_WORDNET_MANIFEST,
    log:
        "results/logs/fetch/wordnet.log",
    retries: 2
    conda:
        environment("submodels")
    params:
        version=versions.FETCH,
    shell:
        "HF_HUB_OFFLINE=0 python -m submodels fetch-wordnet --out {output.directory} > {log} 2>&1"


rule benchmark_settings:
    """Write down what decides a benchmark's samples, for the rules that must run again when it changes."""
    output:
        layout.SETTINGS,
    log:
        "results/logs/benchmark_items/{model}/{benchmark}.settings.log",
    conda:
        environment("submodels")
    params:
        settings=get_generation_settings,
    shell:
        "printf '%s\\n' {params.settings:q} > {output} 2> {log}"


use rule benchmark_settings as execution_settings with:
    output:
        layout.EXECUTION_SETTINGS,
    log:
        "results/logs/benchmark_items/{benchmark}.execution.log",
    params:
        settings=get_execution_settings,


rule questions:
    """Sum up all that a base model is asked: one input of each of its sub-models instead of two a benchmark."""
    input:
        questions=[stand_in(GRID.items(name)) for name in GRID.benchmarks],
        settings=expand(layout.SETTINGS, benchmark=GRID.benchmarks, allow_missing=True),
    output:
        layout.QUESTIONS,
    log:
        "results/logs/benchmark_items/{model}/questions.log",
    conda:
        environment("submodels")
    shell:
        "sha256sum {input:q} > {output} 2> {log}"


use rule questions as programs with:
    input:
        questions=[stand_in(GRID.items(name)) for name in GRID.code],
        settings=expand(layout.SETTINGS, benchmark=GRID.code, allow_missing=True),
        execution=expand(layout.EXECUTION_SETTINGS, benchmark=GRID.code),
    output:
        layout.PROGRAMS,
    log:
        "results/logs/benchmark_items/{model}/programs.log",


rule contamination:
    """Compare the calibration rows behind the scores with the benchmarks' items: what was seen gives no score.

    Generating waits for it, for a refusal should come before the expensive part. It is `ancient` to what waits: what
    decides its findings - draws and items - reruns the same jobs itself, and another benchmark changes no finding.
    """
    input:
        draws=get_evaluated_draws,
        questions=[stand_in(GRID.items(name)) for name in GRID.benchmarks],
    output:
        layout.CONTAMINATION,
    log:
        "results/logs/contamination/{model}.log",
    benchmark:
        layout.TIMINGS["contamination"]
    conda:
        environment("submodels")
    threads: 1
    resources:
        mem_mb=get_mem_mb,
        runtime=get_runtime,
    params:
        draws=get_draw_arguments,
        benchmarks=benchmark_arguments(GRID.benchmarks),
        version=versions.CONTAMINATION,
    shell:
        "python -m submodels contamination {params.draws} {params.benchmarks} --out {output} > {log} 2>&1"


rule generate:
    """Run every missing benchmark of a sub-model in one process.

    The samples lie beside the marker and are not declared: Snakemake deletes declared outputs before a job, and
    finished samples must survive a killed job and an added benchmark. The stage itself renews those that are stale, and
    continues a benchmark that was begun.
    """
    input:
        model=get_model,
        weights=get_weights,
        contamination=ancient(layout.CONTAMINATION),
        questions=layout.QUESTIONS,
    output:
        marker=layout.GENERATED,
    log:
        "results/logs/generation/{model}/{submodel}.log",
    benchmark:
        layout.TIMINGS["generate"]
    conda:
        get_generation_environment()
    threads: 1
    resources:
        device=GRID.grid.evaluation.device,
        batch_size=GRID.grid.evaluation.batch_size,
        gpu=WORK.gpus("generate"),
        mem_mb=get_mem_mb,
        runtime=get_runtime,
    params:
        directory=subpath(output.marker, parent=True),
        model=get_model_dir,
        submodel=get_submodel_argument,
        benchmarks=benchmark_arguments(GRID.benchmarks),
        limit=get_limit(),
        drawn=get_samples(*GRID.benchmarks),
        seed=GRID.grid.seed,
        dtype=GRID.grid.evaluation.computed_in,
        backend=GRID.grid.evaluation.backend,
        prompt=get_prompt,
        version=versions.GENERATE,
    shell:
        "python -m submodels generate --model {params.model:q} {params.submodel} {params.benchmarks} "
        "{params.prompt} --seed {params.seed} {params.limit} {params.drawn} --device {resources.device} "
        "--dtype {params.dtype} --backend {params.backend} --batch-size {resources.batch_size} --threads {threads} "
        "--out {params.directory} > {log} 2>&1"


rule execute:
    """Run the programs of a sub-model against their tests, in a sandbox.

    One job for all code benchmarks: most take seconds. As with samples, executions lie beside the marker, and the stage
    itself renews those that are stale.
    """
    input:
        marker=ancient(layout.GENERATED),
        weights=get_weights,
        programs=layout.PROGRAMS,
    output:
        marker=layout.EXECUTED,
    log:
        "results/logs/execution/{model}/{submodel}.log",
    benchmark:
        layout.TIMINGS["execute"]
    conda:
        environment("toolchains")
    threads: 1
    resources:
        mem_mb=get_mem_mb,
        runtime=get_runtime,
    params:
        samples=subpath(input.marker, parent=True),
        directory=subpath(output.marker, parent=True),
        benchmarks=benchmark_arguments(GRID.code),
        sandbox=GRID.grid.evaluation.sandbox,
        timeout=GRID.grid.evaluation.timeout,
        memory=GRID.grid.evaluation.memory_mb,
        version=versions.EXECUTE,
    shell:
        "python -m submodels execute {params.benchmarks} --samples {params.samples} --sandbox {params.sandbox} "
        "--timeout {params.timeout} --memory-mb {params.memory} --workers {threads} --record-not-run "
        "--out {params.directory} > {log} 2>&1"


rule weights:
    """Note when the weights behind the scores last changed: one input of every score instead of one a sub-model."""
    input:
        get_evaluated_weights,
    output:
        layout.WEIGHTS,
    log:
        "results/logs/scores/{model}.weights.log",
    conda:
        environment("submodels")
    shell:
        "date +%s.%N > {output} 2> {log}"


use rule weights as generated with:
    input:
        of_evaluated(layout.GENERATED),
    output:
        layout.ALL_GENERATED,
    log:
        "results/logs/scores/{model}.generated.log",


use rule weights as executed with:
    input:
        of_evaluated(layout.EXECUTED),
    output:
        layout.ALL_EXECUTED,
    log:
        "results/logs/scores/{model}.executed.log",


rule score:
    """Score every sub-model of a base model on one benchmark.

    The samples are `ancient`: another benchmark renews their marker without changing this one's. What does change them
    (weights, items, settings) is an input file of scoring itself, and no parameter, because Snakemake does not look at
    the parameters of jobs behind one that runs, even where what lies between is ancient.
    """
    input:
        samples=ancient(get_scored),
        weights=layout.WEIGHTS,
        contamination=ancient(layout.CONTAMINATION),
        questions=get_items,
        settings=get_scored_settings,
        wordnet=get_wordnet,
    output:
        layout.SCORES,
    log:
        "results/logs/scores/{model}/{benchmark}.log",
    benchmark:
        layout.TIMINGS["score"]
    conda:
        environment("submodels")
    threads: 1
    resources:
        mem_mb=get_mem_mb,
        runtime=get_runtime,
    params:
        samples=get_sample_arguments,
        synonyms=get_synonyms,
        resamples=GRID.grid.evaluation.resamples,
        limit=get_limit(),
        drawn=get_scored_samples,
        seed=GRID.grid.seed,
        version=versions.SCORE,
    shell:
        "python -m submodels score --model {wildcards.model} --benchmark {wildcards.benchmark} --items {input.questions:q} "
        "--contamination {input.contamination} --synonyms {params.synonyms} {params.limit} {params.drawn} "
        "--resamples {params.resamples} --seed {params.seed} --out {output} "
        "{params.samples} > {log} 2>&1"
