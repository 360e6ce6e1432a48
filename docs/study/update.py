"""The study's data. `python docs/study/update.py laptop ...` takes scores, distances and manifests of results/laptop/;
in any case, tables and figures are made again of what is here.

A manifest is taken without its list of modules, distances without the pairs that no table reads, and of the tables and
figures only the data and the pictures are kept. Two questions have a table or a figure of their own, beside those of
the workflow: `training_diversity`, `rows_by_draw`.
"""

import shutil
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from submodels import files
from submodels.analysis import perplexities
from submodels.analysis.draw_figures import draw_figures, write_figure
from submodels.analysis.figures.shared import MATCHED, STYLE, UNMATCHED, legend, title_figure
from submodels.analysis.study import Study, load_study
from submodels.analysis.tables.bits_per_byte import PARTS, benchmarks_of
from submodels.analysis.tabulate import tabulate
from submodels.bootstrap import stratified_bootstrap
from submodels.terms import DENSE

HERE = Path(__file__).resolve().parent


def take(results: Path, out: Path) -> None:
    """Copy what `make` needs from the tree of a finished grid."""
    if not (results / "report/index.html").is_file():
        sys.exit(f"{results}: no report; run the grid first, and this script in the repository's root")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    shutil.copy(results / "grid.json", out)
    submodels = files.read_json(results / "grid.json")["submodels"]
    for pattern in ("scores/*/*.json", "overlap/*.csv", "submodels/*/*/manifest.json"):
        for path in results.glob(pattern):
            to = out / path.relative_to(results)
            to.parent.mkdir(parents=True, exist_ok=True)
            if path.name == "manifest.json":
                manifest = files.read_json(path)
                manifest["results"].pop("modules", None)
                files.write_json(to, manifest)
            elif path.suffix == ".csv":
                files.write_text(to, compared(path, submodels))
            else:
                shutil.copy(path, to)


def compared(overlap: Path, submodels: dict[str, dict]) -> str:
    """The rows of an overlap file between sub-models of one setting: tables compare no others."""
    rows = pd.read_csv(overlap, dtype=str, keep_default_na=False)
    a, b = ([Study.setting(submodels[id]) for id in rows[side]] for side in ("a", "b"))
    same = [first == second for first, second in zip(a, b, strict=True)]
    return rows[same].to_csv(index=False, lineterminator="\n")


def make(study: Path, out: Path) -> None:
    """Write tables (CSV) and figures (SVG, CSV) of a grid's data in the directory `study` to `out`.

    The twelve models of `diversity` are one question: it has a table of them all, and no figures of each.
    """
    grid, scores = study / "grid.json", sorted(study.glob("scores/*/*.json"))
    overlaps = sorted(study.glob("overlap/*.csv"))
    loaded = load_study(scores, overlaps, grid)
    name = loaded.grid["name"]
    with tempfile.TemporaryDirectory() as temporary:
        made = Path(temporary)
        tabulate(scores, overlaps, grid, study / "submodels", made / "tables")
        if name == "diversity":
            table = training_diversity(loaded)
            files.write_text(made / "tables/training_diversity.csv", table.to_csv(index=False, lineterminator="\n"))
        else:
            draw_figures(made / "tables", grid, made / "figures")
        if name == "laptop_rows":
            table = rows_by_draw(loaded)
            with plt.rc_context(STYLE):
                write_figure(made / "figures/rows", draw_rows(table), table)
        for path in sorted(made.glob("*/*")):
            if path.suffix in (".csv", ".svg"):
                to = out / path.relative_to(made)
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, to)


