"""WikiText-2 (Merity et al. 2017), Salesforce/wikitext: one item for each article, the text as published.

The rows are the lines of the file, with or without their line ends. An article begins at its title, ` = Title = `;
sections have more equals signs.
"""

import re

from submodels.benchmarks.adapters.rows import each

_TITLE = re.compile(r" = [^=\s](.*[^=\s])? = \n")


def items(rows) -> list[dict]:
    lines = each(rows, lambda row: row["text"].rstrip("\n") + "\n")
    articles, blank_before = [[]], True
    for line in lines:
        # A title is between blank lines; a formula such as ` = x = ` inside a text is not.
        if blank_before and _TITLE.fullmatch(line):
            articles.append([])
        articles[-1].append(line)
        blank_before = not line.strip()
    texts = ("".join(article) for article in articles)
    return [{"text": text} for text in texts if text.strip()]


def fixture() -> list[dict]:
    lines = []
    for animal, place in [("Hen", "a farm"), ("Whale", "the sea"), ("Camel", "the desert")]:
        body = f" The {animal.lower()} is an animal that lives in {place} . \n"
        lines += ["", f" = {animal} = \n", "", body, " = = Name = = \n", "", f" It is called {animal.lower()} . \n"]
    return [{"text": line} for line in lines]
