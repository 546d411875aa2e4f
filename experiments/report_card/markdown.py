"""The card as Markdown, for a pull request: the answer, and tables of signs and scores."""

from collections.abc import Mapping, Sequence
from typing import Any

from bounds.spec import CERTIFIED, UNDER_ASSUMPTION
from experiments.lab import report
from experiments.report_card import signs
from experiments.report_card.claims import BEYOND

_CERTIFICATES = (CERTIFIED, UNDER_ASSUMPTION)
_MOST = 10  # bounds in the table of those that pass the most trials


def markdown(card: Mapping[str, Any], changes: Sequence[Any] = ()) -> str:
    """Answer, changes, certified bounds, those that pass the most trials, then all, folded.

    Args:
      card: what `card.json` holds.
      changes: blocks of a report: what differs from another card.
    """
    ordered = signs.best_first(card)
    certified = [n for n in ordered if card["bounds"][n]["status"] in _CERTIFICATES]
    legend = ", ".join(f"{sign} {verdict}" for verdict, sign in signs.SIGNS.items())
    shown = report.markdown(
        [
            report.Answer(card["answer"]),
            *changes,
            report.Text(f"A cell: {legend}; and the trial's score."),
            report.Heading("Certified bounds"),
            _table(card, certified),
            report.Heading("Bounds that pass the most trials"),
            _table(card, ordered[:_MOST]),
            *_beyond(card, ordered),
            report.Heading("All bounds"),
        ]
    )
    count = f"{len(ordered)} bounds, {len(card['trials'])} trials"
    every = report.markdown([_table(card, ordered)])
    return f"{shown}\n<details><summary>{count}</summary>\n\n{every}\n</details>\n"


def _beyond(card, ordered):
    """The claims of tools, with what they cost."""
    names = [n for n in ordered if card["bounds"][n]["family"] == BEYOND]
    if not names:
        return []
    return [
        report.Heading("Claims beyond uniform convergence"),
        _table(card, names, True),
    ]


def _table(
    card: Mapping[str, Any], names: Sequence[str], priced: bool = False
) -> report.Table | report.Text:
    if not names:
        return report.Text("None.")
    titles = [trial["title"] for trial in card["trials"].values()]
    rows = [
        (
            name, bound["status"], str(signs.passes(bound)),
            *(signs.cell_text(bound["trials"][trial]) for trial in card["trials"]),
            *([bound["costs"]] if priced else ()),
        )
        for name in names
        for bound in (card["bounds"][name],)
    ]  # fmt: skip
    last = ("costs",) if priced else ()
    columns = ("bound", "status", "passes", *titles, *last)
    return report.Table(columns, rows, words=("status", *last))
