"""Versions of the stages' numeric code.

Raise a stage's number when its results change for the same input: finished files of older versions are then out of
date, here and in everything made from them.
"""

WORLD = 1
TRAIN = 4
FETCH = 1
CONVERT = 1
COLLECT = 1
CALIBRATE = 3
ITEMS = 2
GENERATE = 5
EXECUTE = 4
SCORE = 6
OVERLAP = 2
EXPORT = 3
CONTAMINATION = 1
TABULATE = 7
FIGURES = 7
REPORT = 7
