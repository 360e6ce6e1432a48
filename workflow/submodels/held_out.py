"""Which source files are held out of calibration, to be scored: every tenth, by a hash of its path."""

import hashlib

OF = 10  # one file in so many


def is_held_out(path: str) -> bool:
    return rank(path) % OF == 0


def rank(path: str) -> int:
    """A number that orders files by chance, and the same on every machine."""
    return int(hashlib.sha256(path.encode()).hexdigest()[:16], 16)
