"""The self-check of a model, a machine and benchmarks."""
