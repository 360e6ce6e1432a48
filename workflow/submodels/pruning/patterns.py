"""Sparsity patterns: the share of weights to prune, and how freely these weights may be chosen.

`0.50` prunes half of the weights (unstructured); `2of4` prunes 2 of every 4 consecutive input columns.
"""

import re
from dataclasses import dataclass

from submodels.errors import SubmodelsError


@dataclass(frozen=True)
class Unstructured:
    """Prune the share `ratio` of the weights, anywhere within the method's comparison group."""

    ratio: float
    is_structured = False

    @property
    def fraction(self) -> float:
        """Share of the weights that is pruned."""
        return self.ratio

    def __str__(self) -> str:
        return f"{self.ratio:.2f}"


@dataclass(frozen=True)
class NofM:
    """Prune `n` of every `m` consecutive weights of an output row."""

    n: int
    m: int
    is_structured = True

    @property
    def fraction(self) -> float:
        """Share of the weights that is pruned."""
        return self.n / self.m

    def __str__(self) -> str:
        return f"{self.n}of{self.m}"


Pattern = Unstructured | NofM

_RATIO = re.compile(r"\d*\.?\d+")
_N_OF_M = re.compile(r"(\d+)of(\d+)")


def parse(text: str) -> Pattern:
    """Read a pattern; `str()` of the result is its canonical form, used in ids and paths."""
    text = str(text).strip()
    if match := _N_OF_M.fullmatch(text):
        n, m = map(int, match.groups())
        if not 0 < n < m:
            raise SubmodelsError(f"sparsity '{text}': pruning {n} of {m} weights needs 0 < {n} < {m}, e.g. 2of4")
        return NofM(n, m)
    if not _RATIO.fullmatch(text):
        raise SubmodelsError(f"sparsity '{text}': expected a ratio such as 0.50 or a pattern such as 2of4")
    ratio = float(text)
    if not 0 < ratio < 1:
        raise SubmodelsError(f"sparsity '{text}': the ratio of pruned weights must be between 0 and 1, e.g. 0.50")
    if ratio != round(ratio, 2):
        raise SubmodelsError(f"sparsity '{text}': at most two decimals, e.g. {ratio:.2f}")
    return Unstructured(ratio)
