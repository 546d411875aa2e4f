"""The card for pull requests and for the README."""

import re

import pytest

from experiments.lab import figures
from experiments.report_card import picture, signs
from experiments.report_card.markdown import markdown
from tests.experiments.report_card import made_up


def tables(text):
    """The rows of every table, without its head."""
    found, rows = [], None
    for line in text.splitlines():
        if not line.startswith("|"):
            rows = None
        elif rows is None:
            rows = []
            found.append(rows)
        else:
            rows.append([c.strip() for c in re.split(r"(?<!\\)\|", line)[1:-1]])
    return [rows[1:] for rows in found]


def test_answer_certificates_the_best_and_all():
    card = made_up.card()
    text = markdown(card)
    assert text.startswith(f"**{card['answer'][0]}**\n\n**{card['answer'][1]}**")
    certified, best, every = tables(text)
    names = signs.best_first(card)
    assert [row[0] for row in every] == names
    assert [row[0] for row in best] == names[:10]
    assert len(certified) == 20 and {row[1] for row in certified} == {
        "certified", "certified under assumption",
    }  # fmt: skip
    for name, status, passed, *cells in every:
        bound = card["bounds"][name]
        assert (status, passed) == (bound["status"], str(signs.passes(bound)))
        assert cells == [signs.cell_text(cell) for cell in bound["trials"].values()]
    assert text.index("<details>") < text.index("</details>")


def test_all_130_bounds_fit_into_a_comment():
    assert len(markdown(made_up.card(130))) < 65_536


def test_a_name_is_one_cell_and_no_tag():
    text = markdown(made_up.hostile())
    assert "\n" not in made_up.HOSTILE
    assert not re.search(r"(?<!\\)<(script|img|/script)", text)
    assert {len(row) for rows in tables(text) for row in rows} == {16}


def test_no_certificate_is_said():
    card = made_up.card(4)
    for bound in card["bounds"].values():
        bound["status"] = "heuristic"
    assert "## Certified bounds\n\nNone.\n" in markdown(card)


@pytest.mark.drawn
@pytest.mark.parametrize("count", [1, pytest.param(41, marks=pytest.mark.slow)])
def test_a_picture_is_painted_alike(tmp_path, count):
    drawing = figures.Drawing(tmp_path)
    for name in ("one", "other"):
        drawing(name, "The card.", picture.paint, made_up.card(count, drawn=False))
    one, other = ((tmp_path / f"{name}.png").read_bytes() for name in ("one", "other"))
    assert one == other and one.startswith(b"\x89PNG")


@pytest.mark.drawn
def test_names_of_any_kind_are_painted(tmp_path):
    card = made_up.hostile()
    card["bounds"] = {f"{name}$x_{{$": bound for name, bound in card["bounds"].items()}
    figures.Drawing(tmp_path)("card", "The card.", picture.paint, card)
