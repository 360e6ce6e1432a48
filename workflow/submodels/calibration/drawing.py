"""Which rows of a calibration set are used. Pure: Python's global generator is neither used nor changed."""

import random
from collections.abc import Iterator

from submodels.errors import unknown

_PAPER_DRAWS_PER_ROW = 10  # limit of the endless draw: a set without a usable row must not loop for ever


def _strict(total: int, seed: int) -> Iterator[int]:
    """Without replacement: a permutation of all rows, `random.Random(seed).shuffle`."""
    order = list(range(total))
    random.Random(seed).shuffle(order)
    yield from order


def _paper(total: int, seed: int) -> Iterator[int]:
    """With replacement, as in the paper's code: `randint(0, total - 1)` for each row after `random.seed(seed)`."""
    generator = random.Random(seed)
    for _ in range(_PAPER_DRAWS_PER_ROW * total):
        yield generator.randint(0, total - 1)


PROTOCOLS = {"strict": _strict, "paper": _paper}


def order(total: int, seed: int, protocol: str = "strict") -> Iterator[int]:
    """Indices in 0..total-1 in the order in which rows are used; equal arguments give equal orders on any machine."""
    if protocol not in PROTOCOLS:
        raise unknown("protocol", protocol, PROTOCOLS)
    return PROTOCOLS[protocol](total, seed)
