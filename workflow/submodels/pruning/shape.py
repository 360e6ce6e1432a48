"""The shape of a base model: what a registry's entry says of one on the Hub, counted on the architecture alone."""

from transformers import PreTrainedConfig

from submodels.checkpoints.decoder import find_blocks
from submodels.checkpoints.tensors import empty_model
from submodels.config import ModelShape, key_width
from submodels.pruning.blocks import find_linears


def find_shape(config: PreTrainedConfig, where: str) -> ModelShape:
    """The shape of the model that a configuration makes; no weight is read. Errors begin with `where`."""
    dtype = config.dtype or "float32"  # read now: building the model writes the default into its configuration
    model = empty_model(config, where)
    model.tie_weights()
    path, blocks = find_blocks(model)
    linears = [
        linear for index, block in enumerate(blocks) for linear in find_linears(block, f"{path}.{index}").values()
    ]
    embeddings, text = model.get_input_embeddings().weight, model.config.get_text_config()
    return ModelShape(
        parameters=sum(parameter.numel() for parameter in model.parameters()),  # a tied head comes once
        prunable=sum(linear.weight.numel() for linear in linears),
        blocks=len(blocks),
        hidden=embeddings.shape[1],
        intermediate=max(linear.in_features for linear in linears),  # the projection back has the widest input
        keys=key_width(text.to_dict()),
        vocabulary=embeddings.shape[0],
        dtype=str(dtype).removeprefix("torch."),
    )
