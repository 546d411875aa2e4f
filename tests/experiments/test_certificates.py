"""Which certificate may be quoted, and in which words."""

import pytest

from experiments.lab import certificates, refuting, report
from experiments.lab.formats import write_json, write_table
from experiments.lab.refusals import Refusal

ASKED = ("holdout_cp", "zhou_2019_code", "occam_float32", "bartlett_1998_vc")
ROWS = [
    {"bound": "train_error", "value": 0.0},
    {"bound": "occam_float32", "value": 0.4},
    {"bound": "maurer_2004_kl", "value": 0.31, "risk": 0.2},
    {"bound": "holdout_cp", "value": 0.7},
    {"bound": "bartlett_2017_certified", "value": None},
    {"bound": "bartlett_1998_vc", "value": float("nan")},
    {"bound": "bartlett_2017", "value": 0.01},
]


@pytest.mark.parametrize(
    ("delta", "says"),
    [(0.05, "0.95"), (0.035, "0.965"), (0.0035, "0.9965"), (1e-7, "1 - 1e-07"), (1 / 3, "1 - 0.333333")],
)  # fmt: skip
def test_no_confidence_is_1(delta, says):
    assert report.confidence(delta) == says


def test_what_was_seen_is_not_chosen_afterwards(tmp_path):
    """Neither by leaving out what is quoted, nor by what goes before it, nor where nothing was."""
    rows = [
        {"network": "net", "bound": n, "value": v}
        for n, v in (("zhou_2019_code", 0.3), ("occam_float32", 0.9))
    ]
    found = {
        "quoted_from": [*ASKED],
        "quotes": {"net": rows[0], "other": None},
        "bounds": rows,
    }
    write_json(tmp_path / "summary.json", found)
    both = ("zhou_2019_code", "occam_float32")
    certificates.check_quoted(ASKED, both, tmp_path)
    certificates.check_quoted(
        ASKED, (*both, "bartlett_1998_vc"), tmp_path
    )  # comes behind
    with pytest.raises(Refusal, match=r"zhou_2019_code of net.*may not be left out"):
        certificates.check_quoted(ASKED, ("occam_float32",), tmp_path)
    with pytest.raises(Refusal, match=r"no bound may come in before it \(holdout_cp\)"):
        certificates.check_quoted(ASKED, ("holdout_cp", *both), tmp_path)
    write_json(tmp_path / "summary.json", {"quoted_from": []})
    certificates.check_order(
        ("zhou_2019_code",), tmp_path
    )  # its tables had no certificate
    write_table(tmp_path / "bounds.csv", ["bound", "value"], rows)
    with pytest.raises(
        Refusal, match="quotes no certificate, and its tables have some"
    ):
        certificates.check_order(("zhou_2019_code",), tmp_path)


def test_what_rests_on_what_a_refuted_one_rests_on_is_not_quoted():
    """A prior that has seen the examples, say: a looser bound around it need not be refuted, too."""
    order = ("maurer_2004_kl_posterior", "mcallester_1999_posterior", "occam_float32")
    rows = [{"bound": name, "value": 0.9, "status": "certified"} for name in order]
    assert certificates.quotable(rows, order)["bound"] == order[0]
    rows[0]["status"] = f"{refuting.REFUTED}: it errs"
    assert certificates.quotable(rows, order)["bound"] == "occam_float32"
    assert certificates.quotable(rows, order[:2]) is None
    rows[0]["value"] = None  # then it cannot be had, and the next is
    assert certificates.quotable(rows, order)["bound"] == order[1]


def test_what_is_quoted_is_fixed_beforehand_and_not_the_least():
    def quoted(*asked):
        row = certificates.quotable(ROWS, asked)
        return row and row["bound"]

    assert quoted("holdout_cp", "maurer_2004_kl") == "holdout_cp"  # 0.7, not 0.31
    assert quoted("maurer_2004_kl", "holdout_cp") == "maurer_2004_kl"
    # What cannot be had is passed over; a measure certifies nothing, however small.
    assert quoted("bartlett_2017_certified", "occam_float32") == "occam_float32"
    assert quoted("train_error", "bartlett_2017") is None
    assert quoted("bartlett_1998_vc", "holdout_cp") == "holdout_cp"  # not a number
    assert quoted() is None


