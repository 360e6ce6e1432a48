"""A file of results so far that outlives a killed job.

Its first line is the header, which holds everything that decides the results; each later line is one result. A line
without its end was being written when the job was killed, and is dropped.
"""

import json
from pathlib import Path


class Journal:
    """`rows`: results of an earlier job with the same header. A file with another header is stale and overwritten."""

    def __init__(self, path: Path, header: dict):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.rows = path, []
        self._file = open(path, "a+b")  # noqa: SIM115 - open as long as the job runs
        self._file.seek(0)
        kept = 0
        for line in self._file:
            content = _whole(line)
            if content is None or (not kept and content != header):
                break
            if kept:
                self.rows.append(content)
            kept += len(line)
        self._file.truncate(kept)
        if not kept:
            self.append(header)

    def append(self, row: dict) -> None:
        """When this returns, the row outlives the process."""
        self._file.write(json.dumps(row).encode() + b"\n")
        self._file.flush()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_) -> None:
        self._file.close()


def _whole(line: bytes) -> dict | None:
    """The content of a line; None if it was not written to its end."""
    try:
        content = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:  # blocks that a crashed machine never wrote
        return None
    return content if isinstance(content, dict) else None
