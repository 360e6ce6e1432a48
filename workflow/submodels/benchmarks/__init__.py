"""Benchmarks: what is asked, of which items, and how answers are scored."""
