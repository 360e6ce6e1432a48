"""The cost of one job, from the sizes of its work and the figures of the hardware. Pure functions of plain numbers.

Units: seconds, bytes, floating-point operations. Each cost model is as simple as the work allows: operations divided by
a rate, bytes divided by a bandwidth, and a start.
"""

import math
from dataclasses import dataclass, replace

from submodels.dtypes import DTYPE_BYTES
from submodels.evaluation import batches
from submodels.evaluation.batches import CPU_TOKENS, GPU_TOKENS
from submodels.model_shape import ModelShape
from submodels.planning.hardware import Hardware, rate_of
from submodels.pruning.need import fixed_bytes, gram_bytes, whole_bytes, windows_at_once, working_bytes

LARGEST_SHARD = 5e9  # bytes of a checkpoint that are written at once
LINE_MEMORY = 2000  # bytes of a sample or an item, read
VALUE_MEMORY = 300  # of an item's scores, read
WORDS_MEMORY = 20_000  # of an item or a calibration row, by its words


@dataclass(frozen=True)
class Cost:
    """`start` and `work`: seconds. `memory`: of the host. `product`: bytes that stay; `temporary`: further bytes while
    the job runs. `plain`: size of the product as a full checkpoint, or uncompressed.
    """

    start: float = 0.0
    work: float = 0.0
    memory: float = 0.0
    device_memory: float = 0.0
    product: float = 0.0
    temporary: float = 0.0
    plain: float = 0.0

    @property
    def seconds(self) -> float:
        return self.start + self.work


def checkpoint_bytes(shape: ModelShape, hardware: Hardware) -> float:
    """A Hugging Face directory: weights, tokenizer, manifest."""
    tokenizer = shape.vocabulary * hardware.files.piece_bytes
    return shape.parameters * DTYPE_BYTES[shape.dtype] + tokenizer + hardware.files.manifest_bytes


def mask_bytes(shape: ModelShape, kept: float, *, values: bool, hardware: Hardware) -> float:
    """A sub-model: one bit a weight; with updated weights the `kept` share of them as well."""
    described = shape.blocks * hardware.files.matrices * hardware.files.parameter_bytes + hardware.files.manifest_bytes
    stored = kept * shape.prunable * DTYPE_BYTES[shape.dtype] if values else 0
    return shape.prunable / 8 + stored + described


def forward_operations(shape: ModelShape, weights: int, tokens: float, length: float) -> float:
    """Operations for `tokens`, in sequences of `length`, through `weights` and the attention of every block."""
    return tokens * (2 * weights + 4 * length * shape.hidden * shape.blocks)


def light(hardware: Hardware, *, work: float = 0.0, product: float = 0.0, memory: float = 0.0) -> Cost:
    """A stage without torch."""
    process = hardware.process
    return Cost(process.light_start, work, memory=process.light_memory + memory, product=product)


def train(shape: ModelShape, tokens: int, *, threads: int, hardware: Hardware) -> Cost:
    """Training a tiny base model on `tokens` tokens."""
    rate = hardware.cpu.flops["float32"] * hardware.training.efficiency * threads
    return Cost(
        hardware.process.torch_start,
        hardware.training.operations * shape.parameters * tokens / rate,
        memory=hardware.process.torch_memory + 32 * shape.parameters,
        product=checkpoint_bytes(shape, hardware),
    )


def fetch(size: float, *, hardware: Hardware) -> Cost:
    """A download of `size` bytes."""
    return light(hardware, work=size / hardware.network, product=size)


def convert(shape: ModelShape, hardware: Hardware) -> Cost:
    """A GGUF file unpacked: transformers holds every weight as float32 and in the type that is written."""
    size = checkpoint_bytes(shape, hardware)
    return Cost(
        hardware.process.torch_start,
        shape.parameters / hardware.files.unpacked + size / hardware.disk.read,
        memory=hardware.process.torch_memory + 6 * shape.parameters,
        product=size,
    )


def calibrate(windows: int, seqlen: int, *, padded: bool, rows: float = 0.0, hardware: Hardware) -> Cost:
    """Windows of int64 token ids and, if padded, an attention mask of the same size; rows: bytes of the set's file."""
    size = windows * seqlen * 8 * (2 if padded else 1)
    work = windows * seqlen / hardware.analysis.tokenised
    return light(hardware, work=work, product=size + hardware.files.manifest_bytes, memory=4 * size + 3 * rows)


