"""How numbers are written in tables to read and in the report.

Accuracies are fractions 0..1 in the data and percentages to the reader; perplexities are the same number in both.
"""

from collections.abc import Callable, Iterable

import pandas as pd

from submodels.pruning.methods import METHODS
from submodels.terms import MASK_AND_VALUES, NOT_RUN

PRODUCT_NOTE = (
    f"{MASK_AND_VALUES.capitalize()}: the method also changes the weights that it keeps, and its sub-models hold them; "
    "the other methods make masks only."
)


def percent(value: float | None) -> str:
    """0.534 -> `53.4`; nothing for a missing value."""
    return "" if pd.isna(value) else f"{100 * value:.1f}"


def points(value: float | None) -> str:
    """A difference of fractions in percentage points, signed: -0.075 -> `−7.5`, but 0 -> `0.0`."""
    return "" if pd.isna(value) else signed(100 * value, 1)


def number(value: float | None) -> str:
    """A value in its own unit, with its meaningful digits: 7.3 -> `7.300`, 31.25 -> `31.25`, 4210.7 -> `4,211`."""
    return "" if pd.isna(value) else f"{value:,.{_digits(value)}f}"


def signed_number(value: float | None) -> str:
    """A difference in its own unit, signed: 1.25 -> `+1.250`."""
    return "" if pd.isna(value) else signed(value, _digits(value))


def _digits(value: float) -> int:
    return 3 if abs(value) < 10 else 2 if abs(value) < 100 else 0


def signed(value: float, digits: int) -> str:
    """A number with its sign, a true minus; a number that rounds to zero has no sign."""
    text = f"{value:+,.{digits}f}"
    return text.lstrip("+-") if float(text.replace(",", "")) == 0 else text.replace("-", "−")


def count(n: float | None) -> str:
    """1234 -> `1,234`; nothing for a missing value."""
    return "" if pd.isna(n) else f"{n:,.0f}"


def show_counts(counts: dict[str, float | None]) -> str:
    """How samples ended, without endings that never occurred: `30 passed, 6 failed`."""
    return ", ".join(f"{int(n)} {name}" for name, n in counts.items() if n == n and n)


def marked(name: str, remarks: str | None) -> str:
    """A benchmark with the remarks on its scores: `humaneval (first 50 items; fixture)`."""
    return name if pd.isna(remarks) or not remarks else f"{name} ({remarks})"


def labelled(name: str, method: str) -> str:
    """A name with the kind of product, where the method makes more than a mask: `my-model (mask + values)`."""
    return f"{name} ({MASK_AND_VALUES})" if _changes_values(method) else name


def product_note(methods: Iterable[str]) -> str:
    """What the label of `labelled` means, if one of the methods has it; nothing otherwise."""
    return PRODUCT_NOTE if any(map(_changes_values, methods)) else ""


def _changes_values(method: str) -> bool:
    """False for what is no method: the dense baseline."""
    return method in METHODS and METHODS[method].updates_weights


def method_name(method: str) -> str:
    """A method as readers see it: `sparsegpt (mask + values)`."""
    return labelled(method, method)


def setting_name(method: str, sparsity: str, calibration_size: str, sizes: int) -> str:
    """The setting of a comparison; the size of the calibration sets only where the grid has several `sizes`."""
    return f"{method_name(method)}, {sparsity} pruned" + (f", {calibration_size}" if sizes > 1 else "")


def interval(low: float, high: float, show: Callable = percent) -> str:
    """`[10.0, 20.0]`; nothing for missing bounds."""
    return "" if pd.isna(low) else f"[{show(low)}, {show(high)}]"


def not_run(reason: str | None) -> str:
    return f"{NOT_RUN}: {reason or 'no reason recorded'}"


def not_testable(reason: str) -> str:
    return f"not testable here: {reason}"


def noise_mark(low: float, high: float) -> str:
    """`≈` where the interval of a difference contains zero: the difference may be noise."""
    return "≈ " if low <= 0 <= high else ""


def measured(value: float, unit: str) -> str:
    """A signed value in its unit: accuracies in percentage points, distances unchanged."""
    return points(value) if unit == "points" else signed(value, 3)
