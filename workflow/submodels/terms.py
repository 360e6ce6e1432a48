"""The words that grids, files and tables share."""

DENSE = "dense"  # id of the unpruned base model among its sub-models
NO_CALIBRATION = "none"  # calibration set of a method that needs no data
NOT_RUN = "not run"  # status and verdict of programs this machine could not run; their score is missing, never zero
DOMAINS = ("code", "math", "csr", "translation", "text")  # domains of benchmarks; text: language itself
GENERIC, CONTROL = "generic", "control"  # further domains of calibration sets
LANGUAGES = ("python", "java", "cpp", "javascript")  # of domain code
DTYPES = ("float32", "bfloat16", "float16")
