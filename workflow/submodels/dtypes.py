"""The data type of a stage's computation: a rule that grids, plans and stages share. Imports nothing heavy."""

from submodels.errors import unknown
from submodels.terms import DTYPES

AUTO = "auto"
DTYPE_BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}
CHOICES = (AUTO, *DTYPES)


def find_dtype(dtype: str, device: str, checkpoint: str = AUTO) -> str:
    """The data type of a computation; with `auto` float32 on a CPU, the checkpoint's on a GPU.

    Only the device decides, so that every machine that plans a job decides alike: many CPUs have no instructions for
    bfloat16 and take several times as long. checkpoint: its data type; `auto` where it is not known yet.
    """
    if dtype not in CHOICES:
        raise unknown("dtype", dtype, CHOICES)
    if dtype != AUTO:
        return dtype
    return "float32" if device == "cpu" else checkpoint
