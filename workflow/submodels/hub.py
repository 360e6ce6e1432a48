"""Sources of rows on the Hugging Face Hub, for calibration sets and benchmarks. Light to import."""

from typing import Annotated

from pydantic import Field

from submodels.validation import Strict


class HubSource(Strict):
    """A source that may be a data set of the Hub, at one commit."""

    hub: str | None = Field(None, description="data set of the Hub, `owner/name`; needs `revision` and `split`")
    config: str | None = Field(None, description="configuration of the data set, if it has several")
    revision: str | None = Field(
        None, description="commit of the data set, whole or its first 7 or more digits, or a branch"
    )
    split: str | None = Field(None, description="split of the data set; a slice such as `train[:50%]` is allowed")
    files: Annotated[list[str], Field(min_length=1)] | None = Field(
        None, description="glob patterns of the files to read; left out: all files"
    )

    def check_hub_keys(self, kind: str) -> None:
        """ValueError unless the keys fit the kind of source: `hub`, or another kind."""
        keys = [key for key in ("config", "revision", "split", "files") if getattr(self, key) is not None]
        if self.hub is None and keys:
            raise ValueError(f"{keys[0]} belongs to a hub source, not to {kind}")
        if self.hub is not None and not (self.revision and self.split):
            raise ValueError("a hub source needs revision and split")