def prune(
    shape: ModelShape,
    *,
    windows: int,
    seqlen: int,
    filled: float,
    batch_size: int,
    kept: float,
    solves: bool,
    values: bool,
    dtype: str,
    device: str,
    offload: bool,
    threads: int,
    hardware: Hardware,
) -> Cost:
    """Two forward passes over the windows, of which the share `filled` are tokens, reading, and sorting all scores.

    windows: 0 for a method without data. solves: SparseGPT's Gram matrices, their inverses and its walk over columns.
    dtype: of the computation; the checkpoint is read, and values are written, in the checkpoint's dtype.
    """
    machine, size = hardware.machine(device), DTYPE_BYTES[dtype]
    on_gpu = device != "cpu"
    cores = 1 if on_gpu else threads
    rate = machine.flops[dtype] * cores
    tokens = windows * seqlen * filled
    batches = math.ceil(windows / batch_size)
    block, matrix = shape.prunable // shape.blocks, shape.hidden * shape.intermediate
    inputs = [*[shape.hidden] * 6, shape.intermediate]  # of a block's linear layers
    work = 2 * forward_operations(shape, shape.prunable, tokens, seqlen * filled) / rate
    work += 2 * batches * shape.blocks * machine.block_seconds
    work += shape.parameters * DTYPE_BYTES[shape.dtype] / hardware.disk.read + shape.prunable / (machine.sorted * cores)
    fixed = fixed_bytes(size, embeddings=shape.vocabulary * shape.hidden, block=block, matrix=matrix)
    if solves:
        work += shape.blocks * sum(2 * tokens * columns**2 + 2 * columns**3 for columns in inputs) / rate
        work += 2 * shape.prunable * shape.hidden / rate + shape.blocks * sum(inputs) / machine.columns
        fixed += gram_bytes(inputs)
    hidden = windows * seqlen * (shape.hidden * size + seqlen)
    working = min(batch_size, windows) * working_bytes(size, seqlen, hidden=shape.hidden, widest=shape.intermediate)
    host = hardware.process.torch_memory + machine.host_memory + (2 * block * size if on_gpu else fixed + working)
    return Cost(
        hardware.process.torch_start + machine.start,
        work,
        memory=host + (hidden if offload or not on_gpu else 0),
        device_memory=fixed + working + (0 if offload else hidden) if on_gpu else 0,
        product=mask_bytes(shape, kept, values=values, hardware=hardware),
        temporary=shape.prunable / 8 if values else 0,
        plain=checkpoint_bytes(shape, hardware),
    )


def prune_whole(
    shape: ModelShape,
    one_shot: Cost,
    *,
    tokens: float,
    length: float,
    padded: int,
    windows: int,
    state: float,
    saved: float,
    held: float,
    logits: float,
    dtype: str,
    device: str,
    threads: int,
    hardware: Hardware,
) -> Cost:
    """A method with gradients: a one-shot method first, then `tokens` through the whole model, `windows` of `length` at
    once. A backward pass takes twice the operations of a forward pass, and computes every block again.

    padded: `length` with padding, which takes memory. state, saved, held: bytes for every prunable weight, in memory,
    in the file that a killed job continues from, and in memory during the one-shot method. logits: trained in each
    step for every prunable weight; 0 if none.
    """
    machine, size = hardware.machine(device), DTYPE_BYTES[dtype]
    on_gpu, head = device != "cpu", shape.vocabulary * shape.hidden
    cores = 1 if on_gpu else threads
    steps, at_once = tokens / (windows * length), windows_at_once(padded, windows)
    work = forward_operations(shape, 4 * shape.prunable + 3 * head, tokens, 4 * length) / (machine.flops[dtype] * cores)
    work += 4 * steps * (windows / at_once) * shape.blocks * machine.block_seconds
    work += steps * logits * shape.prunable / (machine.relaxed * cores)
    need = whole_bytes(
        size,
        state,
        weights=shape.parameters,
        prunable=shape.prunable,
        matrix=shape.hidden * shape.intermediate,
        blocks=shape.blocks,
        length=padded * at_once,
        hidden=shape.hidden,
        widest=shape.intermediate,
        vocabulary=shape.vocabulary,
    )
    host = hardware.process.torch_memory + machine.host_memory
    held, saved = held * shape.prunable, saved * shape.prunable
    return replace(
        one_shot,
        work=one_shot.work + work,
        memory=max(one_shot.memory + (0 if on_gpu else held), host + (saved if on_gpu else need)),
        device_memory=max(one_shot.device_memory + held, need) if on_gpu else 0,
        temporary=2 * saved,  # a new state is complete before the old one goes
    )


