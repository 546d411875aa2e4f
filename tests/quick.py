"""`pytest --quick`: the files whose tests were seen to take little time each.

What a file's tests took is in `seconds.json`, by file: seconds on the clock of them all, with no program
compiled before and two workers on two cores, and how many tests they were. (Processor seconds would leave out
programs that tests start, which fork from another process.) A file is left
out if it takes `SHORT` seconds or more, and its tests `LIMIT` or more on the mean; one that was
never measured is run. `pytest -n 2 --dist worksteal --record_seconds` of all tests, with an empty compile cache,
measures anew.
"""

import collections
import json
import time
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
RECORD = TESTS / "seconds.json"
SHORT, LIMIT = 3.0, 0.09  # seconds: of a file, and a test


def record():
    """File, below `tests` -> (seconds, number of tests)."""
    return {name: tuple(pair) for name, pair in json.loads(RECORD.read_text()).items()}


def left_out(measured):
    """Those of the measured files that are slow."""
    return {
        name: (seconds, count)
        for name, (seconds, count) in measured.items()
        if seconds >= max(SHORT, LIMIT * count)
    }


def total(measured):
    """Seconds and number of tests of all these files."""
    pairs = measured.values()
    return sum(seconds for seconds, _ in pairs), sum(count for _, count in pairs)


def pytest_addoption(parser):
    parser.addoption("--quick", action="store_true", help="leave slow files out")
    parser.addoption(
        "--record_seconds", action="store_true", help=f"measure files: {RECORD.name}"
    )


def pytest_ignore_collect(collection_path, config):
    """Files that are named on the command line are not asked about, and run."""
    if not config.getoption("quick") or not collection_path.is_relative_to(TESTS):
        return None
    name = collection_path.relative_to(TESTS).as_posix()
    return True if name in left_out(record()) else None


def pytest_report_header(config):
    if not config.getoption("quick"):
        return None
    measured = record()
    slow = left_out(measured)
    (seconds, count), (all_seconds, all_tests) = total(slow), total(measured)
    line = (
        f"quick: {all_tests - count} of {all_tests} tests, {all_seconds - seconds:.0f} of "
        f"{all_seconds:.0f} s, as measured; left out (s, tests):"
    )
    return [line, *(f"  {name} ({s:.0f}, {n})" for name, (s, n) in slow.items())]


_spent = collections.defaultdict(lambda: [0.0, 0])


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item):
    start = time.perf_counter()
    try:
        return (yield)
    finally:
        if item.path.is_relative_to(TESTS):
            spent = _spent[item.path.relative_to(TESTS).as_posix()]
            spent[0] += time.perf_counter() - start
            spent[1] += 1


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """A worker of xdist has ended: what it has spent is added to what others have."""
    for name, (seconds, count) in node.workeroutput.get("spent", {}).items():
        _spent[name][0] += seconds
        _spent[name][1] += count


def pytest_sessionfinish(session):
    workeroutput = getattr(session.config, "workeroutput", None)
    if workeroutput is not None:
        workeroutput["spent"] = dict(_spent)
    elif session.config.getoption("record_seconds"):
        rounded = {name: [round(s, 1), n] for name, (s, n) in sorted(_spent.items())}
        lines = (f"  {json.dumps(name)}: {pair}" for name, pair in rounded.items())
        RECORD.write_text("{\n" + ",\n".join(lines) + "\n}\n")
