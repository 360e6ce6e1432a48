"""Adapters: the rows of a data set, as its publishers wrote them -> the items of a benchmark (`adapter`).

An adapter is a pure function of rows (dicts, in order) that returns items with the fields of the benchmark's scorer. It
may leave out `task_id`, which then is `<benchmark>/<number>`. Its module has a `fixture`, a few made-up rows of the
same schema, so that the adapter and all later stages can run without the data set. Light to import.
"""

from collections.abc import Callable, Sequence

from submodels.benchmarks.adapters import (
    arc,
    boolq,
    code_translation,
    gsm8k,
    hellaswag,
    humaneval,
    humaneval_x,
    mbpp,
    multipl_e,
    multiple_choice,
    openbookqa,
    source_files,
    translation,
    wikitext2,
    winogrande,
)

ADAPTERS: dict[str, Callable[[Sequence[dict]], list[dict]]] = {
    "arc": arc.items,
    "boolq": boolq.items,
    "gsm8k": gsm8k.items,
    "gsm8k_paper": gsm8k.paper_items,
    "hellaswag": hellaswag.items,
    "humaneval_paper": humaneval.paper_items,
    "mbpp": mbpp.items,
    "mbpp_paper": mbpp.paper_items,
    "multiple_choice": multiple_choice.items,
    "openbookqa": openbookqa.items,
    "opus_books": translation.books_items,
    "opus_books_paper": translation.paper_books_items,
    "source_files": source_files.items,
    "translation": translation.items,
    "wikitext2": wikitext2.items,
    "winogrande": winogrande.items,
    "wmt14_paper": translation.paper_items,
    **humaneval_x.ADAPTERS,
    **multipl_e.ADAPTERS,
    **code_translation.ADAPTERS,
}

# Rows in the schema that the adapter reads.
FIXTURES: dict[str, Callable[[], list[dict]]] = {
    "arc": arc.fixture,
    "boolq": boolq.fixture,
    "gsm8k": gsm8k.fixture,
    "gsm8k_paper": gsm8k.fixture,
    "hellaswag": hellaswag.fixture,
    "humaneval_paper": humaneval.fixture,
    "mbpp": mbpp.fixture,
    "mbpp_paper": mbpp.fixture,
    "openbookqa": openbookqa.fixture,
    "opus_books": translation.fixture,
    "opus_books_paper": translation.fixture,
    "source_files": source_files.fixture,
    "translation": translation.fixture,
    "wikitext2": wikitext2.fixture,
    "winogrande": winogrande.fixture,
    "wmt14_paper": translation.fixture,
    **humaneval_x.FIXTURES,
    **multipl_e.FIXTURES,
    **code_translation.FIXTURES,
}
