"""Checkpoints: read a base model, load a sub-model (base + mask) in memory, export it as an ordinary checkpoint."""
