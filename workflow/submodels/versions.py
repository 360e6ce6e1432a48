"""Versions of the stages' numeric code.

Raise a stage's number when its results change for the same input: finished files of older versions are then out of
date, here and in everything made from them.
"""

WORLD = 1
TRAIN = 3
FETCH = 1
CALIBRATE = 1
ITEMS = 1
GENERATE = 4
EXECUTE = 3
SCORE = 5
OVERLAP = 2
EXPORT = 1
CONTAMINATION = 1
TABULATE = 4
FIGURES = 3
REPORT = 4
