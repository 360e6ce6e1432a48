"""Train a tiny base model on a world: a real Hugging Face directory, made in a few minutes on one CPU core.

Training is made cheap by four choices: Muon for the matrices of the blocks, documents that do not see each other
though packed into one window, a loss that is mostly about completions, and bfloat16 where the CPU multiplies it fast.
"""

from pathlib import Path

import numpy as np
import torch
from torch.nn import functional
from tqdm import tqdm
from transformers import GemmaConfig, GemmaForCausalLM, GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedModel

from submodels import defaults, files, versions
from submodels.checkpoints.base import base_identity
from submodels.errors import SubmodelsError, unknown
from submodels.products import take_over
from submodels.provenance import Manifest
from submodels.world.muon import Muon
from submodels.world.shape import BATCH, PIECES, SHAPE, WINDOW
from submodels.world.tokenizer import train_tokenizer

# Gemma multiplies its embeddings by sqrt(hidden_size) itself; Llama gets entries of the same order from the start.
EMBEDDING_SCALE = {"llama": 10.0, "gemma": 1.0}
ARCHITECTURES = {
    "llama": (LlamaForCausalLM, LlamaConfig, {"tie_word_embeddings": False}),
    "gemma": (GemmaForCausalLM, GemmaConfig, {"tie_word_embeddings": True, "hidden_activation": "gelu_pytorch_tanh"}),
}
RECIPE = {
    "pieces": PIECES,
    "window": WINDOW,
    "batch": BATCH,
    "warmup": 20,
    "muon_rate": 0.015,
    "adam_rate": 0.005,
    "prompt_weight": 0.1,
}


def learning_rate(step: int, steps: int, warmup: int) -> float:
    """Share of the peak learning rate at `step` (from 0): linear warm-up, then linear towards zero."""
    return min((step + 1) / warmup, (steps - step) / max(steps - warmup, 1))


def pack(documents: list[np.ndarray], tokens: int, seed: int) -> np.ndarray:
    """The first `tokens` tokens of the documents one after another, in a new random order for every pass over them.

    `documents`: arrays [length, ...] of one dtype; returns [tokens, ...].
    """
    generator = np.random.default_rng(seed)
    parts, length = [], 0
    while length < tokens:
        for index in generator.permutation(len(documents)):
            parts.append(documents[index])
            length += len(documents[index])
    return np.concatenate(parts)[:tokens]


def document_mask(tokens: torch.Tensor, bos: int, dtype: torch.dtype) -> torch.Tensor:
    """Additive causal attention mask that keeps documents apart: 0 where a query sees a key, else the lowest number.

    `tokens` int64 [batch, length]; a document starts at each `bos`. Returns `dtype` [batch, 1, length, length].
    """
    document = (tokens == bos).cumsum(dim=1)
    length = tokens.shape[1]
    seen = (document[:, :, None] == document[:, None, :]) & torch.ones(length, length, dtype=torch.bool).tril()
    return torch.zeros(seen.shape, dtype=dtype).masked_fill(~seen, torch.finfo(dtype).min)[:, None]


