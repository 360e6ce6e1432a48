"""A metric and how its scores are written.

Accuracies are fractions 0..1 in the data, percentages and percentage points to the reader; perplexities are numbers in
their own unit in both.
"""

from dataclasses import dataclass

from submodels.analysis.formats import interval, noise_mark, number, percent, points, signed_number


@dataclass(frozen=True)
class Metric:
    """`higher_is_better`: True for accuracies; False for perplexities."""

    name: str
    higher_is_better: bool

    def show(self, value: float | None) -> str:
        """0.534 -> `53.4`, a perplexity of 7.3 -> `7.300`; nothing for a missing value."""
        return percent(value) if self.higher_is_better else number(value)

    def show_interval(self, low: float, high: float) -> str:
        return interval(low, high, self.show)

    def show_difference(self, difference: float | None) -> str:
        """-0.075 -> `−7.5` percentage points; for perplexities 1.25 -> `+1.250`."""
        return points(difference) if self.higher_is_better else signed_number(difference)

    def show_difference_interval(self, low: float, high: float) -> str:
        return interval(low, high, self.show_difference)

    def show_change(self, difference: float, low: float, high: float) -> str:
        """A difference with its interval, marked where it may be noise: `≈ −2.5 [−7.5, +2.5]`."""
        shown = f"{self.show_difference(difference)} {self.show_difference_interval(low, high)}"
        return noise_mark(low, high) + shown

    def label(self, unit: str = "%") -> str:
        """The name with its unit, or with the direction: `accuracy (%)`, `perplexity (lower is better)`."""
        note = unit if self.higher_is_better else "lower is better"
        return f"{self.name} ({note})" if note else self.name


ACCURACY = Metric("accuracy", higher_is_better=True)
