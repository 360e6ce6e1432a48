"""Calibration sets: rows of a source -> texts by a template -> windows of tokens for pruning a base model."""
