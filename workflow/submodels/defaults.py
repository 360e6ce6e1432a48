"""Values that hold where neither a grid nor a command line says otherwise."""

ROWS = 128  # windows of a calibration set
SEQLEN = 2048  # tokens in a window
STEPS = 1000  # of training a tiny base model
PRUNED_AT_ONCE = 8  # windows in one forward pass
GENERAL_WEIGHT = 1.0  # of general importance in D-Pruner's score
TRAINED_TOKENS = 1_000_000  # on which MaskLLM learns masks
PRIOR = "sparsegpt"  # method of the masks that it begins with
TIMEOUT = 10.0  # seconds for one program
MEMORY_MB = 1024  # of one program
RESAMPLES = 1000  # of a bootstrap
LEVEL = 0.95  # of intervals
VIEW_CELLS = 192  # rows and columns of a matrix that a page of masks draws at most
PROMPT = "base"  # prompt format of instructions
