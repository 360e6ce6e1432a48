"""The one error a user is meant to read."""


class SubmodelsError(Exception):
    """Bad input or a machine that lacks something.

    The message names the file, key or value and says how to mend it; the command line prints it alone, without a
    traceback, and exits with status 1.
    """


def fetch_first(what: str, command: str) -> str:
    """What to do where something is missing that only a machine with a network can bring."""
    return (
        f"fetch {what} first, on a machine with a network (on a cluster: the login node): "
        f"`snakemake --cores 1 fetch --configfile <grid>`, or by hand `submodels {command}`"
    )


def unknown(kind: str, name: str, known) -> SubmodelsError:
    """An error for a name that is not registered, listing those that are."""
    return SubmodelsError(f"unknown {kind} '{name}'; known: {', '.join(sorted(known))}")
