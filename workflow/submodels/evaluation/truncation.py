"""What becomes of a request that the model's context does not hold: its beginning goes, and every score says so.

As in lm-eval, but BOS stays in front, and a prompt never loses more than the half of the context: where lm-eval would
leave a prompt of a few tokens, or none, because an answer may be as long as the context, the answer gets less room.
"""

from submodels.errors import SubmodelsError


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
