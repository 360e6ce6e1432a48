"""The stage `prune` on broken input and dying machines: one clear error, exit status 1, nothing half-written."""

import json
import multiprocessing
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from sandbox_support import need_sandbox
from tiny_models import VOCABULARY, change_tensors, draw_windows, save_model, save_windows

from submodels import cli
from submodels.checkpoints.masks import Masks
from submodels.pruning.prune import prune

MASK, MANIFEST = "submodel.safetensors", "manifest.json"
FIRST, LAST = "model.layers.0.mlp.up_proj.weight", "model.layers.1.mlp.up_proj.weight"
EMBEDDING = "model.embed_tokens.weight"


HALF = ("--dtype", "float16")


def command_line(model, windows, out, *options, sparsity="0.50"):
    method = ["--method", "magnitude"] if windows is None else ["--method", "wanda", "--windows", str(windows)]
    arguments = ["prune", "--model", str(model), *method, "--sparsity", sparsity, "--out", str(out), "--threads", "1"]
    return [*arguments, *map(str, options)]


def call(arguments):
    """Run the command line in this process; its exit status."""
    sys.argv = ["submodels", *arguments]
    try:
        cli.main()
    except SystemExit as leave:
        return leave.code
    return 0


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys):
    """Prune, into nothing and over an old sub-model: status 1, one line of error with these words, no product."""

    def check(model, windows, *words, options=()):
        monkeypatch.setattr(sys, "argv", sys.argv)
        old = tmp_path / "old"
        old.mkdir()
        (old / MASK).write_bytes(b"of an earlier run")
        (old / MANIFEST).write_text("{}")
        for out in (tmp_path / "fresh", old):
            status = call(command_line(model, windows, out, *options))
            errors = capsys.readouterr().err
            assert status == 1, errors
            assert "Traceback" not in errors
            message = errors[errors.index("error: ") :].strip()
            assert "\n" not in message
            for word in words:
                assert word in message
        assert not list((tmp_path / "fresh").glob("*")), "leftovers"
        assert [path.name for path in old.iterdir()] == [MASK], "an old manifest vouches for nothing now"

    return check


@pytest.fixture
def windows(tmp_path):
    return save_windows(tmp_path / "w" / "windows.safetensors", draw_windows())


# What a downloaded checkpoint may suffer.


