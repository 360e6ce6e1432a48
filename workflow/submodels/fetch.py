"""Downloads: Hub models and data sets at a pinned commit, source files of git repositories, and WordNet for METEOR.

Run on a machine with a network (on a cluster: the login node); every other stage works offline with the downloads.
Only weights in safetensors, JSON and tokenizer files are taken from a model repository: never pickles, never code.
"""

import os
import re
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from submodels import files, versions
from submodels.benchmarks import registry as benchmarks
from submodels.calibration import source_files
from submodels.calibration.registry import RowSource, find_calibration_set
from submodels.calibration.sources import ROWS_FILE
from submodels.checkpoints.base import base_identity
from submodels.errors import SubmodelsError
from submodels.hub import HubSource
from submodels.products import check_replaceable
from submodels.provenance import Manifest
from submodels.validation import parse_json

MODEL_FILES = ("*.safetensors", "*.json", "*.jinja", "tokenizer.model", "merges.txt", "vocab.txt", "LICENSE*")
_SUBFOLDERS = "*/*"  # they hold other formats of the same weights

_WHOLE_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHORT_COMMIT = re.compile(r"[0-9a-f]{7,39}")

DEBIAN_WORDNET = Path("/usr/share/wordnet")
WORDNET_FILES = (
    *(f"{kind}.{pos}" for kind in ("data", "index") for pos in ("adj", "adv", "noun", "verb")),
    *(f"{pos}.exc" for pos in ("adj", "adv", "noun", "verb")),
    "cntlist.rev",
)
# WordNet's lexicographer files in the order of their numbers; see its manual page lexnames(5).
_LEXNAMES = """
    adj.all adj.pert adv.all
    noun.Tops noun.act noun.animal noun.artifact noun.attribute noun.body noun.cognition noun.communication noun.event
    noun.feeling noun.food noun.group noun.location noun.motive noun.object noun.person noun.phenomenon noun.plant
    noun.possession noun.process noun.quantity noun.relation noun.shape noun.state noun.substance noun.time
    verb.body verb.change verb.cognition verb.communication verb.competition verb.consumption verb.contact
    verb.creation verb.emotion verb.motion verb.perception verb.possession verb.social verb.stative verb.weather
    adj.ppl
"""
_PART_OF_SPEECH = {"noun": 1, "verb": 2, "adj": 3, "adv": 4}


def fetch_model(hub: str, revision: str, out: Path) -> None:
    """Download a base model at `revision` (commit, whole or abbreviated, or branch) into the directory `out`.

    A broken download is kept beside `out` and continued by the next call.
    """
    out = Path(out)
    _check_start(out)
    commit = _commit(hub, revision, "model")
    manifest = Manifest("fetch_model", {"version": versions.FETCH, "hub": hub, "revision": commit})
    partial = out.with_name(f".{out.name}.{commit[:12]}.partial")
    with _hub_errors(hub, revision, "model"):
        from huggingface_hub import snapshot_download

        snapshot_download(
            hub, revision=commit, local_dir=partial, allow_patterns=list(MODEL_FILES), ignore_patterns=_SUBFOLDERS
        )
    shutil.rmtree(partial / ".cache", ignore_errors=True)  # the client's notes for continuing
    if not any(partial.glob("*.safetensors")):
        shutil.rmtree(partial)
        raise SubmodelsError(f"model {hub}@{revision}: no safetensors weights; choose a revision that has them")
    hashes = _hashes(partial)
    _record(partial, manifest, hashes, requested=revision, identity=base_identity(partial, hashes))
    files.replace_directory(out, partial)


def fetch_config(hub: str, revision: str, directory: Path) -> str:
    """Download only a model's config.json into `directory`; returns the whole commit of `revision`."""
    _check_network()
    commit = _commit(hub, revision, "model")
    with _hub_errors(hub, revision, "model"):
        from huggingface_hub import hf_hub_download

        hf_hub_download(hub, "config.json", revision=commit, local_dir=directory)
    return commit


