"""METEOR, chrF and BLEU of translations, all as fractions.

METEOR (Banerjee and Lavie 2005) is nltk's, alpha 0.9, beta 3, gamma 0.5: words are matched when equal in lower case,
when their stems by Porter's English stemmer are equal, and, with `synonyms: wordnet`, when they share a synset of the
English WordNet. Texts are split by the Treebank rules of nltk's `word_tokenize` as one sentence each, which needs
no data files. chrF (character 6-grams, beta 2) and BLEU (13a tokeniser) are sacrebleu's. An item's values are those of
its sentences, BLEU with effective order and exponential smoothing; `corpus` holds the values of the whole set, of
every item's first sample.
"""

from collections.abc import Callable
from functools import cache

from submodels.errors import SubmodelsError, unknown
from submodels.evaluation.metrics.base import Samples, Scorer, Scores, mean, text_fault


class NoSynonyms:
    """Stands for a WordNet in which no word has a synonym."""

    @staticmethod
    def synsets(word: str) -> list:
        return []


def _wordnet():
    from nltk.corpus import wordnet

    try:
        wordnet.ensure_loaded()
    except LookupError as error:
        raise SubmodelsError(
            "METEOR with `synonyms: wordnet` needs nltk's WordNet, which is not on this machine; run "
            "`submodels fetch-wordnet` and set NLTK_DATA to the directory it wrote, or set `synonyms: none`"
        ) from error
    return wordnet


SYNONYMS = {"none": NoSynonyms, "wordnet": _wordnet}


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


def _score(items: list[dict], samples: Samples, synonyms: str) -> Scores:
    from sacrebleu.metrics import BLEU, CHRF

    meteor, chrf, sentence_bleu = meteor_scorer(synonyms), CHRF(), BLEU(effective_order=True)
    values, empty = {}, 0
    for item in items:
        target = item["target"]
        texts = [line["completion"].strip() for line in samples[item["task_id"]]]
        empty += texts.count("")
        values[item["task_id"]] = {
            "meteor": mean([meteor(target, text) for text in texts]),
            "chrf": mean([chrf.sentence_score(text, [target]).score / 100 for text in texts]),
            "bleu": mean([sentence_bleu.sentence_score(text, [target]).score / 100 for text in texts]),
        }
    targets = [item["target"] for item in items]
    firsts = [samples[item["task_id"]][0]["completion"].strip() for item in items]
    corpus = {
        "chrf": chrf.corpus_score(firsts, [targets]).score / 100,
        "bleu": BLEU().corpus_score(firsts, [targets]).score / 100,
    }
    total = sum(len(samples[item["task_id"]]) for item in items)
    return Scores(values, {"translated": total - empty, "empty": empty}, corpus)


SCORER = Scorer(
    "generate_until",
    lambda samples: ["meteor", "chrf", "bleu"],
    lambda item: text_fault(item, "source", "target"),
    _score,
)
