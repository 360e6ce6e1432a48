"""Sources of rows on the Hugging Face Hub, for calibration sets and benchmarks. Light to import."""

from typing import Annotated, ClassVar

from pydantic import Field

from submodels.validation import Strict


class HubSource(Strict):
    """A source that may be a data set of the Hub, at one commit."""

    # Kind of source -> the keys that it needs and those that it may have beside.
    KEYS: ClassVar[dict[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
        "hub": (("revision", "split"), ("config", "files"))
    }

    hub: str | None = Field(None, description="data set of the Hub, `owner/name`; needs `revision` and `split`")
    config: str | None = Field(None, description="configuration of the data set, if it has several")
    revision: str | None = Field(
        None, description="commit of the data set, whole or its first 7 or more digits, or a branch"
    )
    split: str | None = Field(None, description="split of the data set; a slice such as `train[:50%]` is allowed")
    files: Annotated[list[str], Field(min_length=1)] | None = Field(
        None, description="glob patterns of the files to read, `**/` for any directories; left out: all files"
    )

    def check_keys(self, kind: str) -> None:
        """ValueError unless the keys fit the kind of source."""
        needed, optional = self.KEYS.get(kind, ((), ()))
        for key in ("config", "revision", "split", "files"):
            if getattr(self, key) is not None and key not in needed + optional:
                of = " or ".join(other for other, keys in self.KEYS.items() if key in keys[0] + keys[1])
                raise ValueError(f"{key} belongs to a {of} source, not to {kind}")
        if not all(getattr(self, key) for key in needed):
            raise ValueError(f"a {kind} source needs {' and '.join(needed)}")
