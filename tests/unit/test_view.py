"""The page with the masks of two sub-models."""

import re

import numpy as np
import pandas as pd
import pytest
from masks_support import write_masks

from submodels.analysis.view import find_parameter, shares_of_blocks, view, view_sets
from submodels.checkpoints.masks import Masks, pack
from submodels.defaults import VIEW_CELLS
from submodels.errors import SubmodelsError

SHAPES = {
    "model.layers.0.self_attn.q_proj.weight": (8, 8),
    "model.layers.1.self_attn.q_proj.weight": (8, 8),
    "model.layers.1.mlp.down_proj.weight": (VIEW_CELLS + 8, 2 * VIEW_CELLS + 1),
}


def write(directory, seed, base="0" * 64):
    dice = np.random.default_rng(seed)
    packed = {name: pack(dice.random(shape) < 0.5) for name, shape in SHAPES.items()}
    about = {"method": "wanda", "sparsity": "0.50", "seed": seed, "calibration": None, "base": base}
    write_masks(directory, packed, SHAPES, **about)
    return directory


@pytest.fixture
def pair(tmp_path):
    return write(tmp_path / "wanda-python", 0), write(tmp_path / "wanda-<java>", 1)


def test_shares_of_blocks_by_hand():
    mask = np.array([[1, 0, 1], [1, 1, 0], [0, 0, 1]], dtype=bool)
    assert shares_of_blocks(mask, 1).tolist() == mask.astype(float).tolist()
    assert shares_of_blocks(mask, 2).tolist() == [[0.75, 0.5], [0.0, 1.0]]
    assert shares_of_blocks(mask, 3).tolist() == [[5 / 9]]


def test_a_module_is_found_by_its_name_or_the_end_of_it(pair):
    masks = Masks(pair[0])
    for name in ("q_proj", "self_attn.q_proj"):
        assert find_parameter(masks, 1, name) == "model.layers.1.self_attn.q_proj.weight"
    with pytest.raises(SubmodelsError, match=r"unknown module 'proj'.*mlp\.down_proj"):
        find_parameter(masks, 1, "proj")
    with pytest.raises(SubmodelsError, match=r"layer 7: .* has the layers 0 to 1"):
        find_parameter(masks, 7, "q_proj")


@pytest.mark.parametrize(("module", "cell"), [("q_proj", "a weight"), ("down_proj", "a block of 3 × 3 weights")])
def test_the_page_says_what_is_drawn_and_loads_nothing(pair, tmp_path, module, cell):
    view(*pair, 1, module, tmp_path / "view.html")
    page = (tmp_path / "view.html").read_text(encoding="utf-8")
    assert f"Each cell is {cell}" in page
    assert "wanda-&lt;java&gt;" in page
    assert "wanda-<java>" not in page
    (parameter,) = (name for name in SHAPES if module in name and ".1." in name)
    kept = [Masks(directory).mask(parameter) for directory in pair]
    distance = 1 - np.count_nonzero(kept[0] & kept[1]) / np.count_nonzero(kept[0] | kept[1])
    assert f"Jaccard distance of the kept weights {distance:.3f}" in page
    assert page.count("<section>") == 3
    assert not re.findall(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//""", page)


def test_equal_masks_give_equal_pages(pair, tmp_path):
    for name in ("a", "b"):
        view(*pair, 1, "q_proj", tmp_path / name)
    page = (tmp_path / "a").read_text(encoding="utf-8")
    assert page == (tmp_path / "b").read_text(encoding="utf-8")
    assert set(re.findall(r'class="(treescope_out_\w+)"', page)) == {
        f"treescope_out_{name}" for name in ("A", "B", "difference")
    }


def test_every_two_sets_of_the_figure_have_a_page_of_their_first_draws(tmp_path):
    cells = [("python", 0), ("python", 1), ("java", 0), ("csr", 0)]
    grid = {"models": {"m": {"submodels": []}}, "submodels": {}, "roots": {"submodels": str(tmp_path / "masks")}}
    for number, (name, seed) in enumerate(cells):
        id = f"wanda-{name}-0.50-s{seed}"
        entry = {"method": "wanda", "sparsity": "0.50", "calibration": name, "seed": seed}
        grid["submodels"][id] = entry | {"rows": 8, "tokens_per_set": None, "domain": "code", "language": None}
        grid["models"]["m"]["submodels"].append(id)
        if name != "csr":  # its mask was deleted
            write(tmp_path / "masks/m" / id, number)
    pairs = [("python", "java"), ("python", "python"), ("java", "csr")]
    setting = {"model": "m", "method": "wanda", "sparsity": "0.50", "calibration_size": "8 rows"}
    table = pd.DataFrame([setting | {"a": a, "b": b} for a, b in pairs])
    (page,) = view_sets(grid, table, tmp_path / "views")
    assert page == setting | {
        "a": "python",
        "b": "java",
        "path": tmp_path / "views/m/wanda-python-0.50-s0--wanda-java-0.50-s0.html",
    }
    assert view_sets(grid, table[2:], tmp_path / "none") == []
    assert (tmp_path / "none").is_dir()
    assert "model.layers.1.self_attn.q_proj.weight" in page["path"].read_text(encoding="utf-8")


def test_sub_models_of_two_base_models_are_not_compared(pair, tmp_path):
    other = write(tmp_path / "other", 2, base="1" * 64)
    with pytest.raises(SubmodelsError, match="different base models"):
        view(pair[0], other, 1, "q_proj", tmp_path / "view.html")
