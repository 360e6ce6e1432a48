"""How much of a calibration set is used, and the shares of a mix's components. Pure; light to import."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from submodels import defaults
from submodels.errors import SubmodelsError


@dataclass(frozen=True)
class DrawSize:
    """A number of windows, or a number of counted tokens; exactly one of the two."""

    rows: int | None = None
    tokens: int | None = None

    @property
    def amount(self) -> int:
        return self.rows if self.tokens is None else self.tokens

    @property
    def unit(self) -> str:
        return "rows" if self.tokens is None else "tokens"

    def share(self, amount: int) -> "DrawSize":
        """Another amount of the same unit."""
        return DrawSize(rows=amount) if self.tokens is None else DrawSize(tokens=amount)

    def __str__(self) -> str:
        return f"{self.amount} {self.unit}"


def find_size(rows: int | None, tokens_per_set: int | None) -> DrawSize:
    """The size given, `defaults.ROWS` if neither is. SubmodelsError if both are given or the size is not positive."""
    if rows is not None and tokens_per_set is not None:
        raise SubmodelsError(
            f"rows ({rows}) and tokens_per_set ({tokens_per_set}) exclude each other: a token budget decides how many "
            "rows are drawn; leave one out"
        )
    size = (
        DrawSize(tokens=tokens_per_set)
        if tokens_per_set is not None
        else DrawSize(rows=defaults.ROWS if rows is None else rows)
    )
    if size.amount < 1:
        raise SubmodelsError(
            f"{'rows' if size.tokens is None else 'tokens_per_set'} must be at least 1 (got {size.amount})"
        )
    return size


def split(total: int, weights: Sequence[float]) -> list[int]:
    """Share out `total` by positive weights, by largest remainders; the shares add up to `total`.

    Every share is the whole part of total * weight / sum of weights; the rest goes, one unit each, to the largest
    fractions, the earlier first among equals. Exact: no rounding of floats decides a share.
    """
    exact = [Fraction(weight) for weight in weights]
    quotas = [total * weight / sum(exact) for weight in exact]
    shares = [int(quota) for quota in quotas]
    by_fraction = sorted(range(len(shares)), key=lambda i: shares[i] - quotas[i])
    for i in by_fraction[: total - sum(shares)]:
        shares[i] += 1
    return shares
