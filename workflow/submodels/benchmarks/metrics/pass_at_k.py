"""pass@k of programs that were executed against tests."""

from collections import Counter
from math import comb

from submodels.benchmarks.metrics.base import AS_TOKENS, AS_WORDS, Samples, Scorer, Scores, Texts, text_fault
from submodels.verdict import STATUSES, Verdict

KS = (1, 10, 100)


def pass_at_k(n: int, passed: int, k: int) -> float:
    """Unbiased estimate of the chance that at least one of k samples passes, from n samples of which `passed` passed.

    1 - C(n - passed, k) / C(n, k), Chen et al. 2021, equation 1 (arXiv 2107.03374), computed exactly in integers.
    Raises ValueError for k > n, where no unbiased estimate exists.
    """
    if not (1 <= k <= n and 0 <= passed <= n):
        raise ValueError(f"pass@{k} needs 1 <= k <= n and 0 <= passed <= n, got n = {n}, passed = {passed}")
    return 1 - comb(n - passed, k) / comb(n, k)


def _metrics(samples: int) -> list[str]:
    return [f"pass@{k}" for k in KS if k <= samples]


def _score(items: list[dict], samples: Samples, synonyms: str) -> Scores:
    values = {}
    for item in items:
        lines = samples[item["task_id"]]
        passed = sum(line["passed"] for line in lines)
        values[item["task_id"]] = {f"pass@{k}": pass_at_k(len(lines), passed, k) for k in KS if k <= len(lines)}
    endings = Counter(Verdict.parse(line["result"]).status for item in items for line in samples[item["task_id"]])
    return Scores(values, dict.fromkeys(STATUSES, 0) | dict(sorted(endings.items())))


def _fault(item: dict) -> str | None:
    optional = ("canonical_solution",) if item.get("canonical_solution") is not None else ()
    return text_fault(item, "prompt", "test", *optional)


def _texts(item: dict) -> Texts:
    solution = item.get("canonical_solution") or ""  # some data sets have none
    return [(AS_WORDS, item["prompt"]), (AS_TOKENS, solution), (AS_TOKENS, item["prompt"] + solution)]


SCORER = Scorer("generate_until", _metrics, _fault, _score, _texts, programs=True, takes_samples=True)
