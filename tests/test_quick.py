"""The quick half of the tests is quick, is half of them, and looks into every room."""

import types

from tests import quick


def configured(**options):
    return types.SimpleNamespace(getoption=lambda name: options.get(name, False))


def test_what_is_slow_is_left_out_and_what_is_not_known_is_run():
    measured = {
        "slow.py": (40.0, 20),
        "many.py": (40.0, 2000),
        "short.py": (0.9 * quick.SHORT, 1),
        "one.py": (quick.SHORT, 1),
    }
    assert set(quick.left_out(measured)) == {"slow.py", "one.py"}


def test_the_quick_half():
    """At most 90 s on two cores: 120 s of both workers together, and what it takes to start."""
    measured = quick.record()
    slow = quick.left_out(measured)
    (seconds, count), (_, all_tests) = quick.total(slow), quick.total(measured)
    run = {name: pair for name, pair in measured.items() if name not in slow}
    assert quick.total(run)[0] < 120 < seconds and count < all_tests / 2
    for room in ("nets", "bounds", "experiments", "experiments/report_card"):
        assert sum(name.rpartition("/")[0] == room for name in run) >= 4, room


def test_what_was_measured_is_there():
    assert [name for name in quick.record() if not (quick.TESTS / name).exists()] == []


def test_only_quick_runs_leave_files_out_and_say_which():
    slow = next(iter(quick.left_out(quick.record())))
    chosen, whole = configured(quick=True), configured()
    for place, config, expected in (
        (quick.TESTS / slow, chosen, True),
        (quick.TESTS / slow, whole, None),
        (quick.TESTS / "test_quick.py", chosen, None),
        (quick.TESTS / "bounds" / "test_new.py", chosen, None),
        (quick.TESTS.parent / "bounds", chosen, None),
    ):
        assert quick.pytest_ignore_collect(place, config) is expected, place
    assert quick.pytest_report_header(whole) is None
    assert any(slow in line for line in quick.pytest_report_header(chosen))
