"""Which bounds are meant by what is typed, and the list of all."""

import dataclasses

import pytest

import bounds
from bounds import registry
from experiments.lab import bound_settings
from experiments.lab.refusals import Refusal
from tests.experiments.tiny import finish, program


def test_names_typed_are_resolved():
    assert bound_settings.resolve(("all",)) == tuple(bounds.BOUNDS)
    assert set(bound_settings.resolve(("certified",))) == {
        n for n, s in bounds.BOUNDS.items() if s.status == "certified"
    }
    both = bound_settings.resolve(("pac_spectral_init", "neyshabur_2018", "path_l1"))
    assert both == ("neyshabur_2018", "golowich_2018_l1_path_certified")
    stochastic = bound_settings.resolve(("certified+stochastic",))
    assert stochastic and set(stochastic) == {
        n for n, s in bounds.BOUNDS.items()
        if (s.status, s.speaks_of) == ("certified", "stochastic")
    }  # fmt: skip
    family = bound_settings.resolve(("two_layer",))
    assert "neyshabur_2019" in family and len(family) < 10
    with pytest.raises(Refusal, match="no bound is all of that"):
        bound_settings.resolve(("up_to_constants+stochastic",))
    with pytest.raises(Refusal, match=r"--bounds=bartlet_2017.*bartlett_2017"):
        bound_settings.resolve(("bartlet_2017",))


def test_the_list_shows_every_bound_and_needs_no_network():
    code, printed, errors = finish(program("--list", name="evaluate"))
    assert code == 0 and not errors
    for name, spec in bounds.BOUNDS.items():
        assert f"\n{name} " in "\n" + printed and spec.paper in printed
        assert all(other in printed for other in spec.also)
    # and what a bound may ask for, each field with its shape
    for name, kind in registry.GROUPS.items():
        _, _, about = printed.partition(f"\n{name}: ")
        fields = [f.name for f in dataclasses.fields(kind)]
        assert about and all(f"{f}" in about for f in fields), name
