"""The page as a reader has it: sorts, filters, opens what is asked for, by mouse, keys and address."""

import itertools

import pytest

from experiments.report_card import page as pages
from experiments.report_card import signs
from tests.experiments.report_card import browser as browsers
from tests.experiments.report_card import made_up

PROGRAM = browsers.found()
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not PROGRAM, reason="no Chromium on this machine"),
]
TITLES = ["bound", "passes", *(title for title, _ in made_up.TRIALS.values())]
LINES = "[...document.querySelectorAll('tbody tr')].filter(tr => tr.querySelector('a'))"
NAMES = f"{LINES}.map(tr => decodeURIComponent(tr.querySelector('th a').hash.slice(1)))"
DIALOG = "document.querySelector('dialog')"
FOCUS = "document.activeElement"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    started = browsers.Browser(PROGRAM, tmp_path_factory.mktemp("profile"))
    yield started
    started.close()


@pytest.fixture(scope="module")
def card():
    return made_up.card()


@pytest.fixture(scope="module")
def file(tmp_path_factory, card):
    path = tmp_path_factory.mktemp("page") / "card.html"
    path.write_text(pages.page(card, "A card"), encoding="utf-8")
    return path


@pytest.fixture
def reader(browser, file):
    """The page, just opened; at the end nothing has gone wrong and nothing was asked for."""
    browser.view(1400)
    browser.open(file)
    yield browser
    assert browser.complaints == []
    assert [url.partition("#")[0] for url in browser.requests] == [file.as_uri()]


@pytest.fixture
def opened(browser, file):
    """The page as the last test has left it, where that one has asked it alone; else just opened."""
    if browser.value("location.href") != file.as_uri():
        browser.view(1400)
        browser.open(file)
    yield browser
    assert browser.complaints == []


def head(title):
    return f"document.querySelectorAll('thead button')[{TITLES.index(title)}]"


def cell(card, name, trial):
    row = f"{LINES}[{NAMES}.indexOf('{name}')]"
    return f"{row}.querySelectorAll('td a')[{list(card['trials']).index(trial)}]"


def by_score(card, trial, down):
    """Names as a click on the head of a trial has to sort them."""
    turn = -1 if down else 1
    ranks = list(signs.SIGNS)

    def key(name):
        found = card["bounds"][name]["trials"][trial]
        score = found["score"]
        rank = -ranks.index(found["verdict"])
        return (score is None, turn * (score or 0), turn * rank, name)

    return sorted(card["bounds"], key=key)


def choose(browser, **fields):
    """Fills in filters as a reader does, one after the other."""
    for name, value in fields.items():
        browser.value(
            f"{{const e = document.querySelector('[name={name}]'); e.value = '{value}';"
            "e.dispatchEvent(new Event('input', {bubbles: true}))}"
        )


def test_those_that_pass_the_most_come_first(reader, card):
    assert reader.value(NAMES) == signs.best_first(card)
    assert reader.value(f"{head('passes')}.parentElement.ariaSort") == "descending"


@pytest.mark.parametrize("title", ["tightness", "ranking"])
def test_a_head_sorts_by_score_and_again_the_other_way(reader, card, title):
    for down in (True, False, True):
        reader.click(head(title))
        assert reader.value(NAMES) == by_score(card, title, down)
        state = "descending" if down else "ascending"
        assert reader.value(f"{head(title)}.parentElement.ariaSort") == state
        others = reader.value("document.querySelectorAll('[aria-sort=none]').length")
        assert others == len(TITLES) - 1


def test_heads_sort_by_name_and_by_keys(reader, card):
    reader.value(f"{head('bound')}.focus()")
    reader.press("Enter")
    assert reader.value(NAMES) == sorted(card["bounds"])
    reader.press(" ")
    assert reader.value(NAMES) == sorted(card["bounds"], reverse=True)


def test_filters_take_away_and_count(reader, card):
    def shown():
        count = reader.value("document.getElementById('count').value")
        names = reader.value(NAMES)
        assert count == f"{len(names)} of {len(card['bounds'])} bounds"
        return set(names)

    def where(fits):
        return {name for name, bound in card["bounds"].items() if fits(name, bound)}

    choose(reader, search="ARORA  1706.08498")
    assert shown() == where(lambda name, _: name.startswith("arora"))
    choose(reader, status="certified under assumption")
    arora = where(
        lambda name, bound: name.startswith("arora") and bound["status"].endswith("assumption")
    )  # fmt: skip
    assert shown() == arora
    choose(reader, search="nobody")
    assert shown() == set()
    assert "No bound is like this." in reader.value("document.body.innerText")
    reader.click("document.querySelector('[type=reset]')")
    reader.wait(f"{NAMES}.length === {len(card['bounds'])}")
    assert shown() == set(card["bounds"])
    choose(reader, family="pac_bayes", speaks_of="trained")
    assert shown() == where(
        lambda _, b: (b["family"], b["speaks_of"]) == ("pac_bayes", "trained")
    )
    choose(reader, family="", speaks_of="", verdict="passes", trial="width")
    assert shown() == where(lambda _, b: b["trials"]["width"]["verdict"] == "passes")
    choose(reader, verdict="undecided", trial="")
    assert shown() == where(
        lambda _, b: "undecided" in [c["verdict"] for c in b["trials"].values()]
    )


