"""The words that grids, files and tables share."""

DENSE = "dense"  # id of the unpruned base model among its sub-models
NO_CALIBRATION = "none"  # calibration set of a method that needs no data
NOT_RUN = "not run"  # status and verdict of programs this machine could not run; their score is missing, never zero
DOMAINS = ("code", "math", "csr", "translation", "text")  # domains of benchmarks; text: language itself
GENERIC, CONTROL = "generic", "control"  # further domains of calibration sets
LANGUAGES = ("python", "java", "cpp", "javascript")  # of domain code
# Kinds of product. They differ in size and in what they may change, so results of one kind are no rival of the other.
MASK_ONLY, MASK_AND_VALUES = "mask only", "mask + values"
DTYPES = ("float32", "bfloat16", "float16")
