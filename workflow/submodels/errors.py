"""The one error a user is meant to read."""


class SubmodelsError(Exception):
    """Bad input or a machine that lacks something.

    The message names the file, key or value and says how to mend it; the command line prints it alone, without a
    traceback, and exits with status 1.
    """


def unknown(kind: str, name: str, known) -> SubmodelsError:
    """An error for a name that is not registered, listing those that are."""
    return SubmodelsError(f"unknown {kind} '{name}'; known: {', '.join(sorted(known))}")
