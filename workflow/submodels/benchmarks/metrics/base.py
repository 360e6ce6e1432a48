"""The interface of every metric family."""

from collections.abc import Callable
from dataclasses import dataclass, field

Samples = dict[str, list[dict]]  # task_id -> the lines of its samples
Texts = list[tuple[str, str]]  # how a text is compared, and the text
AS_WORDS, AS_TOKENS = "words", "tokens"  # of prose; of programs


@dataclass
class Scores:
    """Scores of one sub-model on one benchmark; all values are fractions, except perplexities and bits.

    items: task_id -> metric -> value, the mean over the item's samples unless the metric says otherwise.
    counts: number of samples by how they ended. corpus: values of the whole set without an interval.
    statistics: for metrics that are no mean over items, the columns [items, columns] and the function that computes
    the metric from their means (as `stratified_bootstrap` takes both).
    """

    items: dict[str, dict[str, float]]
    counts: dict[str, int]
    corpus: dict[str, float] = field(default_factory=dict)
    statistics: dict[str, tuple[list[tuple[float, ...]], Callable]] = field(default_factory=dict)


@dataclass(frozen=True)
class Scorer:
    """One family of metrics.

    output_type: lm-eval's name for the kind of samples. metrics: names of its metrics, best known first, for n
    samples an item. fault: the fault of an item, or None. score: (items, samples, synonyms) -> Scores. texts:
    the texts of an item that a calibration row must not hold. documents: whether an item is a whole document, which
    must not hold a calibration row either. programs: whether samples are programs that are executed. by_token: whether
    it needs the likelihood of every token. takes_synonyms: whether it uses METEOR's synonyms. takes_samples: whether a
    grid may say how many samples are drawn.
    """

    output_type: str
    metrics: Callable[[int], list[str]]
    fault: Callable[[dict], str | None]
    score: Callable[[list[dict], Samples, str], Scores]
    texts: Callable[[dict], Texts]
    documents: bool = False
    higher_is_better: bool = True
    programs: bool = False
    by_token: bool = False
    takes_synonyms: bool = False
    takes_samples: bool = False


def text_fault(item: dict, *fields: str) -> str | None:
    """The fault of an item that lacks one of these text fields."""
    for name in fields:
        if not isinstance(item.get(name), str):
            return f"needs a text `{name}`"
    return None


def document_fault(item: dict) -> str | None:
    """The fault of an item whose whole `text` is scored."""
    if fault := text_fault(item, "text"):
        return fault
    return None if item["text"].strip() else "`text` needs more than white space"


def mean(values: list[float]) -> float:
    return sum(values) / len(values)
