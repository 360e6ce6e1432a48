"""The tiny world: a synthetic multi-domain corpus, its benchmarks, and tiny base models trained on it.

A base model is asked in exactly the form it was trained on. A document of a domain is the benchmark's prompt followed
by its completion; `PROMPTS` holds the prompt of each kind of benchmark as a jinja template over the item's fields:

    kind         domains                        prompt, then completion (then the end-of-text token)
    code         python java cpp javascript     the item's `prompt` (comment or docstring and signature, ends with a
                                                newline), then the function's body
    math         math                           "Question: {question}\\nAnswer:" then " {answer}", last line "#### n"
    translation  translation                    "English: {source}\\nFrench:" then " {target}"
    csr          csr                            the item's `query`, then " {choice}" for each choice

No prompt ends with a space: the tokenizer binds a space to the word after it.
"""

PROMPTS = {
    "code": "{{prompt}}",
    "math": "Question: {{question}}\nAnswer:",
    "translation": "English: {{source}}\nFrench:",
    "csr": "{{query}}",
}
