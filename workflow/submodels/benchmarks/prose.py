"""Prose in source files: comments and docstrings, by the lexers of Pygments; all else is code."""

from functools import cache

ENDINGS = {".py": "python", ".java": "java", ".js": "javascript", ".mjs": "javascript", ".cjs": "javascript"}
ENDINGS |= dict.fromkeys((".cpp", ".cc", ".cxx", ".hpp", ".hh", ".h"), "cpp")


def prose(text: str, language: str) -> list[bool]:
    """For each character of a program in one of `LANGUAGES`, whether it is part of a comment or docstring."""
    from pygments.token import Comment, String

    found = []
    for _, kind, value in _lexer(language).get_tokens_unprocessed(text):
        is_directive = kind in Comment.Preproc or kind in Comment.PreprocFile
        found += [kind in String.Doc or (kind in Comment and not is_directive)] * len(value)
    return found


@cache
def _lexer(language: str):
    from pygments.lexers import get_lexer_by_name

    return get_lexer_by_name(language)