def completion_loss(logits: torch.Tensor, tokens: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Weighted mean cross-entropy of the next token, in float32 nats.

    `logits` [batch, length, pieces]; `tokens` int64 and `weights` float32 [batch, length], the weight of predicting
    that token.
    """
    pieces = logits.shape[-1]
    losses = functional.cross_entropy(
        logits[:, :-1].reshape(-1, pieces).float(), tokens[:, 1:].reshape(-1), reduction="none"
    )
    weights = weights[:, 1:].reshape(-1)
    return (losses * weights).sum() / weights.sum()


def build_model(architecture: str, tokenizer, seed: int) -> PreTrainedModel:
    """A model with random weights; the global random state stays as it was."""
    model_class, config_class, extra = ARCHITECTURES[architecture]
    special = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    config = config_class(vocab_size=len(tokenizer), **SHAPE, **extra, **special)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = model_class(config)
    with torch.no_grad():
        model.get_input_embeddings().weight.mul_(EMBEDDING_SCALE[architecture])
    return model


def build_optimizers(model: PreTrainedModel, muon_rate: float, adam_rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the decoder blocks, AdamW for embeddings, head and norms."""
    matrices = {name: p for name, p in model.named_parameters() if p.ndim == 2 and ".layers." in name}
    others = [p for name, p in model.named_parameters() if name not in matrices]
    return [
        Muon(matrices.values(), lr=muon_rate, dtype=fast_dtype()),
        torch.optim.AdamW(others, lr=adam_rate, betas=(0.9, 0.95), weight_decay=0.0, fused=True),
    ]


def fast_dtype() -> torch.dtype:
    """bfloat16 where this CPU has instructions for it, else float32."""
    return torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else torch.float32


def encode_documents(rows: list[dict], tokenizer) -> list[np.ndarray]:
    """Each document as [length, 2]: token, and whether it belongs to the completion (the end of text does)."""
    prompts = tokenizer([row["prompt"] for row in rows])["input_ids"]
    texts = tokenizer([row["text"] for row in rows])["input_ids"]
    documents = []
    for prompt, text in zip(prompts, texts, strict=True):
        tokens = np.array([*text, tokenizer.eos_token_id])
        documents.append(np.stack([tokens, np.arange(len(tokens)) >= len(prompt)], axis=1))
    return documents


def train(
    corpus: Path,
    architecture: str,
    out: Path,
    seed: int = 0,
    threads: int | None = None,
    steps: int = defaults.STEPS,
    domains: list[str] | None = None,
) -> list[float]:
    """Train a model of `architecture` on `corpus`, a world's train.jsonl; write it with its tokenizer to `out`.

    `threads`: CPU threads, None for torch's own choice. Equal seed and threads give equal weights on one machine.
    `domains`: train on the documents of these domains alone; the tokenizer is that of the whole corpus in any case, so
    that models differ only in their training. Returns the loss of every step.
    """
    if architecture not in ARCHITECTURES:
        raise unknown("architecture", architecture, ARCHITECTURES)
    corpus, out = Path(corpus), Path(out)
    rows = files.read_jsonl(corpus)
    for number, row in enumerate(rows, start=1):
        if missing := {"domain", "prompt", "text"} - row.keys():
            raise SubmodelsError(f"{corpus}, line {number}: no '{min(missing)}'; write the world again")
    known = dict.fromkeys(row["domain"] for row in rows)
    for domain in domains or ():
        if domain not in known:
            raise unknown(f"domain of {corpus}", domain, known)
    if threads:
        torch.set_num_threads(threads)
    parameters = {"version": versions.TRAIN, "architecture": architecture, "seed": seed, "steps": steps}
    parameters |= {"domains": sorted(domains)} if domains else {}
    manifest = Manifest("train", parameters | RECIPE | {"shape": SHAPE}, {"corpus": corpus})
    if taken := take_over(manifest, out / "manifest.json"):
        return taken["results"]["loss"]

    tokenizer = train_tokenizer((row["text"] for row in rows), RECIPE["pieces"])
    size = (steps, RECIPE["batch"], RECIPE["window"])
    trained_on = [row for row in rows if domains is None or row["domain"] in domains]
    packed = torch.from_numpy(pack(encode_documents(trained_on, tokenizer), int(np.prod(size)), seed))
    tokens, completion = (packed[:, column].reshape(size) for column in (0, 1))
    weights = torch.where(completion.bool(), 1.0, RECIPE["prompt_weight"])
    model = build_model(architecture, tokenizer, seed)
    losses = _fit(model, tokens, weights, tokenizer.bos_token_id)

    model.generation_config = GenerationConfig(
        do_sample=False,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    manifest.write(
        out / "manifest.json",
        sorted(path for path in out.glob("[!.]*") if path.name != "manifest.json"),
        identity=base_identity(out),
        parameters=sum(p.numel() for p in model.parameters()),
        dtype=str(fast_dtype()).removeprefix("torch."),
        threads=torch.get_num_threads(),
        loss=[round(loss, 4) for loss in losses],
    )
    return losses


def _fit(model: PreTrainedModel, tokens: torch.Tensor, weights: torch.Tensor, bos: int) -> list[float]:
    """Train on windows [steps, batch, length]; returns the loss of every step."""
    # On a CPU the plain products of eager attention train faster than the fused kernel's backward pass.
    chosen = model.config._attn_implementation
    model.set_attn_implementation("eager")
    model.train()
    dtype = fast_dtype()
    optimizers = build_optimizers(model, RECIPE["muon_rate"], RECIPE["adam_rate"])
    schedules = [
        torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate(step, len(tokens), RECIPE["warmup"]))
        for optimizer in optimizers
    ]
    losses = []
    for batch, batch_weights in tqdm(zip(tokens, weights, strict=True), total=len(tokens), desc="train", unit="step"):
        mask = document_mask(batch, bos, dtype)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype is torch.bfloat16):
            logits = model(input_ids=batch, attention_mask=mask, use_cache=False).logits
        loss = completion_loss(logits, batch, batch_weights)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, schedule in zip(optimizers, schedules, strict=True):
            optimizer.step()
            schedule.step()
            optimizer.zero_grad(set_to_none=True)
        losses.append(loss.item())
    model.set_attn_implementation(chosen)
    return losses