def rewrite_header(path, change):
    """Pass a safetensors header through `change`, the data left as they are."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.dumps(change(json.loads(data[8 : 8 + size]))).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + data[8 + size :])


def too_long(header):
    """The last tensor reaches beyond the end of the file."""
    last = max((name for name in header if name != "__metadata__"), key=lambda name: header[name]["data_offsets"])
    header[last]["data_offsets"][1] += 4096
    header[last]["shape"][0] += 1
    return header


def other_shape(header):
    """A shape that the bytes do not fill."""
    first = next(name for name in header if name != "__metadata__")
    header[first]["shape"] = [1000, *header[first]["shape"]]
    return header


CORRUPTIONS = {
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:-8]),
    "empty": lambda path: path.write_bytes(b""),
    "no safetensors": lambda path: path.write_bytes(b"<html>404 not found</html>" * 100),
    "garbage header": lambda path: path.write_bytes(path.read_bytes()[:8] + b"\xff" * (path.stat().st_size - 8)),
    "endless header": lambda path: path.write_bytes((2**62).to_bytes(8, "little") + path.read_bytes()[8:]),
    "tensor beyond the file": lambda path: rewrite_header(path, too_long),
    "shape that the bytes do not fill": lambda path: rewrite_header(path, other_shape),
    "missing": Path.unlink,
}


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_broken_shard(tmp_path, windows, refused, corruption):
    model = save_model(tmp_path / "model", shard_size="6KB")
    shard = sorted(model.glob("*.safetensors"))[-2]
    CORRUPTIONS[corruption](shard)
    refused(model, windows, shard.name, "download it again")


def shard_with(model, tensor):
    index = json.loads((model / "model.safetensors.index.json").read_text())
    return model / index["weight_map"][tensor]


@pytest.mark.parametrize("tensor", [LAST, EMBEDDING, "lm_head.weight"])
def test_index_that_names_a_tensor_no_shard_holds(tmp_path, windows, refused, tensor):
    model = save_model(tmp_path / "model", shard_size="6KB")
    change_tensors(shard_with(model, tensor), {tensor: None})
    refused(model, windows, tensor, "missing")


@pytest.mark.parametrize("content", ["[]", '{"weight_map": []}', '{"weight_map": {"model.norm.weight": 1}}', "{"])
def test_index_that_is_no_index(tmp_path, windows, refused, content):
    model = save_model(tmp_path / "model", shard_size="6KB")
    (model / "model.safetensors.index.json").write_text(content)
    refused(model, windows, "model.safetensors.index.json")


def test_configuration_cut_off(tmp_path, windows, refused):
    model = save_model(tmp_path / "model")
    (model / "config.json").write_text((model / "config.json").read_text()[:40])
    refused(model, windows, "config.json")


@pytest.mark.parametrize(
    "value", [{"hidden_size": "large"}, {"hidden_act": "no_such"}, {"num_attention_heads": 3}], ids=str
)
def test_configuration_that_makes_no_model(tmp_path, windows, refused, value):
    model = save_model(tmp_path / "model")
    (model / "config.json").write_text(json.dumps(json.loads((model / "config.json").read_text()) | value))
    refused(model, windows, "config.json")


def test_missing_tensor(tmp_path, windows, refused):
    model = save_model(tmp_path / "model")
    change_tensors(model / "model.safetensors", {LAST: None})
    refused(model, windows, LAST, "missing")


@pytest.mark.parametrize("tensor", [LAST, EMBEDDING])
def test_wrong_shape(tmp_path, windows, refused, tensor):
    model = save_model(tmp_path / "model")
    change_tensors(model / "model.safetensors", {tensor: torch.zeros(3, 5)})
    refused(model, windows, tensor, "(3, 5)", "(28, 16)" if tensor == LAST else "(40, 16)")


@pytest.mark.parametrize("dtype", [torch.int8, torch.float8_e4m3fn], ids=str)
def test_quantised_weights_that_config_does_not_tell_of(tmp_path, windows, refused, dtype):
    """Their scales are elsewhere: taken as they are, they would be wrong without a word."""
    model = save_model(tmp_path / "model")
    change_tensors(model / "model.safetensors", {LAST: torch.ones(28, 16).to(dtype)})
    refused(model, windows, LAST, "quantised")


def test_pickled_weights_alone(tmp_path, windows, refused):
    model = save_model(tmp_path / "model")
    (model / "model.safetensors").rename(model / "pytorch_model.bin")
    refused(model, windows, "only pickled weights")


# Numbers that are none.


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("tensor", [FIRST, LAST, EMBEDDING])
def test_weights_that_are_not_finite(tmp_path, windows, refused, tensor, value):
    model = save_model(tmp_path / "model")
    weight = torch.randn(40 if tensor == EMBEDDING else 28, 16, generator=torch.Generator().manual_seed(0))
    weight[-1, -1] = value
    change_tensors(model / "model.safetensors", {tensor: weight})
    refused(model, windows, f"{tensor}: NaN or infinite weights")


@pytest.mark.parametrize("tensor", [FIRST, LAST])
def test_weights_that_are_not_finite_for_a_method_without_calibration(tmp_path, refused, tensor):
    model = save_model(tmp_path / "model")
    change_tensors(model / "model.safetensors", {tensor: torch.full((28, 16), torch.nan)})
    refused(model, None, f"{tensor}: NaN or infinite weights")


def test_weights_beyond_the_range_of_the_dtype_asked_for(tmp_path, windows, refused):
    """Finite in the checkpoint, infinite in float16."""
    model = save_model(tmp_path / "model")
    change_tensors(model / "model.safetensors", {FIRST: torch.full((28, 16), 1e5)})
    refused(model, windows, f"{FIRST}: ", "infinite", "float16", options=("--dtype", "float16"))


@pytest.mark.parametrize("block", [0, 1])
def test_activations_that_overflow_in_float16(tmp_path, windows, refused, block):
    """Gate times up exceeds 65504 before the down projection of that block; every weight is finite."""
    model = save_model(tmp_path / "model", dtype=torch.float16)
    names = [f"model.layers.{block}.mlp.{kind}_proj.weight" for kind in ("gate", "up")]
    change_tensors(model / "model.safetensors", {name: torch.full((28, 16), 300.0).half() for name in names})
    refused(model, windows, f"model.layers.{block}.mlp.down_proj: NaN or infinite activations", "float32", options=HALF)


def test_overflow_in_what_the_first_block_puts_out(tmp_path, windows, refused):
    """No linear layer of block 0 sees the infinity that its last one makes."""
    model = save_model(tmp_path / "model", dtype=torch.float16)
    down = torch.full((16, 28), 6e4, dtype=torch.float16)
    change_tensors(model / "model.safetensors", {"model.layers.0.mlp.down_proj.weight": down})
    refused(model, windows, "model.layers.", "NaN or infinite activations", options=HALF)


# Windows that are not the model's.


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        (draw_windows(length=33), ("windows of 33 tokens", "context is 32")),
        (torch.tensor([[1, 2], [1, VOCABULARY]]), ("row 1", "outside the vocabulary of 40")),
        (torch.tensor([[1, 2], [-1, 2]]), ("row 1", "outside the vocabulary of 40")),
        (torch.zeros(0, 10, dtype=torch.int64), ("not empty",)),
        (torch.zeros(4, 0, dtype=torch.int64), ("not empty",)),
    ],
    ids=["too long", "too large an id", "negative id", "no window", "no token"],
)
def test_windows_of_another_model(tmp_path, refused, ids, words):
    path = save_windows(tmp_path / "w" / "windows.safetensors", ids)
    refused(save_model(tmp_path / "model"), path, str(path), *words)


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_broken_windows(tmp_path, windows, refused, corruption):
    CORRUPTIONS[corruption](windows)
    refused(save_model(tmp_path / "model"), windows, str(windows))


# Nowhere to write.


def test_output_directory_that_is_a_file(tmp_path, windows, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", sys.argv)
    out = tmp_path / "out"
    out.write_text("mine")
    assert call(command_line(save_model(tmp_path / "model"), windows, out)) == 1
    errors = capsys.readouterr().err
    assert "Traceback" not in errors
    assert str(out) in errors[errors.index("error: ") :]
    assert out.read_text() == "mine"


# Processes that die. A server that has imported everything forks each of them, so that none waits for torch.


def child(arguments, log, prepare, details):
    """In a process of its own: the command line, with its standard error in a file."""
    with open(log, "w") as file:
        os.dup2(file.fileno(), 2)
    prepare(*details)
    sys.exit(call(arguments))


@pytest.fixture(scope="module")
def start():
    """Start the command line in a forked process; `prepare(*details)` runs in it first."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["submodels.pruning.prune", "transformers.models.llama.modeling_llama", __name__])
    with pytest.MonkeyPatch.context() as patch:  # the server finds this module by it
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), *sys.path]))
        begin(context, "--help").join()
    return lambda *given, **options: begin(context, *given, **options)


