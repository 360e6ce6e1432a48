"""Backends by their name: the checkpoint in scratch that one of them gets, and what is left of it."""

# ruff: noqa: F811 (an argument is called as the fixture that it is)

import importlib.util
import multiprocessing
import shutil
import signal
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from generate_support import items, model_dir  # noqa: F401 (fixtures)
from masks_support import write_masks
from tiny_models import change_tensors

from submodels import files
from submodels.checkpoints.base import fingerprint_base
from submodels.checkpoints.masks import pack
from submodels.config import Evaluation
from submodels.errors import SubmodelsError
from submodels.evaluation.backends import BACKENDS, Backend, find_backend, scratch_checkpoint
from submodels.evaluation.generate import generate

PRUNED = "model.layers.0.mlp.down_proj.weight"


@pytest.fixture(scope="module")
def submodel(model_dir, tmp_path_factory):
    path = tmp_path_factory.mktemp("submodel")
    kept = np.random.default_rng(0).random((32, 64)) < 0.5
    header = {"method": "wanda", "sparsity": "0.50", "seed": 0, "calibration": None}
    write_masks(path, {PRUNED: pack(kept)}, {PRUNED: (32, 64)}, base=fingerprint_base(model_dir), **header)
    return path


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """An empty scratch directory, as TMPDIR names it."""
    path = tmp_path / "scratch"
    path.mkdir()
    monkeypatch.setenv("TMPDIR", str(path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return path


@pytest.fixture
def checkpoint_backend(monkeypatch):
    """A backend that reads an exported checkpoint, as vLLM does, and notes where it lay."""
    seen = []

    @contextmanager
    def open_checkpoint(model, submodel, **options):
        with scratch_checkpoint(model, submodel) as checkpoint:
            seen.append(checkpoint)
            with BACKENDS["hf"].open(checkpoint, None, **options) as lm:
                yield lm

    monkeypatch.setitem(BACKENDS, "checkpoint", Backend(open_checkpoint, "transformers", "envs/submodels.yaml"))
    return seen


def test_a_backend_gets_the_sub_model_as_a_checkpoint_that_is_gone_afterwards(
    model_dir, submodel, items, tmp_path, scratch, checkpoint_backend
):
    names = {name: items[name] for name in ("tiny_csr", "tiny_python")}
    for backend in ("hf", "checkpoint"):
        generate(model_dir, submodel, names, tmp_path / backend, backend=backend)
    for name in names:
        found = [(tmp_path / backend / f"{name}.jsonl.gz").read_bytes() for backend in ("hf", "checkpoint")]
        assert found[0] == found[1]
        manifests = [files.read_json(tmp_path / f"{backend}/{name}.manifest.json") for backend in ("hf", "checkpoint")]
        assert [manifest["parameters"]["backend"] for manifest in manifests] == ["hf", "checkpoint"]
        assert manifests[0]["fingerprint"] != manifests[1]["fingerprint"]
    assert [path.parent.parent for path in checkpoint_backend] == [scratch]
    assert not any(scratch.iterdir())


def test_the_dense_model_needs_no_checkpoint(model_dir, scratch):
    with scratch_checkpoint(model_dir, None) as checkpoint:
        assert checkpoint == model_dir
        assert not any(scratch.iterdir())
    assert (model_dir / "config.json").is_file()


def test_a_dense_model_among_other_weights_is_handed_over_alone(model_dir, scratch, tmp_path):
    """Others choose in their own ways between a single file and shards."""
    model = shutil.copytree(model_dir, tmp_path / "model")
    shutil.copyfile(model / "model.safetensors", model / "model-00001-of-00001.safetensors")
    (model / "model.safetensors.index.json").write_text("{}")
    with scratch_checkpoint(model, None) as checkpoint:
        assert {path.name for path in checkpoint.iterdir()} == {path.name for path in model_dir.iterdir()}
        for path in model_dir.iterdir():
            assert (checkpoint / path.name).read_bytes() == path.read_bytes()
    assert not any(scratch.iterdir())


def test_an_incomplete_model_is_handed_to_nobody(model_dir, scratch, tmp_path):
    model = shutil.copytree(model_dir, tmp_path / "model")
    change_tensors(model / "model.safetensors", {"model.norm.weight": None})
    with pytest.raises(SubmodelsError, match=r"lack model\.norm\.weight"), scratch_checkpoint(model, None):
        pass


def test_the_checkpoint_is_removed_after_an_error(model_dir, submodel, scratch, monkeypatch):
    before = signal.getsignal(signal.SIGTERM)

    def fail():
        with scratch_checkpoint(model_dir, submodel) as checkpoint:
            assert (checkpoint / "model.safetensors").is_file()
            assert signal.getsignal(signal.SIGTERM) != before
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not any(scratch.iterdir())
    assert signal.getsignal(signal.SIGTERM) == before
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=10))
    with pytest.raises(SubmodelsError, match="set TMPDIR to a larger disk"), scratch_checkpoint(model_dir, submodel):
        pass
    assert not any(scratch.iterdir())


def test_the_checkpoint_is_removed_when_its_export_fails(model_dir, submodel, scratch, tmp_path):
    other = shutil.copytree(model_dir, tmp_path / "other")
    weights = other / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"1234")
    with pytest.raises(SubmodelsError, match="pruned from another base model"), scratch_checkpoint(other, submodel):
        pass
    assert not any(scratch.iterdir())


def _hold(model: Path, submodel: Path, scratch: str) -> None:
    tempfile.tempdir = scratch
    with scratch_checkpoint(model, submodel) as checkpoint:
        (checkpoint / "ready").touch()
        time.sleep(60)


def test_the_checkpoint_is_removed_when_the_job_is_terminated(model_dir, submodel, scratch):
    process = multiprocessing.get_context("spawn").Process(target=_hold, args=(model_dir, submodel, str(scratch)))
    process.start()
    deadline = time.monotonic() + 60
    while not any(scratch.glob("*/checkpoint/ready")):
        assert process.is_alive()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.terminate()
    process.join(30)
    assert process.exitcode == 128 + signal.SIGTERM
    assert not any(scratch.iterdir())


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vLLM is installed here")
def test_without_vllm_there_is_one_clear_error_before_anything_is_read(items, tmp_path):
    with pytest.raises(SubmodelsError, match=r"the package vllm is not installed here; .* envs/vllm.yaml, or choose"):
        generate(tmp_path / "nowhere", None, {"tiny_csr": items["tiny_csr"]}, tmp_path / "out", backend="vllm")


def test_faulty_backends_are_named():
    with pytest.raises(SubmodelsError, match="unknown backend 'vlm'; known: hf, vllm"):
        find_backend("vlm")
    with (
        pytest.raises(SubmodelsError, match="generates only on GPUs"),
        BACKENDS["vllm"].open(Path("m"), None, device="cpu", dtype="auto", batch_size=None),
    ):
        pass
    with pytest.raises(ValueError, match="set device: cuda, or backend: hf"):
        Evaluation(backend="vllm")
    assert Evaluation(backend="vllm", device="cuda", batch_size="auto").batch_size == "auto"
    with pytest.raises(ValueError, match="batch_size"):
        Evaluation(batch_size="automatic")
