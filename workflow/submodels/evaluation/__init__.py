"""Evaluation: generate samples with a sub-model, execute generated programs in a sandbox, score."""
