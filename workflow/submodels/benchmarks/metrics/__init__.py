"""Registry of metric families, by the name that task files give as `scorer`."""

from submodels.benchmarks.metrics import accuracy, exact_match, pass_at_k, perplexity, source_text, translation
from submodels.benchmarks.metrics.base import Samples, Scorer, Scores

SCORERS: dict[str, Scorer] = {
    "pass_at_k": pass_at_k.SCORER,
    "exact_match": exact_match.SCORER,
    "chain_of_thought": exact_match.CHAIN_OF_THOUGHT,
    "gsm8k_paper": exact_match.PAPER,
    "accuracy": accuracy.SCORER,
    "translation": translation.SCORER,
    "translation_paper": translation.PAPER,
    "perplexity": perplexity.SCORER,
    "source_text": source_text.SCORER,
}

__all__ = ["SCORERS", "Samples", "Scorer", "Scores"]
