"""The rules of SQuAD's evaluation script, written down plainly: the reference for tests."""

import re
import string
from collections import Counter

PUNCTUATION = set(string.punctuation)


def normalize(text):
    text = "".join(ch for ch in text.lower() if ch not in PUNCTUATION)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def f1(prediction, reference):
    said, gold = normalize(prediction).split(), normalize(reference).split()
    if not said or not gold:
        return float(said == gold)
    common = sum((Counter(said) & Counter(gold)).values())
    if common == 0:
        return 0.0
    precision, recall = common / len(said), common / len(gold)
    return 2 * precision * recall / (precision + recall)