def export(shape: ModelShape, hardware: Hardware) -> Cost:
    """A checkpoint read, masked and written."""
    size = checkpoint_bytes(shape, hardware)
    return Cost(
        hardware.process.torch_start,
        2 * size / hardware.disk.read,
        memory=hardware.process.torch_memory + 2 * min(size, LARGEST_SHARD),
        product=size,
    )


@dataclass(frozen=True)
class Asked:
    """The size of one benchmark: `items` (after `limit`), `samples` of each, tokens `read` for an item (its prompt, or
    every choice with its question) and `written` for a sample; at most `longest` new tokens, 0 where nothing is
    generated. `draws`: whether samples are drawn. `scored`: the share of the tokens read that is scored.
    """

    items: int
    samples: int
    read: float
    written: float
    longest: int
    draws: bool = False
    scored: float = 0

    @property
    def lines(self) -> int:
        return self.items * self.samples

    @property
    def answers(self) -> float:
        """Tokens of all samples."""
        return self.lines * self.written


def written_bytes(shape: ModelShape, length: float, size: int) -> float:
    """Bytes of one text while it is generated (evaluation/batches.py)."""
    keys = shape.keys or shape.hidden
    return batches.written_bytes(size, length, blocks=shape.blocks, keys=keys, vocabulary=shape.vocabulary)


def scored_bytes(shape: ModelShape, length: float, size: int, *, on_cpu: bool) -> float:
    """Bytes for scoring texts, the longest of `length` tokens (evaluation/batches.py)."""
    keys = shape.keys or shape.hidden
    return batches.scored_bytes(size, length, on_cpu=on_cpu, hidden=shape.hidden, keys=keys, widest=shape.intermediate)


def answer(
    shape: ModelShape,
    asked: Asked,
    *,
    batch_size: int,
    dtype: str,
    device: str,
    backend: str,
    threads: int,
    hardware: Hardware,
) -> Cost:
    """One benchmark: prompts read once, then steps of a batch that stays full until the last texts end.

    A step multiplies by every weight for each row, reads weights and cache from memory, and draws. Of texts that are
    scored, the share `asked.scored` of the tokens goes through the head. Only `work`, `device_memory` (of the batch)
    and the files count here; `generate` adds the model.
    """
    machine, size, evaluation = hardware.machine(device), DTYPE_BYTES[dtype], hardware.evaluation
    on_cpu, head = device == "cpu", shape.vocabulary * shape.hidden
    cores = threads if on_cpu else 1
    rate, bandwidth = machine.flops[dtype] * cores, machine.bandwidth * cores
    tokens, length = asked.items * asked.read, asked.read + asked.longest
    work = forward_operations(shape, shape.prunable, tokens, asked.read) / rate
    work += math.ceil(tokens / (CPU_TOKENS if on_cpu else GPU_TOKENS)) * shape.blocks * machine.block_seconds
    work += asked.lines * evaluation.request_seconds
    if asked.longest:
        steps = asked.answers / batch_size + asked.longest
        cache = 2 * shape.blocks * (shape.keys or shape.hidden) * (asked.read + asked.written / 2) * size
        reading = steps * (shape.prunable + head) * size + asked.answers * cache
        work += steps * shape.blocks * machine.block_seconds + reading / bandwidth
        work += forward_operations(shape, shape.prunable + head, asked.answers, length) / (rate * machine.thin)
        drawing = shape.vocabulary / (machine.sorted * cores) if asked.draws else 0
        work += asked.answers * (evaluation.token_seconds + drawing)
        work /= evaluation.vllm_speed if backend == "vllm" else 1
        memory = min(batch_size, asked.lines) * written_bytes(shape, length, size)
    else:
        work += 2 * head * tokens * asked.scored / rate
        memory = scored_bytes(shape, asked.read, size, on_cpu=on_cpu)
    plain = asked.answers * hardware.files.token_bytes + asked.lines * hardware.files.line_bytes
    return Cost(
        work=work,
        device_memory=memory,
        product=plain / hardware.files.compression + hardware.files.manifest_bytes,
        temporary=plain,
        plain=plain + hardware.files.manifest_bytes,
    )


