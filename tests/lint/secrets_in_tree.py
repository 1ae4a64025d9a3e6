"""Secrets that must not be in the tree: keys and tokens of known shape, passwords in addresses and
assignments, and long texts that look drawn by chance.

It reads nothing: run hands in the texts. Trace ids and hashes, of hexadecimal digits alone, are no
secrets here, nor is the word "secret".
"""

import collections
import math
import re

SHAPES = {
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----\s*\n\s*[A-Za-z0-9+/]"),
    "a key of AWS": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "a token of GitHub": re.compile(r"\bgh[pousr]_[A-Za-z0-9]{36}|\bgithub_pat_[A-Za-z0-9_]{22,}"),
    "a token of GitLab": re.compile(r"\bglpat-[A-Za-z0-9_-]{20}"),
    "a token of Slack": re.compile(r"\bxox[abprs]-[A-Za-z0-9-]{10,}"),
    "a key of Google": re.compile(r"\bAIza[A-Za-z0-9_-]{35}"),
    "a token of npm": re.compile(r"\bnpm_[A-Za-z0-9]{36}"),
    "a token of PyPI": re.compile(r"\bpypi-AgE[A-Za-z0-9_-]{50,}"),
    "a key of Stripe": re.compile(r"\b[rs]k_live_[A-Za-z0-9]{16,}"),
    "a JSON Web Token": re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"),
    "a password in an address": re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s/:@\"'<>]+:(?!secret@)[^\s/:@\"'<>]{3,}@"),
    "a secret in an assignment": re.compile(
        r"(?i)\b(?:password|passwd|secret|api_?key|access_?key|auth_?token)[\"']?\s*[:=]\s*[\"'][^\"'\s]{12,}[\"']"),
}

WORD = re.compile(r"[A-Za-z0-9+/_-]{28,}={0,2}")
DRAWN_BITS = 4.2  # a character: 40 drawn base64 digits have 4.5 to 5, names joined by "_" under 4


def bits(word):
    """Shannon's entropy of a character of it."""
    counts = collections.Counter(word)
    return -sum(count / len(word) * math.log2(count / len(word)) for count in counts.values())


def looks_drawn(word):
    """Digits and letters of both cases, mixed throughout: not a name, a path or a number."""
    kinds = [sum(test(character) for character in word)
             for test in (str.isdigit, str.isupper, str.islower)]
    turns = sum(a.isupper() != b.isupper() or a.isdigit() != b.isdigit() for a, b in zip(word, word[1:]))
    return min(kinds) >= 3 and turns >= len(word) / 4 and bits(word) > DRAWN_BITS


def find(text):
    """Yields (offset, what it is)."""
    for what, shape in SHAPES.items():
        for match in shape.finditer(text):
            yield match.start(), what
    for match in WORD.finditer(text):
        if looks_drawn(match.group()):
            yield match.start(), "a text that looks drawn by chance"
