import pytest

from submodels.calibration.registry import RowSource
from submodels.calibration.sources import locate
from submodels.errors import SubmodelsError


def test_locate(tmp_path):
    pool, fetched = tmp_path / "pool.jsonl", tmp_path / "rows.parquet"
    for path in (pool, fetched):
        path.write_text("{}")
    hub = RowSource(hub="a/b", revision="0" * 40, split="train")
    assert locate(RowSource(tiny_world="pool"), pool) == pool
    assert locate(RowSource(file=pool)) == pool
    assert locate(hub, tmp_path) == locate(hub, fetched) == fetched
    with pytest.raises(SubmodelsError, match="a tiny_world calibration set needs `source`"):
        locate(RowSource(tiny_world="pool"))
    with pytest.raises(SubmodelsError, match=r"none: no such file; fetch data set a/b first"):
        locate(hub, tmp_path / "none")
    with pytest.raises(SubmodelsError, match=r"nowhere.jsonl: no such file"):
        locate(RowSource(file=tmp_path / "nowhere.jsonl"))
    with pytest.raises(SubmodelsError, match=r"a directory, not a file of rows"):
        locate(RowSource(file=tmp_path))


def test_rows_of_source_files(tmp_path):
    code = RowSource(directory=tmp_path / "code", files=["*.py"])
    with pytest.raises(SubmodelsError, match=r"collect the files of .*code with `submodels collect-files`"):
        locate(code)
    (tmp_path / "rows.jsonl.gz").touch()
    assert locate(code, tmp_path) == tmp_path / "rows.jsonl.gz"
    repository = RowSource(git="https://host/x", revision="0" * 40, files=["*.py"])
    with pytest.raises(SubmodelsError, match="no such file; fetch repository https://host/x first"):
        locate(repository, tmp_path)
