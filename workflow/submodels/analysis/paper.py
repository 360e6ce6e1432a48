"""Figures of the paper (Puccioni et al., arXiv 2501.05248), to compare with ours. Percentages.

Table I, Table III and Table IV are the paper's. The full matrix of Gemma-1.1-7b-it is in the README of the authors'
repository; the paper gives its best rows only (Table III).
"""

# Method -> its ticks in Table I, as far as they are known to us: the paper ticks MaskLLM as efficient and as needing no
# calibration data. Its other rows are not known to us, so they are not here.
TABLE_I = {"maskllm": "efficient; needs no calibration data"}

# Base model -> domain -> (best calibration set, dense, best sub-model at 50% sparsity).
TABLE_III = {
    "CodeLlama-7B": {
        "code": ("py_alpaca", 60.50, 53.03),
        "csr": ("hellaswag", 52.30, 49.30),
        "translation": ("wmt14", 47.48, 44.40),
        "math": ("math_inst", 17.81, 11.00),
    },
    "Mistral-7B": {
        "code": ("py_alpaca", 60.50, 47.28),
        "csr": ("ob_qa", 61.40, 58.20),
        "translation": ("wmt14", 52.95, 51.31),
        "math": ("math_qa", 32.90, 27.82),
    },
    "Gemma-7B": {
        "code": ("apps", 52.90, 47.07),
        "csr": ("ob_qa", 40.57, 38.90),
        "translation": ("o_books", 50.41, 48.60),
        "math": ("math_o", 46.40, 36.16),
    },
    "CodeLlama-13B": {
        "code": ("py_alpaca", 71.00, 61.00),
        "csr": ("hellaswag", 54.70, 52.50),
        "translation": ("wmt14", 51.47, 49.50),
        "math": ("math_qa", 26.76, 21.68),
    },
}

# CodeLlama-13B on HumanEval: calibration set -> language -> score.
TABLE_IV = {
    "none": {"python": 71.00, "java": 68.3, "cpp": 64.1, "javascript": 67.7},
    "python": {"python": 61.00, "java": 55.2, "cpp": 54.2, "javascript": 59.31},
    "java": {"python": 56.1, "java": 60.1, "cpp": 54.2, "javascript": 55.6},
    "cpp": {"python": 56.01, "java": 54.2, "cpp": 57.1, "javascript": 56.3},
    "javascript": {"python": 56.7, "java": 55.7, "cpp": 50.9, "javascript": 60.2},
}

# Gemma-1.1-7b-it: domain of the calibration set -> one row for each set, columns as in GEMMA_COLUMNS.
GEMMA_COLUMNS = ("code", "csr", "translation", "math")
GEMMA = {
    "code": [(46.99, 38.23, 45.75, 32.44), (47.07, 36.47, 45.84, 32.2), (46.47, 37.34, 45.23, 33.6)],
    "csr": [(43.23, 38.9, 45.63, 26.9), (40.82, 38.4, 44.28, 26.99), (41.61, 38.45, 45.21, 27.29)],
    "translation": [(38.58, 38.34, 48.55, 27.14), (40.91, 37.58, 48.29, 29.7), (41.0, 39.0, 48.6, 26.8)],
    "math": [(44.44, 37.65, 45.38, 35.25), (45.26, 37.95, 45.15, 35.10), (45.05, 37.39, 45.6, 36.16)],
    "generic": [(42.2, 38.1, 46.74, 29.0)],
}


def gemma_mean(benchmark: str, domains: tuple[str, ...]) -> float:
    """Mean over the calibration sets of `domains` on one benchmark column."""
    column = GEMMA_COLUMNS.index(benchmark)
    values = [row[column] for domain in domains for row in GEMMA[domain]]
    return sum(values) / len(values)


def gemma_spread(benchmark: str) -> float:
    """Best minus worst calibration set with a domain on one benchmark column."""
    column = GEMMA_COLUMNS.index(benchmark)
    values = [row[column] for domain in GEMMA_COLUMNS for row in GEMMA[domain]]
    return max(values) - min(values)


def gemma_matched_gain() -> float:
    """Mean over the four columns of matched sets minus sets of the other domains."""
    gains = []
    for benchmark in GEMMA_COLUMNS:
        others = tuple(domain for domain in GEMMA_COLUMNS if domain != benchmark)
        gains.append(gemma_mean(benchmark, (benchmark,)) - gemma_mean(benchmark, others))
    return sum(gains) / len(gains)


def gemma_best_over_generic() -> float:
    """Smallest lead, over the four columns, of the best set with a domain over C4."""
    leads = []
    for column, benchmark in enumerate(GEMMA_COLUMNS):
        best = max(row[column] for domain in GEMMA_COLUMNS for row in GEMMA[domain])
        leads.append(best - gemma_mean(benchmark, ("generic",)))
    return min(leads)


def gemma_code_math_gain() -> float:
    """Code sets on math and math sets on code, minus CSR and translation sets on both; mean of both."""
    far = ("csr", "translation")
    code = gemma_mean("code", ("math",)) - gemma_mean("code", far)
    math = gemma_mean("math", ("code",)) - gemma_mean("math", far)
    return (code + math) / 2


def language_gain() -> float:
    """Table IV: set of the same language minus the other three code sets, mean over the four languages."""
    gains = []
    for language in TABLE_IV["none"]:
        others = [TABLE_IV[name][language] for name in TABLE_IV["none"] if name != language]
        gains.append(TABLE_IV[language][language] - sum(others) / len(others))
    return sum(gains) / len(gains)
