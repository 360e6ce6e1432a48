"""The model card of an exported sub-model."""

from submodels.checkpoints.masks import Masks
from submodels.terms import MASK_AND_VALUES, MASK_ONLY

_TEMPLATE = """---
base_model: {base}
library_name: transformers
pipeline_tag: text-generation
tags:
- pruning
- {method}
---

# {base}, {method} at {sparsity}

This checkpoint stores its pruned weights as zeros: it has the same size as the base model and, in ordinary dense
kernels, no speed-up.

| | |
|---|---|
| base model | {base} |
| pruning method | {method} |
| kind of product | {product} |
| sparsity pattern | {sparsity} |
| pruned weights | {pruned} of {weights} in the decoder blocks' linear layers ({share:.2%}) |
| calibration set | {calibration}{general} |
| seed of the calibration draw | {seed} |
| fingerprint of the base model | `{base_sha256}` |
| fingerprint of the calibration windows | {calibration_sha256} |

{kept} Embeddings, norms and the output head are the base model's. The base model's licence applies.{quantised}

Calibration on one domain keeps the weights that this domain uses: expect losses on other domains, and measure them
before use.
"""

_KEPT = {
    False: "Weights that were kept have exactly their values in the base model; no weight was updated.",
    True: "Weights that were kept were updated by the method, to compensate for the pruned weights.",
}


def model_card(base: str, masks: Masks, quantised: dict[str, int]) -> str:
    """Markdown card for the sub-model with these masks of the base model named `base`.

    quantised: type -> number of tensors in the quantised file that the base model was unpacked from, or {}.
    """
    header, calibration = masks.header, masks.header["calibration"]
    weights = sum(rows * columns for rows, columns in masks.shapes.values())
    kept = sum(int(masks.mask(name).sum()) for name in masks)
    return _TEMPLATE.format(
        base=base,
        method=header["method"],
        product=MASK_AND_VALUES if masks.has_values else MASK_ONLY,
        sparsity=header["sparsity"],
        weights=f"{weights:,}",
        pruned=f"{weights - kept:,}",
        share=(weights - kept) / weights,
        seed=header["seed"],
        kept=_KEPT[masks.has_values],
        quantised=_unpacked(quantised),
        base_sha256=header["base"],
        calibration=calibration["name"] if calibration else "none",
        general=f", and {header['general']['name']} for general importance" if "general" in header else "",
        calibration_sha256=f"`{calibration['sha256']}`" if calibration else "none",
    )


def _unpacked(types: dict[str, int]) -> str:
    listed = ", ".join(f"{count} of type {name}" for name, count in types.items())
    return f" The base model was unpacked from a quantised GGUF file (tensors: {listed})." if types else ""
