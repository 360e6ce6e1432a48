"""Checks of the loaded model's answers."""

from collections.abc import Iterator

from submodels.doctor.subject import Finding, Subject, generated, ok, problem, warning


def check_answers(subject: Subject) -> Iterator[Finding]:
    """The model computes finite numbers, and not all of its completions are empty."""
    import torch

    with torch.inference_mode():
        ids = torch.tensor([subject.read("The answer is")], device=subject.engine.device)
        logits = subject.engine.model(ids).logits
    if not torch.isfinite(logits).all():
        yield problem(
            f"the model computes NaN or infinite values in {subject.dtype}; use bfloat16 or float32, and look for "
            "broken weights"
        )
        return
    yield ok(f"loaded in {subject.dtype} on {subject.device}, all its numbers are finite")
    samples = {name: subject.samples[name] for name in generated(subject) if name in subject.samples}
    empty = [name for name, lines in samples.items() if not any(line["completion"].strip() for line in lines)]
    if empty:
        yield warning(
            f"all completions shown are empty ({', '.join(empty)}): the model ends its answers at once; compare the "
            "prompt format and the end tokens with the model's documentation"
        )
