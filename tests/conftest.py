"""Fixtures that every test may use."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real data and golden masks, which lie beside the checkout."""
    path = Path(os.environ.get("SUBMODELS_SHARED", ROOT.parent / "shared"))
    if not path.is_dir():
        pytest.skip(f"no real data: {path} does not exist; set SUBMODELS_SHARED")
    return path


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """The tests of a file share its fixtures, so one worker runs them; files of long, independent cases say SPREAD."""
    for item in items:
        if not getattr(item.module, "SPREAD", False):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