def test_cells_show_sign_score_and_colour(reader, card):
    name = signs.best_first(card)[7]
    for trial, found in card["bounds"][name]["trials"].items():
        one = cell(card, name, trial)
        assert (
            reader.value(f"{one}.innerText").split() == signs.cell_text(found).split()
        )
        ground = signs.LIGHT[found["verdict"]][0]
        colour = ", ".join(str(int(ground[i : i + 2], 16)) for i in (1, 3, 5))
        seen = reader.value(f"getComputedStyle({one}.parentElement).backgroundColor")
        assert seen == f"rgb({colour})"
        assert found["verdict"] in reader.value(f"{one}.ariaLabel")


def test_a_click_opens_a_cell_and_escape_returns(reader, card):
    name = signs.best_first(card)[0]
    trial = next(
        t for t, c in card["bounds"][name]["trials"].items()
        if c["figure"] and c["figure"]["log_y"]
    )  # fmt: skip
    found = card["bounds"][name]["trials"][trial]
    reader.click(cell(card, name, trial))
    reader.wait(f"{DIALOG}.open")
    text = reader.value(f"{DIALOG}.innerText")
    low, high = signs.score(found["low"]), signs.score(found["high"])
    for part in (
        card["trials"][trial]["question"], card["trials"][trial]["formula"],
        found["sentence"], *found["numbers"], *found["numbers"].values(),
        f"{signs.score(found['score'])} [{low}, {high}]", "test error",
    ):  # fmt: skip
        assert part in text
    assert reader.value("location.hash") == f"#{name}/{trial}"
    svg = f"{DIALOG}.querySelector('figure svg')"
    assert "NaN" not in reader.value(f"{svg}.outerHTML")
    marks = reader.value(f"{svg}.querySelectorAll('.mark').length")
    assert marks == 13  # of 14: one is missing
    line = reader.value(f"{svg}.querySelectorAll('path.line')[1].getAttribute('d')")
    assert line.count("M") == 2  # the line is broken there
    reader.press("Escape")
    reader.wait(f"!{DIALOG}.open")
    reader.wait(f"{FOCUS} === {cell(card, name, trial)}")
    reader.wait("location.hash === ''")  # a closed dialog says so a moment later


def test_keys_go_about_and_open(reader, card):
    names = signs.best_first(card)
    reader.value(f"{head('uniform convergence')}.focus()")
    reader.press("Tab")
    place = f"decodeURIComponent({FOCUS}.hash)"
    assert reader.value(place) == f"#{names[0]}"
    reader.press("ArrowRight", "ArrowDown", "ArrowDown", "ArrowUp", "ArrowRight")
    assert reader.value(place) == f"#{names[1]}/tightness"
    reader.press("Enter")
    reader.wait(f"{DIALOG}.open")
    assert reader.value(f"{FOCUS}.innerText") == "close"
    reader.press("Enter")
    reader.wait(f"!{DIALOG}.open")
    reader.wait("location.hash === ''")
    reader.wait(f"{place} === '#{names[1]}/tightness'")
    reader.press("ArrowLeft", "ArrowLeft", "Enter")
    reader.wait(f"{DIALOG}.open")
    assert card["bounds"][names[1]]["about"] in reader.value(f"{DIALOG}.innerText")
    stops = "document.querySelectorAll('tbody [tabindex=\"0\"]').length"
    assert reader.value(stops) == 1


def test_a_name_opens_all_its_verdicts_and_each_leads_on(reader, card):
    name = list(card["bounds"])[-1]
    bound = card["bounds"][name]
    reader.click(f"{LINES}[{NAMES}.indexOf('{name}')].querySelector('th a')")
    reader.wait(f"{DIALOG}.open")
    text = reader.value(f"{DIALOG}.innerText")
    for part in (bound["paper"], bound["about"], bound["formula"], bound["status"]):
        assert part in text
    for trial, found in bound["trials"].items():
        assert card["trials"][trial]["title"] in text and found["sentence"] in text
    papers = reader.value(f"{DIALOG}.querySelector('dd a').href")
    assert papers == "https://arxiv.org/abs/1706.08498"
    reader.click(f"{DIALOG}.querySelectorAll('.verdicts a')[3]")
    reader.wait(f"location.hash === '#{name}/width'")
    reader.wait(f"{DIALOG}.innerText.includes({card['trials']['width']['question']!r})")
    reader.click(f"[...{DIALOG}.querySelectorAll('nav a')].at(-1)")
    reader.wait(f"{DIALOG}.innerText.includes({card['trials']['depth']['question']!r})")
    reader.press("Escape")
    reader.wait(f"{FOCUS} === {cell(card, name, 'depth')}")


