"""Pruning: one decoder block at a time, from a base model and a calibration set to a mask."""