def begin(context, *arguments, log=os.devnull, prepare=id, details=(None,)):
    process = context.Process(target=child, args=(arguments, log, prepare, details))
    process.start()
    return process


def limit_memory(room):
    """From here on this process may map `room` more bytes than it has."""
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (mapped + room, mapped + room))


@pytest.mark.parametrize(
    ("count", "intermediate_size", "batch_size", "kind"),
    [
        # 512 x 32 x 8192 float32 activations in the MLP: 512 MB at once; 1 MB with one window.
        (512, 8192, 512, "batch size"),
        # 40000 x 32 x 128 float32 hidden states: 655 MB, whatever the batch.
        (40000, 16, 8, "windows"),
    ],
    ids=["batch", "windows"],
)
def test_out_of_memory_names_a_size_that_would_fit(tmp_path, start, count, intermediate_size, batch_size, kind):
    """... and that size does fit."""
    model = save_model(tmp_path / "model", hidden_size=128, intermediate_size=intermediate_size, num_hidden_layers=1)
    windows, out, log = tmp_path / "w" / "windows.safetensors", tmp_path / "out", tmp_path / "log"

    def run(count, batch_size):
        save_windows(windows, draw_windows(count, 32))
        arguments = command_line(model, windows, out, "--batch-size", batch_size)
        process = start(*arguments, log=log, prepare=limit_memory, details=(400_000_000,))
        process.join()
        return process.exitcode, log.read_text()

    status, errors = run(count, batch_size)
    assert status == 1, errors
    assert "Traceback" not in errors
    assert not list(out.glob("*"))
    message = errors[errors.index("error: ") :]
    assert kind in message
    fits = int(re.findall(r"\d+", message[: message.index("would fit")])[-1])
    status, errors = run(count, fits) if kind == "batch size" else run(fits, batch_size)
    assert status == 0, errors


