"""A table as files: .csv as data, .md and .tex (booktabs) to read."""

from pathlib import Path

import pandas as pd

from submodels import files
from submodels.errors import SubmodelsError
from submodels.layout import TABLE_NAMES

_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "{": r"\{",
        "}": r"\}",
        "&": r"\&",
        "%": r"\%",
        "$": r"\$",
        "#": r"\#",
        "_": r"\_",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "−": r"$-$",
        "≈": r"$\approx$",
        "→": r"$\rightarrow$",
        "\n": " ",
    }
)
_MARKDOWN = str.maketrans(
    {"\\": "\\\\", "|": "\\|", "<": "&lt;", ">": "&gt;", "*": "\\*", "_": "\\_", "`": "\\`", "\n": " "}
)


def write_table(directory: Path, name: str, frame: pd.DataFrame, shown: pd.DataFrame, caption: str) -> None:
    """Write `frame` as <name>.csv and `shown`, cells as text, as <name>.md and <name>.tex (booktabs)."""
    files.write_text(directory / f"{name}.csv", frame.to_csv(index=False, lineterminator="\n"))
    files.write_text(directory / f"{name}.md", markdown(shown, caption))
    files.write_text(directory / f"{name}.tex", latex(shown, caption, name))


def read_tables(directory: Path) -> dict[str, pd.DataFrame]:
    """Every table that `tabulate` wrote into a directory, by name."""
    return {name: read_table(tabulated(directory, f"{name}.csv")) for name in TABLE_NAMES}


def tabulated(directory: Path, name: str) -> Path:
    """A file that `tabulate` wrote; SubmodelsError if it does not exist."""
    path = Path(directory) / name
    if not path.is_file():
        raise SubmodelsError(f"{path}: no such file; run `submodels tabulate` first")
    return path


def read_table(path: Path) -> pd.DataFrame:
    """A table as `write_table` wrote it; ids and sparsities stay text (`0.50` is a name, not a number)."""
    names = ["sparsity", "model", "submodel", "calibration", "calibration_size", "method", "a", "b"]
    return pd.read_csv(path, dtype=dict.fromkeys(names, str), keep_default_na=False, na_values=[""])


def markdown(shown: pd.DataFrame, caption: str) -> str:
    """A pipe table under its caption; every cell is escaped."""
    lines = [[_escape(name, _MARKDOWN) for name in shown.columns], ["---"] * len(shown.columns)]
    lines += [[_escape(value, _MARKDOWN) for value in row] for row in shown.itertuples(index=False)]
    return f"{_escape(caption, _MARKDOWN)}\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)


def latex(shown: pd.DataFrame, caption: str, label: str) -> str:
    """A booktabs table; every cell is escaped. Needs \\usepackage{booktabs}."""
    head = " & ".join(_escape(name, _LATEX) for name in shown.columns)
    body = "".join(
        " & ".join(_escape(value, _LATEX) for value in row) + " \\\\\n" for row in shown.itertuples(index=False)
    )
    return (
        "\\begin{table}\n\\centering\n"
        f"\\caption{{{_escape(caption, _LATEX)}}}\n\\label{{tab:{label}}}\n"
        f"\\begin{{tabular}}{{{'l' * len(shown.columns)}}}\n\\toprule\n{head} \\\\\n\\midrule\n{body}"
        "\\bottomrule\n\\end{tabular}\n\\end{table}\n"
    )


def _escape(value, table: dict[int, str]) -> str:
    return "" if value is None or value != value else str(value).translate(table)
