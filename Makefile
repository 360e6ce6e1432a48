# make demo: from nothing to the report. make test: lint and every test that a laptop can run.
PYTHON ?= python3
# The build of torch: `make demo TORCH="torch==2.13.0 --index-url <an index of CPU builds>"` avoids the CUDA packages.
TORCH ?= torch==2.13.0
CORES ?= all

BIN := .venv/bin
# A thread for each test process: two that compute with two threads each wait for one another.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest --durations=25 --durations-min=2

demo: .venv/installed
	$(BIN)/snakemake --cores $(CORES)
	@echo "The report: $(CURDIR)/results/demo/report/index.html"

test: .venv/installed
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint
	$(BIN)/lint-imports
	$(PYTEST) --numprocesses 2 -m "not slow and not real_data and not slurm and not exhaustive"

test-slow: .venv/installed
	$(PYTEST) --numprocesses 2 -m "(slow or real_data) and not exhaustive"

# Through a Slurm of its own, as root: apt-get install slurmctld slurmd slurm-client munge gcc
test-slurm: .venv/installed
	$(PYTEST) -m slurm

test-all: test test-slow test-slurm
	$(PYTEST) --numprocesses 2 -m exhaustive

.venv/installed: envs/requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet $(TORCH)
	$(BIN)/pip install --quiet --requirement envs/requirements.lock
	$(BIN)/pip install --quiet --no-deps --editable .
	$(BIN)/python -m compileall -q workflow
	touch $@

.PHONY: demo test test-slow test-slurm test-all
