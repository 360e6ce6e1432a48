"""Calibration sets: rows of a source -> texts by a template -> windows of tokens a base model is pruned with."""
