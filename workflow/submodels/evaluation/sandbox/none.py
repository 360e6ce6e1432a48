"""No sandbox: time, memory and output limits only. Generated code can read and write whatever the user can."""

import sys

from submodels.evaluation.sandbox.layout import INSIDE, Layout

EXECUTABLE = None
INSTALL = None


def start(layout: Layout) -> tuple[list[str], dict]:
    """Command line and settings of the supervisor."""
    settings = {"namespaces": False, "build_root": None, "mount_proc": False, "drop_to": None, "here": str(INSIDE)}
    return [sys.executable, "-S", "-s", str(INSIDE / "supervisor.py")], settings
