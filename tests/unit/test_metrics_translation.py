import pytest
from nltk.stem.porter import PorterStemmer
from nltk.translate.meteor_score import single_meteor_score

from submodels.benchmarks.metrics import SCORERS
from submodels.benchmarks.metrics.translation import NoSynonyms, meteor_scorer
from submodels.errors import SubmodelsError


def _score(targets, completions):
    items = [{"task_id": str(i), "target": target} for i, target in enumerate(targets)]
    samples = {str(i): [{"completion": text}] for i, text in enumerate(completions)}
    return SCORERS["translation"].score(items, samples, "none")


def test_meteor_by_hand():
    meteor = meteor_scorer("none")
    # all 4 of 4 words in one chunk: F = 1, penalty 0.5 * (1 / 4) ** 3
    assert meteor("le chat voit la", "le chat voit la") == pytest.approx(1 - 0.5 / 64)
    # 2 matches of 4 reference and 2 hypothesis words in one chunk: P 1, R 1/2, F = P R / (0.9 P + 0.1 R)
    assert meteor("le chat noir dort", "le chat") == pytest.approx((0.5 / (0.9 + 0.05)) * (1 - 0.5 / 8))
    # the same words in two chunks
    assert meteor("a b c d", "c d a b") == pytest.approx(1 - 0.5 * (2 / 4) ** 3)
    assert meteor("le chat", "un chien") == 0
    assert meteor("le chat", "") == 0
    assert meteor("Le chat", "le CHAT") == meteor("le chat", "le chat")  # case does not count
    assert meteor("running", "runs") > 0  # stems do


def test_synonyms_count_only_with_wordnet():
    """nltk with a WordNet in which every word has one synset with all words: what `none` must not use."""

    class Lemma:
        def __init__(self, name):
            self.name = lambda: name

    class Synset:
        lemmas = staticmethod(lambda: [Lemma("car"), Lemma("automobile")])

    class AllEqual:
        synsets = staticmethod(lambda word: [Synset()])

    words = ["car"], ["automobile"]
    assert single_meteor_score(*words, stemmer=PorterStemmer(), wordnet=AllEqual()) == 0.5
    assert meteor_scorer("none")("car", "automobile") == 0


def test_an_absent_wordnet_and_an_unknown_kind_are_clear_errors(monkeypatch):
    import nltk
    from nltk.corpus import wordnet

    monkeypatch.setattr(nltk.data, "path", [])
    if "_LazyCorpusLoader__args" not in vars(wordnet):
        pytest.skip("WordNet is loaded already")
    with pytest.raises(SubmodelsError, match=r"`submodels fetch-wordnet` and set NLTK_DATA .*`synonyms: none`"):
        meteor_scorer("wordnet")
    with pytest.raises(SubmodelsError, match="known: none, wordnet"):
        meteor_scorer("thesaurus")


def test_perfect_empty_and_wrong_translations():
    target = "la souris noire voit les livres verts"
    scores = _score([target] * 3, [f" {target}\n", "", "xyz"])
    perfect, empty, wrong = scores.items.values()
    assert perfect == {"meteor": pytest.approx(1 - 0.5 / 7**3), "chrf": 1.0, "bleu": pytest.approx(1.0)}
    assert empty == {"meteor": 0, "chrf": 0, "bleu": 0}
    assert wrong["meteor"] == wrong["bleu"] == 0
    assert wrong["chrf"] < 0.1
    assert scores.counts == {"translated": 2, "empty": 1}
    assert all(0 < value < 1 for value in scores.corpus.values())


def test_chrf_by_hand():
    # characters without spaces: reference "ab", hypothesis "abc". n = 1: P 2/3, R 1; n = 2: P 1/2, R 1; no longer
    # n-gram has a reference, so orders 1 and 2 are averaged: P 7/12, R 1; F2 = 5 P R / (4 P + R)
    wanted = 5 * (7 / 12) / (4 * (7 / 12) + 1)
    assert _score(["ab"], ["abc"]).items["0"]["chrf"] == pytest.approx(wanted)


def test_the_value_of_an_item_is_the_mean_of_its_samples():
    items = [{"task_id": "a", "target": "le chat voit la"}]
    samples = {"a": [{"completion": "le chat voit la"}, {"completion": ""}]}
    scores = SCORERS["translation"].score(items, samples, "none")
    assert scores.items["a"]["chrf"] == 0.5
    assert scores.corpus["chrf"] == 1.0  # of first samples


def test_several_samples_have_a_best_and_the_paper_exchanges_meteors_arguments():
    target, texts = "le chat noir dort", ["le chat", "un chien"]
    items, samples = [{"task_id": "a", "target": target}], {"a": [{"completion": text} for text in texts]}
    strict, paper = (
        SCORERS[name].score(items, samples, "none").items["a"] for name in ("translation", "translation_paper")
    )
    assert list(strict) == ["meteor", "chrf", "bleu", "best_meteor", "best_chrf", "best_bleu"]
    assert set(strict) == set(SCORERS["translation"].metrics(2))
    # 2 of 4 reference and 2 hypothesis words match in one chunk: P 1, R 1/2; exchanged P 1/2, R 1
    assert strict["best_meteor"] == pytest.approx((0.5 / (0.9 + 0.05)) * (1 - 0.5 / 8))
    assert paper["best_meteor"] == pytest.approx((0.5 / (0.45 + 0.1)) * (1 - 0.5 / 8))
    assert strict["meteor"] == strict["best_meteor"] / 2
    assert {key: paper[key] for key in paper if "meteor" not in key} == {
        key: strict[key] for key in strict if "meteor" not in key
    }


def test_best_meteor_of_the_paper_is_nltks_over_all_references():
    from nltk.tokenize import word_tokenize
    from nltk.translate.meteor_score import meteor_score

    target, texts = "La souris voit les livres.", ["La souris lit.", "Les livres voient la souris.", ""]
    samples = {"a": [{"completion": text} for text in texts]}
    ours = SCORERS["translation_paper"].score([{"task_id": "a", "target": target}], samples, "none").items["a"]
    words = [word_tokenize(text, preserve_line=True) for text in (*texts, target)]
    wanted = meteor_score(words[:-1], words[-1], wordnet=NoSynonyms(), alpha=0.9, beta=3, gamma=0.5)
    assert ours["best_meteor"] == wanted > 0
