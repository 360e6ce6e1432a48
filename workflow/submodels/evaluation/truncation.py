"""Requests that are longer than the model's context: they lose their beginning, and every score says so.

As in lm-eval, but BOS stays in front, and at least half of the context is kept for the prompt: where lm-eval would
leave a prompt of a few tokens, or none, because an answer may be as long as the context, the answer gets less room.
"""

from submodels.checkpoints.base import find_context
from submodels.errors import SubmodelsError

ASSUMED = 2048  # tokens, where neither the model's configuration nor its tokenizer states a context
_NO_LIMIT = 10**9  # tokenizers state absurd lengths for none


def context_of(config, tokenizer) -> tuple[int, str | None]:
    """The context requests are cut to, in tokens, and a warning where config.json does not state it."""
    if stated := find_context(config):
        return stated, None
    length, source = getattr(tokenizer, "model_max_length", _NO_LIMIT), "model_max_length of tokenizer_config.json"
    if length >= _NO_LIMIT:
        length, source = ASSUMED, "as nothing states another length"
    return length, (
        f"config.json states no context; longer prompts and texts are cut to {length} tokens, {source} (set "
        "max_position_embeddings in config.json for another length)"
    )


def prompt_room(context: int, max_new: int) -> int:
    """The most tokens of a prompt before an answer of up to `max_new` tokens, in a context of `context` tokens."""
    return max(context - max_new, context // 2)


def keep_end(ids: list[int], room: int, bos: int | None) -> list[int]:
    """`ids`, or the last of them that fit into `room`, with BOS kept in front; SubmodelsError if no other fits."""
    if len(ids) <= room:
        return ids
    head = ids[:1] if ids[0] == bos else []
    if room <= len(head):
        raise SubmodelsError(
            f"a text to be scored leaves no room in the model's context for the {len(ids)} tokens before it; choose "
            "another model, or leave the benchmark out"
        )
    return head + ids[len(ids) - room + len(head) :]


def losses(lines: list[dict]) -> dict[str, int]:
    """Losses: `prompts`, items whose prompt lost its beginning; `answers`, samples that the context cut short."""
    return {
        "prompts": len({line["task_id"] for line in lines if line.get("truncated")}),
        "answers": sum(line.get("cut_short", False) for line in lines),
    }
