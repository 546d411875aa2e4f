"""The benchmark prints what its rows yield; speed itself is not tested."""

import pytest
from absl import flags
from absl.testing import flagsaver

from experiments.tools import benchmark
from experiments.tools.ours import our_coupled
from nets import runs


@pytest.fixture(autouse=True)
def parsed():
    if not flags.FLAGS.is_parsed():
        flags.FLAGS(["benchmark"])


def test_it_prints_times_and_their_ratio(monkeypatch, capsys):
    rows = {"made_up": lambda seconds: iter([("a step", 0.002, 0.003, "step")])}
    monkeypatch.setattr(benchmark, "ROWS", rows)
    monkeypatch.setattr(benchmark.devices, "use_cores", lambda _: None)
    with flagsaver.flagsaver(rows=["made_up"]):
        benchmark.main([])
    lines = capsys.readouterr().out.splitlines()
    line = next(line for line in lines if line.startswith("a step")).split()
    assert line == ["a", "step", "2", "3", "step", "1.5"]


def test_coupled_runs_are_trained(monkeypatch):
    ended = []
    train_many = runs.train_many

    def counted(*arguments):
        for tick in train_many(*arguments):
            ended.extend(tick.finished)
            yield tick

    monkeypatch.setattr(runs, "train_many", counted)
    our_coupled((8,), 16, 64, runs.make_layout())(5)
    assert sorted(ended) == [0, 1, 2, 3, 4]
