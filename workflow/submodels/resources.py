"""The registries and task files that ship with the workflow, in resources/ at the repository's root."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2] / "resources"


def resource(name: str) -> Path:
    return ROOT / name
