"""The registry of checks: functions from a `Subject` to findings, in the order in which they are shown."""

from collections.abc import Callable, Iterator

from submodels.doctor import answers, machine, model_files, prompts
from submodels.doctor.subject import Finding, Subject

CHECKS: dict[str, Callable[[Subject], Iterator[Finding]]] = {
    "toolchains": machine.check_toolchains,
    "sandbox": machine.check_sandbox,
    "canonical": machine.check_canonical,
    "weights": model_files.check_weights,
    "memory": machine.check_memory,
    "tokenizer": model_files.check_tokenizer,
    "vocabulary": model_files.check_vocabulary,
    "bos": prompts.check_bos,
    "template": prompts.check_template,
    "end": model_files.check_end,
    "stops": prompts.check_stops,
    "context": prompts.check_context,
    "answers": answers.check_answers,
}
