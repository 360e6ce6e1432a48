"""A benchmark's answers so far, and what they took."""

from typing import Any

from submodels.evaluation.partial import Partial


class Shards:
    """Answers by the number of their request. A shard, the answers of one batch, goes to disk as a whole or not at all.

    Without a file they are only in memory. `batch_size`: of the last shard, None before the first.
    """

    TOTALS = ("prompt_tokens", "generated_tokens", "seconds")

    def __init__(self, partial: Partial | None = None):
        self.answers: dict[int, Any] = {}
        self.totals = dict.fromkeys(self.TOTALS, 0)
        self.batch_size: int | None = None
        self._partial = partial
        for shard in partial.rows if partial is not None else ():
            self._take(shard)

    def add(self, answers: dict[int, Any], *, batch_size: int, **totals: float) -> None:
        """Keep a batch's answers, of JSON's types; totals: what they took."""
        shard = {"answers": list(answers.items()), "batch_size": batch_size} | totals
        self._take(shard)
        if self._partial is not None:
            self._partial.append(shard)

    def _take(self, shard: dict) -> None:
        self.answers.update(shard["answers"])
        self.batch_size = shard["batch_size"]
        for name in self.totals:
            self.totals[name] += shard[name]