def training_diversity(study: Study) -> pd.DataFrame:
    """Accuracy lost by pruning, of models trained on everything and of models trained on code alone.

    One row for each architecture, method and sparsity. Accuracies and losses (dense minus pruned, all calibration sets
    together) are means over the benchmarks and over the models of a kind, which differ in the seed of their training.
    difference: the loss of the models trained on everything minus that of the others; below zero, diversity helps.

    low, high: the interval of the difference over trainings: the models of each kind are drawn anew. Trainings are what
    the question is about, but few of them make this interval too narrow: for three of each kind and normal noise it
    holds the truth in about 80 of 100 cases, not in 95. items_low, items_high: the interval over items, the same items
    for all models, with the models as they are.
    """
    specs = study.grid["config"]["models"]
    rows = []
    for architecture in dict.fromkeys(spec["tiny_world"] for spec in specs.values()):
        models = [name for name, spec in specs.items() if spec["tiny_world"] == architecture]
        kinds = [[name for name in models if specs[name]["domains"] is None]]
        kinds.append([name for name in models if specs[name]["domains"] is not None])
        dense = [_accuracies(study, kind, [DENSE]) for kind in kinds]
        groups: dict[tuple[str, str], list[str]] = {}
        for id, entry in study.submodels(models[0]).items():
            groups.setdefault((entry["method"], entry["sparsity"]), []).append(id)
        for (method, sparsity), ids in groups.items():
            lost = [
                [before - after for before, after in zip(of_dense, _accuracies(study, kind, ids), strict=True)]
                for of_dense, kind in zip(dense, kinds, strict=True)
            ]
            trainings = [np.mean([items.mean(axis=0) for items in kind], axis=0)[:, None] for kind in lost]
            interval = stratified_bootstrap(trainings, statistic=_first_minus_second, **asdict(study.resampling))
            over_items = stratified_bootstrap(
                [(a.mean(axis=1) - b.mean(axis=1))[:, None] for a, b in zip(*lost, strict=True)],
                **asdict(study.resampling),
            )
            row = {"architecture": architecture, "method": method, "sparsity": sparsity}
            for name, of_dense, of_kind in zip(("everything", "code"), dense, trainings, strict=True):
                row |= {f"dense_{name}": np.mean([items.mean() for items in of_dense]), f"lost_{name}": of_kind.mean()}
            row |= {"difference": interval.value, "low": interval.low, "high": interval.high}
            row |= {"items_low": over_items.low, "items_high": over_items.high}
            rows.append(row | {"n_models": len(models), "n_items": sum(map(len, lost[0]))})
    return pd.DataFrame(rows)


def _accuracies(study: Study, models: list[str], ids: list[str]) -> list[np.ndarray]:
    """Of every benchmark, the accuracy [items, models], mean over the sub-models `ids`."""
    return [np.stack([study.items(model, ids, name) for model in models], axis=1) for name in study.accuracies]


def _first_minus_second(means: list[np.ndarray]) -> np.ndarray:
    return means[0][..., 0] - means[1][..., 0]


def rows_by_draw(study: Study) -> pd.DataFrame:
    """Bits per byte of code by language and number of calibration rows: of the dense model, and of every draw of the
    language's own set (matched) and of the other language's (unmatched)."""
    rows = []
    for model in study.models:
        for benchmark in benchmarks_of(study):
            language = study.benchmark(benchmark)["language"]
            for id in study.evaluated(model):
                row = {"model": model, "language": language, "series": DENSE, "rows": None, "draw": None}
                if id != DENSE:
                    entry = study.submodels(model)[id]
                    series = "matched" if entry["language"] == language else "unmatched"
                    row |= {"series": series, "rows": entry["rows"], "draw": entry["seed"]}
                level = perplexities.level(study, model, [id], benchmark, metric=PARTS["code"])
                value, _, low, high = level.interval
                rows.append(row | {"value": value, "low": low, "high": high, "n_items": level.n_items})
    return pd.DataFrame(rows).astype({"rows": "Int64", "draw": "Int64"})


def draw_rows(table: pd.DataFrame) -> Figure:
    """The table `rows_by_draw` as curves, a panel for each language and a line for each draw; dense is far below."""
    languages = list(dict.fromkeys(table["language"]))
    figure, axes = plt.subplots(1, len(languages), figsize=(4.2 * len(languages), 3.4), squeeze=False)
    for axis, language in zip(axes[0], languages, strict=True):
        panel = table[table["language"] == language]
        for series, colour, marker in (("matched", MATCHED, "o"), ("unmatched", UNMATCHED, "s")):
            for (draw, curve), line in zip(panel[panel["series"] == series].groupby("draw"), ("-", "--"), strict=True):
                label = f"{series}, draw {draw}"
                axis.plot(curve["rows"], curve["value"], line, color=colour, marker=marker, markersize=5, label=label)
        dense = panel.loc[panel["series"] == DENSE, "value"].item()
        axis.set_title(f"{language} (dense: {dense:.3f})", loc="left")
        sizes = panel["rows"].dropna().unique()
        axis.set_xscale("log", base=2)
        axis.set_xticks(sizes, sizes)
        axis.set_xlabel("calibration rows of 256 tokens")
        axis.grid(axis="y", color="#DDDDDD", lw=0.6)
    axes[0, 0].set_ylabel("bits per byte of code (lower is better)")
    legend(figure, axes.flat)
    title_figure(figure, f"{table['model'].iloc[0]}: how many rows are enough?")
    return figure


if __name__ == "__main__":
    for name in sys.argv[1:]:
        take(Path("results") / name, HERE / name)
    for grid in sorted(HERE.glob("*/grid.json")):
        make(grid.parent, grid.parent)
