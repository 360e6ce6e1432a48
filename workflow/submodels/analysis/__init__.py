"""Analysis: overlap of masks, statistics of scores, tables, figures and the report."""