def limit_memory_at_opening(directory, room):
    """`limit_memory` as soon as Python opens a file in `directory`."""
    armed = True

    def watch(event, details):
        nonlocal armed
        if armed and event == "open" and str(directory) in str(details[0]):
            armed = False
            limit_memory(room)

    sys.addaudithook(watch)


def test_memory_that_runs_out_after_the_start(tmp_path, start):
    """What was free when the job began is taken by another by the time the blocks are computed."""
    model = save_model(tmp_path / "model", hidden_size=128, intermediate_size=8192)
    windows = save_windows(tmp_path / "w" / "windows.safetensors", draw_windows(512, 32))
    out, log = tmp_path / "out", tmp_path / "log"
    arguments = command_line(model, windows, out, "--batch-size", 512)
    process = start(*arguments, log=log, prepare=limit_memory_at_opening, details=(out, 400_000_000))
    process.join()
    errors = log.read_text()
    assert process.exitcode == 1, errors
    assert "Traceback" not in errors
    assert re.search(r"error: model\.layers\.0: .*a batch size of \d+ would fit", errors)
    assert not list(out.glob("*"))


def signal_at(number, kind, directory):
    """Send this process a signal at the `number`-th time that Python touches a file in `directory`."""
    seen = 0

    def watch(event, details):
        nonlocal seen
        if event in ("open", "os.rename", "os.remove") and any(str(directory) in str(detail) for detail in details):
            seen += 1
            if seen == number:
                os.kill(os.getpid(), kind)

    sys.addaudithook(watch)


def check_what_stands(out, finished):
    """A manifest stands only beside the complete mask it tells of; finished: sparsity -> bytes of the mask."""
    if not (out / MANIFEST).exists():
        return False
    sparsity = json.loads((out / MANIFEST).read_text())["parameters"]["sparsity"]
    assert (out / MASK).read_bytes() == finished[sparsity]
    return True


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """(model, windows, sparsity -> bytes of the mask, directory of a finished sub-model at 0.60)."""
    place = tmp_path_factory.mktemp("undisturbed")
    model = save_model(place / "model")
    # A long path, which the manifest records and the mask does not: a test below needs the manifest to be longer.
    windows = save_windows(Path(place, *["l" * 250] * 5) / "w" / "windows.safetensors", draw_windows())
    finished = {}
    for sparsity in ("0.50", "0.60"):
        prune(model, windows, "wanda", sparsity, place / sparsity)
        finished[sparsity] = (place / sparsity / MASK).read_bytes()
    return model, windows, finished, place / "0.60"


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGTERM], ids=lambda kind: kind.name)
def test_ended_at_every_step_of_writing_over_an_old_sub_model(tmp_path, undisturbed, start, kind):
    model, windows, finished, old = undisturbed
    arguments = command_line(model, windows, tmp_path / "out")
    for number in range(1, 100):
        out = shutil.copytree(old, tmp_path / "out", dirs_exist_ok=True)
        process = start(*arguments, prepare=signal_at, details=(number, kind, out))
        process.join()
        check_what_stands(out, finished)
        if kind == signal.SIGTERM:
            assert {path.name for path in out.iterdir()} <= {MASK, MANIFEST}, "leftovers"
        if process.exitcode == 0:
            break
    assert number > 3, "the process was never disturbed"
    # What SIGKILL left behind is still there, of several runs; the run that was not disturbed has cleaned it up.
    assert {path.name for path in out.iterdir()} == {MASK, MANIFEST}
    assert (out / MASK).read_bytes() == finished["0.50"]


@pytest.fixture(scope="module")
def long_run(tmp_path_factory, start):
    """(model, windows, its mask's bytes, seconds): a prune that takes long enough to be killed within."""
    place = tmp_path_factory.mktemp("long")
    model = save_model(place / "model", hidden_size=96, intermediate_size=256, num_hidden_layers=12)
    windows = save_windows(place / "w" / "windows.safetensors", draw_windows(256, 32))
    started = time.monotonic()
    process = start(*command_line(model, windows, place / "out"))
    process.join()
    assert process.exitcode == 0
    return model, windows, {"0.50": (place / "out" / MASK).read_bytes()}, time.monotonic() - started


