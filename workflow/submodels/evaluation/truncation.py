"""What becomes of a request that the model's context does not hold: its beginning goes, and every score says so.

As in lm-eval, but BOS stays in front, and a prompt never loses more than the half of the context: where lm-eval would
leave a prompt of a few tokens, or none, because an answer may be as long as the context, the answer gets less room.
"""

from submodels.checkpoints.base import find_context
from submodels.errors import SubmodelsError

ASSUMED = 2048  # tokens, where neither the model's configuration nor its tokenizer states a context
_NO_LIMIT = 10**9  # tokenizers state absurd lengths for none


def context_of(config, tokenizer) -> tuple[int, str | None]:
    """The context requests are cut to, in tokens, and what to say where config.json does not state it."""
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
    """The most tokens of a prompt that an answer of up to `max_new` tokens may follow, in a context of so many."""
    return max(context - max_new, context // 2)


def keep_end(ids: list[int], room: int, bos: int | None) -> list[int]:
    """`ids`, or as many of the last ones as there is room for, BOS first if it was; SubmodelsError if none fits."""
    if len(ids) <= room:
        return ids
    head = ids[:1] if ids[0] == bos else []
    if room <= len(head):
        raise SubmodelsError(
            f"a text to be scored leaves nothing of the {len(ids)} tokens before it in the model's context; choose "
            "another model, or leave the benchmark out"
        )
    return head + ids[len(ids) - room + len(head) :]


def losses(lines: list[dict]) -> dict[str, int]:
    """What samples lost: `prompts`, items whose prompt lost its beginning; `answers`, samples the context cut short."""
    return {
        "prompts": len({line["task_id"] for line in lines if line.get("truncated")}),
        "answers": sum(line.get("cut_short", False) for line in lines),
    }