def fetch_dataset(
    hub: str, revision: str, config: str | None, split: str, out: Path, files_: list[str] | None = None
) -> None:
    """Download one split of a Hub data set at `revision` and write it to `out`/rows.parquet.

    `files_`: glob patterns of the only files to read (large sets); `split` may be a slice such as `train[:50%]`.
    """
    out = Path(out)
    _check_start(out)
    commit = _commit(hub, revision, "dataset")
    parameters = {"version": versions.FETCH, "hub": hub, "revision": commit, "config": config, "split": split}
    manifest = Manifest("fetch_dataset", parameters | {"files": files_})
    with _hub_errors(hub, revision, "dataset"):
        import datasets

        data_files = {split.partition("[")[0]: files_} if files_ else None
        try:
            rows = datasets.load_dataset(hub, config, split=split, revision=commit, data_files=data_files)
        except RuntimeError as error:  # the repository holds a loading script, which is not run
            if not files_:
                raise ValueError(f"{error}; name its data files in `files`") from error
            rows = datasets.concatenate_datasets([_json_rows(hub, commit, split, file) for file in files_])
    with files.atomic_directory(out) as temporary:
        rows.to_parquet(temporary / ROWS_FILE)
        _record(temporary, manifest, _hashes(temporary), requested=revision, rows=len(rows), fields=rows.column_names)


def _json_rows(hub: str, commit: str, split: str, file: str):
    """The rows of one JSON file; files of one repository may differ in their fields."""
    import datasets

    url = f"hf://datasets/{hub}@{commit}/{file}"
    return datasets.load_dataset("json", data_files={split.partition("[")[0]: url}, split=split)


def fetch_calibration_set(source: str, out: Path) -> None:
    """The rows of a calibration set: its name in the registry, or its source as JSON."""
    rows = parse_json(RowSource, source, "source") if source.startswith("{") else find_calibration_set(source).source
    if rows.git is not None:
        fetch_source_files(rows, out)
    else:
        _fetch_source(rows, f"calibration set {source}", out)


def fetch_source_files(source: RowSource, out: Path) -> None:
    """Read the source files of a git repository at a commit and write them, with their paths, to `out`/rows.parquet."""
    import pyarrow.parquet

    out = Path(out)
    _check_start(out, network=not source.git.startswith("file:"))
    parameters = {"version": versions.FETCH, "git": source.git, "revision": source.revision, "files": source.files}
    manifest = Manifest("fetch_source_files", parameters)
    with source_files.commit(source.git, source.revision) as found:
        rows, passed_over = source_files.take(found, source.files, f"{source.git}@{source.revision}")
    with files.atomic_directory(out) as temporary:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), temporary / ROWS_FILE)
        _record(temporary, manifest, _hashes(temporary), rows=len(rows), passed_over=passed_over)


def fetch_benchmark(source: str, out: Path) -> None:
    """`fetch_dataset` for a benchmark: its name, or its source as JSON."""
    given = source.startswith("{")
    items = parse_json(benchmarks.ItemSource, source, "source") if given else benchmarks.load_benchmark(source).source
    _fetch_source(items, f"benchmark {source}", out)


def _fetch_source(source: HubSource, what: str, out: Path) -> None:
    if source.hub is None:
        raise SubmodelsError(f"{what}: its source is {source.kind}, not hub; there is nothing to fetch")
    fetch_dataset(source.hub, source.revision, source.config, source.split, out, source.files)


def fetch_wordnet(out: Path, debian: Path = DEBIAN_WORDNET) -> None:
    """Make `out`/corpora/wordnet, a directory nltk reads once `out` is on `nltk.data.path`.

    From Debian's package wordnet-base if it is installed, which needs no network; else from nltk's server.
    """
    out = Path(out)
    if all((debian / name).is_file() for name in WORDNET_FILES):
        source, fill = str(debian), lambda directory: _copy_wordnet(debian, directory)
    else:
        source, fill = "nltk.download", _download_wordnet
    _check_start(out, network=source == "nltk.download")
    with files.atomic_directory(out) as temporary:
        wordnet = temporary / "corpora" / "wordnet"
        wordnet.mkdir(parents=True)
        fill(wordnet)
        manifest = Manifest("fetch_wordnet", {"version": versions.FETCH})
        _record(temporary, manifest, _hashes(temporary), source=source)


