"""Fixtures that every test may use."""

import os
from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling

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


class ByFile(LoadScopeScheduling):
    """The tests of a file go to one worker, for they share its fixtures; those of files in LONG go to any worker."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return nodeid if Path(file).stem in LONG else file


# Files of many long cases whose fixtures are cheap.
LONG = {
    *("test_hostile", "test_reruns", "test_plan_counts", "test_paths", "test_execute_plain", "test_golden"),
    *("test_pruning_architectures", "test_canonical"),
}


def pytest_xdist_make_scheduler(config, log):
    return ByFile(config, log)
