"""A GGUF file, quantised or not, as a base model: an ordinary Hugging Face directory, unpacked once."""

import sys
from collections import Counter
from pathlib import Path

from submodels import files, versions
from submodels.checkpoints.base import base_identity
from submodels.checkpoints.gguf import Header, converted_dtype, read_header
from submodels.errors import SubmodelsError
from submodels.products import check_replaceable
from submodels.provenance import Manifest


def convert_gguf(gguf: Path, out: Path) -> None:
    """Write the directory `out` with safetensors weights, configuration, tokenizer and a manifest.

    The manifest says under `quantised` how many tensors were stored in which type of ggml.
    """
    header = read_header(gguf)
    dtype = converted_dtype(header)
    manifest = Manifest("convert_gguf", {"version": versions.CONVERT, "dtype": dtype}, {"gguf": gguf})
    check_replaceable(out, "made")
    with files.atomic_directory(out) as temporary:
        _unpack(gguf, dtype, temporary)
        described = {"quantised": _types(header), "name": header.values.get("general.name")}
        manifest.write(temporary / "manifest.json", identity=base_identity(temporary), **described)


def _unpack(gguf: Path, dtype: str, out: Path) -> None:
    import torch
    import transformers

    given = {"gguf_file": gguf.name, "dtype": getattr(torch, dtype)}
    if hasattr(transformers, "GgufConfig"):  # older versions know only this way
        given["quantization_config"] = transformers.GgufConfig(dequantize=True)
    print(f"unpacking {gguf} to {dtype}", file=sys.stderr)
    try:
        model = transformers.AutoModelForCausalLM.from_pretrained(gguf.parent, **given)
        tokenizer = transformers.AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    except Exception as error:  # of any type: every architecture is read in its own way
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
        raise SubmodelsError(f"{gguf}: transformers cannot read it ({reason})") from error
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)


def _types(header: Header) -> dict[str, int]:
    """Type of ggml -> how many tensors have it; {} if nothing is quantised."""
    from gguf import GGMLQuantizationType

    counts = Counter(GGMLQuantizationType(tensor.type).name for tensor in header.tensors.values())
    return {} if counts.keys() <= {"F32", "F16", "BF16"} else dict(sorted(counts.items()))
