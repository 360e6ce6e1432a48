"""A benchmark's answers so far, with the tokens and seconds they took."""

from typing import Any

from submodels.evaluation.journal import Journal


class Answers:
    """Answers by the number of their request. A shard, the answers of one batch, goes to disk as a whole or not at all.

    Without a journal the answers are only in memory. `batch_size`: of the last shard, None before the first.
    """

    TOTALS = ("prompt_tokens", "generated_tokens", "seconds")

    def __init__(self, journal: Journal | None = None):
        self.by_request: dict[int, Any] = {}
        self.totals = dict.fromkeys(self.TOTALS, 0)
        self.batch_size: int | None = None
        self._journal = journal
        for shard in journal.rows if journal is not None else ():
            self._take(shard)

    def add(self, answers: dict[int, Any], *, batch_size: int, **totals: float) -> None:
        """Keep a batch's answers, of JSON's types; totals: the tokens and seconds they took."""
        shard = {"answers": list(answers.items()), "batch_size": batch_size} | totals
        self._take(shard)
        if self._journal is not None:
            self._journal.append(shard)

    def _take(self, shard: dict) -> None:
        self.by_request.update(shard["answers"])
        self.batch_size = shard["batch_size"]
        for name in self.totals:
            self.totals[name] += shard[name]
