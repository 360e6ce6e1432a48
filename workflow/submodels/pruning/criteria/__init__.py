"""Criteria: how much does each weight matter? One file, one pure function from tensors to scores."""
