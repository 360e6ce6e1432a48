"""Benchmarks: their items, the questions put to a model, and how answers are scored."""