def test_the_way_back_closes(reader, card):
    name = signs.best_first(card)[0]
    reader.click(cell(card, name, "validity"))
    reader.wait(f"{DIALOG}.open")
    reader.value("history.back()")
    reader.wait(f"!{DIALOG}.open")


def test_an_address_opens_its_cell(reader, file, card):
    name = next(iter(card["bounds"]))
    reader.open(file, f"#{name}/depth")
    assert reader.value(f"{DIALOG}.open")
    text = reader.value(f"{DIALOG}.innerText")
    assert card["trials"]["depth"]["question"] in text
    assert "no value that can be drawn" in text  # all of its values are missing
    for nothing in (
        "#nobody",
        f"#{name}/nothing",
        f"#{name}/depth/more",
        "#%zz",
        "#constructor",
    ):
        reader.open(file, nothing)
        assert not reader.value(f"{DIALOG}.open")


def test_heads_and_names_stay_when_the_matrix_is_scrolled(reader):
    box = "document.querySelector('.matrix')"
    reader.value(f"{box}.scrollTo(400, 900)")
    corner = reader.value(
        f"(() => {{ const b = {box}.getBoundingClientRect();"
        f"const h = {head('bound')}.parentElement.getBoundingClientRect();"
        f"const n = document.querySelectorAll('tbody th')[20].getBoundingClientRect();"
        "return [h.x - b.x, h.y - b.y, n.x - b.x]; })()"
    )
    assert all(abs(distance) <= 1 for distance in corner)


@pytest.mark.parametrize("fragment", ["", "#bartlett_2000", "#dziugaite_roy_2002_quadratic_posterior/ranking"])  # fmt: skip
@pytest.mark.parametrize("dark", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_on_a_phone_only_the_matrix_scrolls_sideways(reader, file, fragment, dark):
    reader.view(390, 844, dark)
    reader.open(file, fragment)
    assert reader.value("document.documentElement.scrollWidth") <= 390
    assert reader.value("document.querySelector('.matrix').scrollWidth") > 390
    if fragment:
        assert reader.value(f"{DIALOG}.open && {DIALOG}.scrollWidth") <= 390


def test_nothing_shown_is_no_number(reader):
    bad = reader.value(
        "(() => { const bad = []; panel.append(make('header'));"
        "for (const [name, bound] of bounds) for (const [trial, cell] of Object.entries(bound.trials)) {"
        "const text = make('div', ...ofBound(name, bound), ...ofCell(name, trial, cell)).outerHTML;"
        "if (/NaN|undefined|Infinity|null/.test(text)) bad.push([name, trial]); }"
        "return bad; })()"
    )
    assert bad == []


SPANS = [[1.0], [128.0, 8192.0], [0.9, 1.1], [1e-9, 1e30], [1e5, 1.00001e5]]


@pytest.mark.parametrize(
    "values, log",
    [*itertools.product(SPANS, (False, True)), ([0.0], False), ([-3.0, 5.0], False)],
)
def test_axes_have_few_ticks_within(opened, values, log):
    found = opened.value(
        f"(() => {{ const s = scale({values}, {str(log).lower()}, 0, 300, false);"
        "return s.ticks.map((tick) => [s.at(tick), tickText(tick)]); })()"
    )
    assert 1 <= len(found) <= 9
    assert all(-1 <= place <= 301 for place, _ in found)
    assert len({text for _, text in found}) == len(found)


def test_hostile_names_are_names(browser, tmp_path):
    path = tmp_path / "card.html"
    path.write_text(pages.page(made_up.hostile(), made_up.HOSTILE), encoding="utf-8")
    name = made_up.HOSTILE.replace("\udc80", "\\udc80")
    browser.view(1400)
    browser.open(path)
    assert sorted(browser.value(NAMES)) == sorted([name, "__proto__", "constructor"])
    for place in range(3):
        browser.click(f"{LINES}[{place}].querySelectorAll('td a')[12]")
        browser.wait(f"{DIALOG}.open")
        browser.press("Escape")
        browser.wait(f"!{DIALOG}.open")
        browser.click(f"{LINES}[{place}].querySelector('th a')")
        browser.wait(f"{DIALOG}.open")
        browser.press("Escape")
        browser.wait(f"!{DIALOG}.open")
    assert browser.value("document.querySelectorAll('img').length") == 0
    assert browser.complaints == [] and len(browser.requests) == 1


def test_without_scripts_answer_and_table_stand(browser, file, card):
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.view(1400)
        browser.open(file)
        text = browser.value("document.body.innerText")
        assert all(sentence in text for sentence in card["answer"])
        assert (
            browser.value("document.querySelectorAll('.plain tbody tr').length") == 40
        )
        assert not browser.value("document.querySelector('#filters').checkVisibility()")
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)