def generate(
    shape: ModelShape,
    benchmarks: list[Cost],
    *,
    dtype: str,
    device: str,
    backend: str,
    masked: bool,
    hardware: Hardware,
) -> Cost:
    """A model loaded once for all benchmarks; `masked`: a sub-model, which backend vllm needs as a checkpoint.

    On a CPU the head is packed, which a tied model has besides its embeddings.
    """
    machine = hardware.machine(device)
    weights, batch = shape.parameters * DTYPE_BYTES[dtype], max((cost.device_memory for cost in benchmarks), default=0)
    on_gpu, stored = device != "cpu", checkpoint_bytes(shape, hardware)
    head = shape.vocabulary * shape.hidden * DTYPE_BYTES[dtype]
    scratch = stored if backend == "vllm" and masked else 0
    return Cost(
        hardware.process.torch_start + machine.start,
        sum(cost.work for cost in benchmarks) + (stored + 2 * scratch) / hardware.disk.read,
        memory=hardware.process.torch_memory + machine.host_memory + weights + (0 if on_gpu else batch + head),
        device_memory=min(weights + batch, machine.memory) if on_gpu else 0,
        product=sum(cost.product for cost in benchmarks),
        temporary=max((cost.temporary for cost in benchmarks), default=0) + scratch,
        plain=sum(cost.plain for cost in benchmarks),
    )


def execute(
    benchmarks: list[tuple[Asked, str]], *, timeout: float, memory: float, threads: int, hardware: Hardware
) -> Cost:
    """Programs of each benchmark, in its language, run against their tests; some hang until the time limit."""
    evaluation, written = hardware.evaluation, hardware.files
    work = plain = 0.0
    for asked, language in benchmarks:
        work += asked.lines * (1 / rate_of(evaluation.programs, language) + evaluation.hanging * timeout) / threads
        plain += asked.answers * written.token_bytes + 1.3 * asked.lines * written.line_bytes  # with their verdicts
    manifests = len(benchmarks) * written.manifest_bytes
    cost = light(
        hardware,
        work=work,
        product=plain / written.compression + manifests,
        memory=evaluation.sandbox_memory + threads * memory,
    )
    return replace(cost, plain=plain + manifests)


def score(
    benchmarks: list[tuple[Asked, str, int]], *, submodels: int, resamples: int, threads: int, hardware: Hardware
) -> Cost:
    """Samples of every sub-model, and the bootstrap over items, for each (benchmark, its scorer, number of metrics)."""
    evaluation, written = hardware.evaluation, hardware.files
    work = product = memory = 0.0
    for asked, scorer, metrics in benchmarks:
        drawn = metrics * resamples * asked.items / evaluation.resampled
        work += submodels * (asked.lines / rate_of(evaluation.scored, scorer) + drawn) / threads
        product += submodels * (written.score_bytes + asked.items * metrics * written.item_score_bytes)
        values = submodels * asked.items * metrics * VALUE_MEMORY
        memory = max(memory, threads * (8 * resamples * asked.items + asked.lines * LINE_MEMORY) + values)
    return light(hardware, work=work, product=product, memory=memory)


def search(items: int, rows: int, hardware: Hardware) -> Cost:
    """Search for items of benchmarks in calibration rows, word by word."""
    return Cost(
        work=(items + rows) / hardware.analysis.searched,
        memory=hardware.process.light_memory + WORDS_MEMORY * (items + rows),
    )


def overlap(shape: ModelShape, submodels: int, alike: int, hardware: Hardware) -> Cost:
    """Bits of every pair of masks compared; a row for each pair, and for the `alike` pairs, of one method and sparsity,
    another row for each block and each kind of matrix."""
    pairs = submodels * (submodels - 1) // 2
    rows = pairs + alike * (shape.blocks + hardware.files.matrices)
    work = (pairs / hardware.analysis.compared + submodels / hardware.disk.read) * shape.prunable / 8
    product = rows * hardware.files.pair_bytes
    return light(hardware, work=work, product=product, memory=submodels * shape.hidden * shape.intermediate / 8)
