"""What page, picture and Markdown share: the sign and colour of a verdict, a score in two digits.

A verdict is read off its sign; the colour repeats it. Blue, orange, grey and none are told apart
under every kind of colour blindness, on light and on dark paper (a test simulates them).
"""

import math
from collections.abc import Mapping
from typing import Any

PASSES, UNDECIDED, FAILS, NO_CLAIM = "passes", "undecided", "fails", "makes no claim"
# From the best to the least: the order of a sorted column where scores are equal.
SIGNS = {PASSES: "✓", UNDECIDED: "?", FAILS: "✗", NO_CLAIM: "·"}
CLASSES = {PASSES: "passes", UNDECIDED: "undecided", FAILS: "fails", NO_CLAIM: "none"}
MEANINGS = {
    PASSES: "the bound does in this trial what an explanation would have to do",
    UNDECIDED: "the interval allows both",
    FAILS: "it does not",
    NO_CLAIM: "the trial does not apply to it, or it says nothing there",
}
# Verdict -> (ground, ink).
LIGHT = {
    PASSES: ("#9fcbe8", "#06263f"),
    UNDECIDED: ("#d4d7dc", "#26282b"),
    FAILS: ("#f2ab84", "#3f1500"),
    NO_CLAIM: ("#ffffff", "#5f6368"),
}
DARK = {
    PASSES: ("#0b63a0", "#eaf6ff"),
    UNDECIDED: ("#4a4d52", "#f1f1f1"),
    FAILS: ("#9c4a12", "#fff3ea"),
    NO_CLAIM: ("#16181b", "#a9adb3"),
}


def passes(bound: Mapping[str, Any]) -> int:
    """In how many trials a bound of the card passes."""
    return sum(cell["verdict"] == PASSES for cell in bound["trials"].values())


def best_first(card: Mapping[str, Any]) -> list[str]:
    """Names of the bounds, those that pass the most trials first, then by name."""
    return sorted(
        card["bounds"], key=lambda name: (-passes(card["bounds"][name]), name)
    )


def score(value: float | None) -> str:
    """A score in two digits; nothing where there is none."""
    if value is None or not math.isfinite(value):
        return ""
    size = abs(value)
    if size < 0.995:
        text = f"{size:.2f}"
    elif size < 9.95:
        text = f"{size:.1f}"
    elif size < 9999.5:
        text = f"{size:.0f}"
    else:
        text = f"{size:.0e}".replace("+0", "").replace("+", "")
    return f"-{text}" if value < 0 and float(text) else text


def cell_text(cell: Mapping[str, Any]) -> str:
    """A cell of the matrix: the sign and, where there is one, the score."""
    return f"{SIGNS[cell['verdict']]} {score(cell['score'])}".strip()
