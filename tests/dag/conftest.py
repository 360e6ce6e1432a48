"""A finished grid to change."""

import shutil

import pytest


@pytest.fixture
def project(finished, tmp_path):
    """A copy of the working directory `finished` of the test's file."""
    return shutil.copytree(finished, tmp_path / "project")
