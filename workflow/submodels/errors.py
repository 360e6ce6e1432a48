"""The error that is meant for users."""


class SubmodelsError(Exception):
    """Bad input or a machine that lacks something.

    The message names the file, key or value and says how to fix it; the command line prints only the message,
    without a traceback, and exits with status 1.
    """


def fetch_first(what: str, command: str) -> str:
    """Advice for a missing file that must be downloaded on a machine with a network."""
    return (
        f"fetch {what} first, on a machine with a network (on a cluster: the login node): "
        f"`snakemake --cores 1 fetch --configfile <grid>`, or by hand `submodels {command}`"
    )


def unknown(kind: str, name: str, known) -> SubmodelsError:
    """An error for a name that is not registered; it lists the registered names."""
    return SubmodelsError(f"unknown {kind} '{name}'; known: {', '.join(sorted(known))}")
