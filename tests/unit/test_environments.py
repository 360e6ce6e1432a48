"""The conda environments hold the same pins as the lock that pip installs."""

import re

import pytest
import yaml


@pytest.mark.parametrize("name", ["submodels", "toolchains"])
def test_pins_are_those_of_the_lock(root, name):
    lock = [line for line in (root / "envs/requirements.lock").read_text().splitlines() if line[0] != "#"]
    (pip,) = [part["pip"] for part in yaml.safe_load((root / f"envs/{name}.yaml").read_text())["dependencies"][-1:]]
    assert pip[0].startswith("torch==")
    assert pip[1:] == lock


def test_the_lock_satisfies_every_dependency(root):
    project = (root / "pyproject.toml").read_text()
    names = re.findall(
        r'^    "([A-Za-z0-9_-]+)', project.split("dependencies = [")[1].split("]\n")[0], flags=re.MULTILINE
    )
    locked = {
        line.split("==")[0].lower().replace("_", "-")
        for line in (root / "envs/requirements.lock").read_text().splitlines()
    }
    assert len(names) > 10
    assert {name.lower() for name in names} - {"torch"} <= locked
