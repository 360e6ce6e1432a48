"""METEOR, chrF and BLEU of translations, all as fractions.

METEOR (Banerjee and Lavie 2005) is nltk's, alpha 0.9, beta 3, gamma 0.5: words are matched when equal in lower case,
when their stems by Porter's English stemmer are equal, and, with `synonyms: wordnet`, when they share a synset of the
English WordNet. Texts are split by the Treebank rules of nltk's `word_tokenize` as one sentence each, which needs
no data files. chrF (character 6-grams, beta 2) and BLEU (13a tokeniser) are sacrebleu's. An item's values are those of
its sentences, BLEU with effective order and exponential smoothing; `corpus` holds the values of the whole set, from
every item's first sample. With several samples an item has their mean as well as the best value of each metric.

`translation_paper` exchanges METEOR's arguments, as arXiv 2501.05248's code does: the sample is the reference, the
translation in the data set is the hypothesis, and so precision and recall change places.
"""

import os
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path

from submodels import files
from submodels.benchmarks.metrics.base import AS_WORDS, Samples, Scorer, Scores, Texts, mean, text_fault
from submodels.errors import SubmodelsError, fetch_first, unknown


class NoSynonyms:
    """Replaces a WordNet in which no word has a synonym."""

    @staticmethod
    def synsets(word: str) -> list:
        return []


def _wordnet():
    from nltk.corpus import wordnet

    try:
        wordnet.ensure_loaded()
    except LookupError as error:
        raise SubmodelsError(
            "METEOR with `synonyms: wordnet` needs nltk's WordNet, which is not on this machine; "
            f"{fetch_first('it', 'fetch-wordnet')} and set NLTK_DATA to the directory it wrote; or set `synonyms: none`"
        ) from error
    return wordnet


SYNONYMS = {"none": NoSynonyms, "wordnet": _wordnet}


def synonyms_identity(synonyms: str) -> str:
    """Identity of the synonyms: for WordNet the hashes of its files, if it was fetched."""
    manifest = Path(os.environ.get("NLTK_DATA", "")) / "manifest.json"
    if synonyms != "wordnet" or not manifest.is_file():
        return synonyms
    return files.fingerprint(files.read_json(manifest)["results"]["files"])


@cache  # nltk takes more than a second of CPU to import, and only this metric needs it
def meteor_scorer(synonyms: str) -> Callable[[str, str], float]:
    """METEOR as a function of (reference, hypothesis)."""
    if synonyms not in SYNONYMS:
        raise unknown("kind of synonyms", synonyms, SYNONYMS)
    from nltk.stem.porter import PorterStemmer
    from nltk.tokenize import word_tokenize
    from nltk.translate.meteor_score import single_meteor_score

    wordnet, stemmer = SYNONYMS[synonyms](), PorterStemmer()

    def meteor(reference: str, hypothesis: str) -> float:
        words = [word_tokenize(text, preserve_line=True) for text in (reference, hypothesis)]
        return single_meteor_score(*words, stemmer=stemmer, wordnet=wordnet)

    return meteor


def _metrics(samples: int) -> list[str]:
    names = ["meteor", "chrf", "bleu"]
    return names if samples == 1 else [f"best_{name}" for name in names] + names


def _fault(item: dict) -> str | None:
    return text_fault(item, "source", "target")


def _texts(item: dict) -> Texts:
    source, target = item["source"], item["target"]
    return [(AS_WORDS, source), (AS_WORDS, target), (AS_WORDS, f"{source}\n{target}")]


def _scorer(swapped: bool) -> Scorer:
    """`swapped`: METEOR takes the sample for the reference and the item's target for the hypothesis."""

    def score(items: list[dict], samples: Samples, synonyms: str) -> Scores:
        from sacrebleu.metrics import BLEU, CHRF

        meteor, chrf, sentence_bleu = meteor_scorer(synonyms), CHRF(), BLEU(effective_order=True)
        functions = {
            "meteor": (lambda target, text: meteor(text, target)) if swapped else meteor,
            "chrf": lambda target, text: chrf.sentence_score(text, [target]).score / 100,
            "bleu": lambda target, text: sentence_bleu.sentence_score(text, [target]).score / 100,
        }
        values, firsts, counts = {}, [], Counter(translated=0, empty=0)
        for item in items:
            texts = [line["completion"].strip() for line in samples[item["task_id"]]]
            firsts.append(texts[0])
            counts.update("translated" if text else "empty" for text in texts)
            each = {name: [of(item["target"], text) for text in texts] for name, of in functions.items()}
            values[item["task_id"]] = {name: mean(found) for name, found in each.items()}
            if len(texts) > 1:
                values[item["task_id"]] |= {f"best_{name}": max(found) for name, found in each.items()}
        targets = [item["target"] for item in items]
        corpus = {
            "chrf": chrf.corpus_score(firsts, [targets]).score / 100,
            "bleu": BLEU().corpus_score(firsts, [targets]).score / 100,
        }
        return Scores(values, dict(counts), corpus)

    return Scorer("generate_until", _metrics, _fault, score, _texts, takes_synonyms=True)


SCORER, PAPER = _scorer(swapped=False), _scorer(swapped=True)