def test_terminated_in_the_middle(tmp_path, long_run, start):
    model, windows, _, seconds = long_run
    process = start(*command_line(model, windows, tmp_path / "out"))
    time.sleep(seconds / 2)
    process.terminate()
    process.join()
    assert process.exitcode != 0
    assert not list((tmp_path / "out").glob("*"))


@pytest.mark.slow
def test_killed_ten_times_at_random_moments(tmp_path, long_run, start):
    model, windows, finished, seconds = long_run
    rng = random.Random(0)
    for number in range(10):
        out = tmp_path / str(number)
        process = start(*command_line(model, windows, out))
        time.sleep(seconds * rng.uniform(0.1, 1))
        process.kill()
        process.join()
        check_what_stands(out, finished)
        again = start(*command_line(model, windows, out))
        again.join()
        assert again.exitcode == 0
        assert check_what_stands(out, finished)
        assert {path.name for path in out.iterdir()} == {MASK, MANIFEST}, "stale files"


# A disk that fills up, in a mount namespace of its own. Prints one JSON line for each directory.
_ON_SMALL_DISKS = """
import contextlib, io, json, os, sys
sys.path[:0] = json.loads(sys.argv[1])
import test_pruning_robustness as tests
_, outs, inputs = map(json.loads, sys.argv[1:])
for out in outs:
    with contextlib.redirect_stderr(io.StringIO()) as errors:
        status = tests.call(tests.command_line(*inputs, out))
    print(json.dumps([status, errors.getvalue(), os.listdir(out)]))
"""


def test_disk_full_in_the_middle_of_a_write(tmp_path):
    """Too small for the first bytes, and for the whole mask."""
    need_bubblewrap()
    model = save_model(tmp_path / "model", hidden_size=64, intermediate_size=512, num_hidden_layers=4)
    windows = save_windows(tmp_path / "w" / "windows.safetensors", draw_windows())
    mounts, places = [], [str(tmp_path / "4096"), str(tmp_path / "20000")]
    for place in map(Path, places):
        place.mkdir()
        mounts += ["--size", place.name, "--tmpfs", str(place)]
    arguments = map(
        json.dumps,
        ([str(Path(__file__).parent), str(Path(__file__).parents[1] / "support")], places, [str(model), str(windows)]),
    )
    done = subprocess.run(
        ["bwrap", "--dev-bind", "/", "/", *mounts, sys.executable, "-c", _ON_SMALL_DISKS, *arguments],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    results = [json.loads(line) for line in done.stdout.splitlines()]
    for place, (status, errors, left) in zip(places, results, strict=True):
        assert status == 1, errors
        assert "Traceback" not in errors
        message = errors[errors.index("error: ") :]
        assert place in message
        assert "full" in message
        assert left == []


def limit_files(size):
    """From here on this process can write no file longer than that."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def test_no_room_for_the_manifest(tmp_path, undisturbed, start):
    """The mask stands, complete, but nothing vouches for it."""
    model, windows, finished, old = undisturbed
    mask, manifest = ((old / name).stat().st_size for name in (MASK, MANIFEST))
    room = mask + 64
    assert room < manifest - 500, "manifests of two runs differ a little in length"
    out, log = shutil.copytree(old, tmp_path / "out"), tmp_path / "log"
    process = start(*command_line(model, windows, out), log=log, prepare=limit_files, details=(room,))
    process.join()
    errors = log.read_text()
    assert process.exitcode == 1, errors
    assert "Traceback" not in errors
    assert f"error: {out / MANIFEST}" in errors
    assert {path.name for path in out.iterdir()} == {MASK}
    assert (out / MASK).read_bytes() == finished["0.50"]


def need_bubblewrap():
    need_sandbox("bubblewrap")
    usable = subprocess.run(["bwrap", "--dev-bind", "/", "/", "true"], capture_output=True, text=True)
    if usable.returncode != 0:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"bubblewrap is not usable here: {usable.stderr}")


def test_masks_of_a_finished_run_can_be_read(undisturbed):
    """What the tests above call finished."""
    *_, old = undisturbed
    assert all(Masks(old).mask(name).any() for name in Masks(old))
