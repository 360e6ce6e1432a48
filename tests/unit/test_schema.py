"""The JSON schema that editors read is the one that the configuration obeys."""

from submodels.config import GridConfig
from submodels.files import read_json


def test_schema_is_in_step(root):
    assert read_json(root / "workflow/schemas/grid.schema.json") == GridConfig.model_json_schema(), (
        "run: submodels schema --out workflow/schemas/grid.schema.json"
    )