@pytest.mark.parametrize(
    ("bound", "value", "says"),
    [
        ("holdout_cp", 0.25, "net: the trained network errs on at most 0.25 of new"),
        ("maurer_2004_kl", 0.25, "net: not the trained network but a stochastic one"),
        ("zhou_2019_code", 0.25, "net: not the trained network but one made from it"),
    ],
)
def test_the_sentence_says_of_which_network_it_speaks(bound, value, says):
    row = {"bound": bound, "value": value, "risk": 0.125}
    line = certificates.sentence("net", row, 0.035, 10, 0.5)
    assert line.startswith(says) and "confidence 0.965" in line
    assert f"({bound}, fixed beforehand)" in line and "vacuous" not in line
    is_held_out = bound == "holdout_cp"
    assert ("drawn like the held-out ones" in line) == is_held_out
    assert ("if no choice of the network has seen" in line) == is_held_out
    own = "0.5" if bound == "holdout_cp" else "0.125"
    assert line.endswith(f"own error on held-out examples is {own}.")


def test_a_quoted_number_is_never_rounded_down():
    for value in (0.026361, 0.2500001, 0.123449999, 3.00001e-5):
        row = {"bound": "holdout_cp", "value": value}
        line = certificates.sentence("net", row, 0.05, 10, None)
        said = float(line.split("at most ")[1].split()[0])
        assert value <= said <= value * 1.001


def test_bounds_are_rounded_to_the_side_on_which_they_hold():
    for value in (0.026361, 1.00001, 123456.7, 3.00001e-5, 0.25):
        assert value <= float(report.at_most(value)) <= value * 1.001
    for value in (0.84499, 0.8445, 0.9999, -0.0004):
        assert value - 0.001 < float(report.at_least(value)) <= value
    assert report.at_most(float("inf")) == "inf"
    row = {"bound": "holdout_cp", "value": 0.123449}
    assert certificates.shown_value(row) == "0.1235"
    assert certificates.shown_value(row | {"bound": "params"}) == "0.1234"


@pytest.mark.parametrize(
    ("name", "says"),
    [("holdoutcp", "no such bound"), ("train_error", "no certificate")],
)
def test_what_cannot_be_quoted_is_refused(name, says):
    with pytest.raises(Refusal, match=f"--quote={name}: .*{says}"):
        certificates.check_quote(("holdout_cp", name), ["holdout_cp", "train_error"])


def test_assumptions_and_vacuous_ones_are_named():
    row = {"bound": "bartlett_2017_lemma_a8", "value": 390.0}
    line = certificates.sentence("net", row, 0.05, 10, None)
    assert "assumes that the lemma's constants are as recalled" in line
    assert "vacuous, guessing uniformly errs on 0.9" in line
    assert "no certificate" in certificates.sentence("net", None, 0.05, 10, None)


def test_rows_go_by_whether_they_say_something_then_status_then_value():
    names = [row["bound"] for row in certificates.order(ROWS, 3)]
    assert names[:2] == ["maurer_2004_kl", "occam_float32"]  # below 2/3
    assert names[2:4] == [
        "holdout_cp",
        "bartlett_1998_vc",
    ]  # certified, not a number last
    assert names[4:] == ["bartlett_2017", "train_error", "bartlett_2017_certified"]


def test_who_has_seen_the_tables_keeps_the_order_of_quoting(tmp_path):
    certificates.check_order(("a", "b"), tmp_path)  # nothing was seen yet
    write_json(tmp_path / "summary.json", {"quoted_from": ["a", "b"]})
    certificates.check_order(("a", "b"), tmp_path)
    certificates.check_order(("a", "b", "c"), tmp_path)
    for asked in (("b",), ("b", "a"), ("c", "a", "b"), ("a",), ()):
        with pytest.raises(Refusal, match="--quote=a,b"):
            certificates.check_order(asked, tmp_path)
