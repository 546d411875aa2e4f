"""The page needs nothing, lets no text of the card become markup, and can be told apart by eye."""

import base64
import hashlib
import html.parser
import itertools
import json
import math
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

from experiments.report_card import page as pages
from experiments.report_card import signs
from tests.experiments.report_card import made_up


class Parsed(html.parser.HTMLParser):
    """Tags with their attributes, the text outside of scripts, and the scripts."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self.scripts, self._in = [], "", [], ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._in = tag

    def handle_endtag(self, tag):
        self._in = ""

    def handle_data(self, data):
        if self._in == "script":
            self.scripts.append(data)
        elif self._in != "style":
            self.text += data

    def of(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def embedded(text):
    return json.loads(Parsed(text).scripts[0])["card"]


@pytest.fixture(scope="module")
def card():
    return made_up.card()


@pytest.fixture(scope="module")
def text(card):
    return pages.page(card, "A card")


def test_the_answer_comes_first_and_all_is_there(card, text):
    found = Parsed(text).text
    for sentence in card["answer"]:
        assert found.index(sentence) < found.index("A cell is one bound in one trial")
    for trial in card["trials"].values():
        assert trial["title"] in found and trial["question"] in found
        assert trial["formula"] in found
    for name, bound in card["bounds"].items():
        assert name in found and bound["status"] in found
    for made in ("560", "0" * 64, "37865f1", "Made up by a test."):
        assert made in found
    for verdict, sign in signs.SIGNS.items():
        assert verdict in found and sign in found


def test_without_scripts_a_table_of_signs_stands(card, text):
    table = text[text.index("<noscript>") : text.index("</noscript>")]
    cells = [
        cell["verdict"] for b in card["bounds"].values() for cell in b["trials"].values()
    ]  # fmt: skip
    for verdict, sign in signs.SIGNS.items():
        assert table.count(f">{sign}</td>") == cells.count(verdict) > 0
    rows = re.findall(r"<tr><td>(.*?)<br>.*?</td><td>(\d+)</td>", table)
    assert [name for name, _ in rows] == signs.best_first(card)
    passed = [int(count) for _, count in rows]
    assert passed == sorted(passed, reverse=True)


def test_the_scripts_get_the_card_with_gaps_for_what_is_not_finite(card, text):
    first = next(iter(card["bounds"]))
    found = embedded(text)
    assert card["bounds"][first]["trials"]["tightness"]["high"] == math.inf
    assert found["bounds"][first]["trials"]["tightness"].pop("high") is None
    assert list(found["bounds"]) == list(card["bounds"])
    assert list(found["trials"]) == list(card["trials"])
    for name, bound in card["bounds"].items():
        for trial, cell in bound["trials"].items():
            shown = found["bounds"][name]["trials"][trial]
            assert shown["score"] == cell["score"] and shown["low"] == cell["low"]
            assert shown["sentence"] == cell["sentence"]
            for one, given in zip(
                (shown["figure"] or {"series": []})["series"],
                (cell["figure"] or {"series": []})["series"],
                strict=True,
            ):
                assert one["x"] == pytest.approx(given["x"], rel=1e-4)
                assert [y is None for y in one["y"]] == [y is None for y in given["y"]]


def test_no_text_of_a_card_becomes_markup():
    text = pages.page(made_up.hostile(), made_up.HOSTILE)
    text.encode("utf-8")
    parsed = Parsed(text)
    assert [tag for tag in parsed.of("script")] == [
        {"type": "application/json", "id": "card"}, {},
    ]  # fmt: skip
    assert not parsed.of("img") and len(parsed.scripts) == 2
    allowed = set(dict(Parsed(pages.page(made_up.card(3), "")).tags))
    assert set(dict(parsed.tags)) == allowed
    for _, attributes in parsed.tags:
        assert not [name for name in attributes if name.startswith("on")]
    name = made_up.HOSTILE.replace("\udc80", "\\udc80")
    found = embedded(text)
    assert list(found["bounds"]) == [name, "__proto__", "constructor"]
    assert found["bounds"][name]["trials"]["validity"]["numbers"] == {name: name}
    assert parsed.text.count(name) > 5


def test_it_needs_nothing_else(text):
    parsed = Parsed(text)
    for _, attributes in parsed.tags:
        assert not {"src", "srcset", "href", "data", "action"} & set(attributes)
    assert "url(" not in text and "@import" not in text
    for asked in ("fetch(", "XMLHttpRequest", "import(", "innerHTML", "insertAdjacent"):
        assert asked not in text
    (policy,) = (a["content"] for a in parsed.of("meta") if "http-equiv" in a)
    digest = hashlib.sha256(parsed.scripts[1].encode()).digest()
    assert f"script-src 'sha256-{base64.b64encode(digest).decode()}';" in policy
    assert policy.startswith("default-src 'none'")


def test_a_card_of_130_bounds_is_a_small_page():
    text = pages.page(made_up.card(130), "A card")
    assert len(text.encode()) < 3_000_000


def test_a_card_of_no_bounds_is_a_page():
    card = made_up.card(1) | {"bounds": {}}
    assert "0 cells" in pages.page(card, "A card")


def test_the_assets_are_packaged():
    root = Path(pages.__file__).parents[2]
    settings = tomllib.loads((root / "pyproject.toml").read_text())
    patterns = settings["tool"]["setuptools"]["package-data"]["experiments.report_card"]
    folder = Path(pages.__file__).parent
    packaged = {path.name for one in patterns for path in folder.glob(one)}
    packaged -= {path.name for path in (folder / "tables").iterdir()}
    assert "tables/*" in patterns
    assert packaged == {"page.css", "page.js", "panel.js", "figure.js"}
    for name in packaged - {"page.css"}:
        lines = (folder / name).read_text().splitlines()
        assert len(lines) <= 200 and max(map(len, lines)) <= 100, name


SCORES = {
    0.314: "0.31", -0.314: "-0.31", 0.0: "0.00", -0.001: "0.00", 0.996: "1.0", 9.94: "9.9",
    9.96: "10", -12.34: "-12", 1234.5: "1234", 12345.6: "1e4", -1.26e15: "-1e15", 1e100: "1e100",
}  # fmt: skip


@pytest.mark.parametrize("value", SCORES)
def test_scores_have_two_digits(value):
    assert signs.score(value) == SCORES[value]


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_what_is_no_score_is_not_written(value):
    assert signs.score(value) == ""


# ---- Colours.

# Machado, Oliveira & Fernandes 2009, severity 1, on linear RGB.
VISIONS = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}  # fmt: skip
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)  # fmt: skip
WHITE = np.array([0.95047, 1.0, 1.08883])


def linear(colour):
    values = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    return np.where(
        values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4
    )


def lightness(colour):
    return float(TO_XYZ[1] @ linear(colour))


def contrast(one, other):
    dark, light = sorted((lightness(one), lightness(other)))
    return (light + 0.05) / (dark + 0.05)


def lab(colour, vision):
    seen = np.clip(np.array(VISIONS[vision]) @ linear(colour), 0, 1)
    f = np.cbrt(np.maximum(TO_XYZ @ seen / WHITE, 1e-9))
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("colours", [signs.LIGHT, signs.DARK], ids=["light", "dark"])
def test_signs_are_legible(colours):
    for ground, ink in colours.values():
        assert contrast(ground, ink) >= 4.5


@pytest.mark.parametrize("vision", VISIONS)
@pytest.mark.parametrize("colours", [signs.LIGHT, signs.DARK], ids=["light", "dark"])
def test_verdicts_are_told_apart(colours, vision):
    """By 12 in CIELAB, where 2 is just seen."""
    grounds = [ground for ground, _ in colours.values()]
    for one, other in itertools.combinations(grounds, 2):
        assert np.linalg.norm(lab(one, vision) - lab(other, vision)) > 12, (one, other)