def _copy_wordnet(debian: Path, directory: Path) -> None:
    for name in WORDNET_FILES:
        shutil.copyfile(debian / name, directory / name)
    names = _LEXNAMES.split()
    lines = (f"{number:02}\t{name}\t{_PART_OF_SPEECH[name.split('.')[0]]}\n" for number, name in enumerate(names))
    # Debian leaves out two files that nltk opens. Only nltk's multilingual functions use the contents of index.sense.
    files.write_text(directory / "lexnames", "".join(lines))
    files.write_text(directory / "index.sense", "")


def _download_wordnet(directory: Path) -> None:
    import nltk

    store = directory / "download"
    if not nltk.download("wordnet", download_dir=str(store), quiet=True):
        raise SubmodelsError(
            "WordNet: nltk's server cannot be reached and /usr/share/wordnet does not exist; install Debian's package "
            "wordnet-base, or fetch on a machine with a network (on a cluster: the login node)"
        )
    with zipfile.ZipFile(store / "corpora" / "wordnet.zip") as archive:
        archive.extractall(store)
    for path in (store / "wordnet").iterdir():
        path.rename(directory / path.name)
    shutil.rmtree(store)


def _check_start(out: Path, network: bool = True) -> None:
    """Before a download: check that downloading is allowed and that `out` may be replaced."""
    if network:
        _check_network()
    check_replaceable(out, "fetched")


def _check_network() -> None:
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        raise SubmodelsError("HF_HUB_OFFLINE is set, so nothing is downloaded; unset it, on a machine with a network")


def _commit(hub: str, revision: str, repo_type: str) -> str:
    """The whole commit of `revision`, which is a branch, a tag or an abbreviated commit."""
    if _WHOLE_COMMIT.fullmatch(revision):
        return revision
    with _hub_errors(hub, revision, repo_type):
        from huggingface_hub import HfApi

        api = HfApi()
        if not _SHORT_COMMIT.fullmatch(revision):
            return api.repo_info(hub, revision=revision, repo_type=repo_type).sha
        commits = [commit.commit_id for commit in api.list_repo_commits(hub, repo_type=repo_type)]
    matches = [commit for commit in commits if commit.startswith(revision)]
    if len(matches) != 1:
        raise SubmodelsError(
            f"{repo_type} {hub}: {len(matches)} commits begin with '{revision}'; give a whole commit of "
            f"{_page(hub, repo_type)}/commits/main"
        )
    return matches[0]


def _page(hub: str, repo_type: str) -> str:
    return f"https://huggingface.co/{'datasets/' if repo_type == 'dataset' else ''}{hub}"


@contextmanager
def _hub_errors(hub: str, revision: str, repo_type: str) -> Iterator[None]:
    """The client's errors as one line that says what to do."""
    from huggingface_hub import errors

    # The HTTP library under huggingface_hub depends on its version; that library's base error comes with this class.
    http_error = errors.HfHubHTTPError.__bases__[0]
    what = f"{repo_type} {hub}@{revision}"
    try:
        yield
    except errors.GatedRepoError as error:
        raise SubmodelsError(
            f"{what}: access must be granted first; accept its licence at {_page(hub, repo_type)}, "
            "then `hf auth login` or set HF_TOKEN"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise SubmodelsError(f"{what}: no such revision; see {_page(hub, repo_type)}/commits/main") from error
    except errors.RepositoryNotFoundError as error:
        raise SubmodelsError(
            f"{what}: no such repository, or it is private; check the name, or `hf auth login` or set HF_TOKEN"
        ) from error
    except errors.HfHubHTTPError as error:
        raise SubmodelsError(f"{what}: {_first_line(error)}") from error
    except (http_error, errors.LocalEntryNotFoundError, ConnectionError) as error:
        raise SubmodelsError(
            f"{what}: the Hub cannot be reached; fetch on a machine with a network (on a cluster: the login node)"
        ) from error
    except (errors.HFValidationError, ValueError, OSError) as error:
        raise SubmodelsError(f"{what}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _hashes(directory: Path) -> dict[str, str]:
    """Name -> SHA-256 of every file below a directory."""
    paths = sorted(path for path in directory.rglob("*") if path.is_file())
    return {path.relative_to(directory).as_posix(): files.sha256_file(path) for path in paths}


def _record(directory: Path, manifest: Manifest, hashes: dict[str, str], **results) -> None:
    """Write the manifest of a download, with every file's hash."""
    manifest.write(directory / "manifest.json", files=hashes, **results)
