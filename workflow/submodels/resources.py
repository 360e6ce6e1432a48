"""The registries and task files that ship with the workflow.

`shipped` is a link to resources/ at the repository's root; in an installed wheel it is a directory.
"""

from pathlib import Path

ROOT = (Path(__file__).parent / "shipped").resolve()


def resource(name: str) -> Path:
    return ROOT / name
