"""Prose in source files: comments and docstrings, by the lexers of Pygments; all else is code."""

from functools import cache

ENDINGS = {".py": "python", ".java": "java", ".js": "javascript", ".mjs": "javascript", ".cjs": "javascript"}
ENDINGS |= dict.fromkeys((".cpp", ".cc", ".cxx", ".hpp", ".hh", ".h"), "cpp")


def prose(text: str, language: str) -> list[bool]:
    """For each character of a program in one of `LANGUAGES`, whether it is part of a comment or docstring."""
    from pygments.token import Comment, String

    found = []
    for _, kind, value in _lexer(language).get_tokens_unprocessed(text):
        is_prose = (kind in Comment and kind not in Comment.Preproc) or kind in String.Doc
        is_prose &= kind not in Comment.PreprocFile
        found += [is_prose] * len(value)
    return found


@cache
def _lexer(language: str):
    from pygments.lexers import get_lexer_by_name

    return get_lexer_by_name(language)
