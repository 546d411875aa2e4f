"""The READMEs: their code does what it says, their links lead somewhere, they are short."""

import dataclasses
import json
import math
import re
import subprocess
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bounds
from experiments.lab import calls, plugins, program_flags, settings
from nets.mlp import Layers
from tests.experiments.test_command_line import PROGRAMS

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    ROOT / name
    for name in subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "*.md"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split()
)  # fmt: skip


def block(first_line, page="bounds/README.md"):
    """The Python block of a page that begins with a line."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.S)
    (only,) = [b for b in blocks if b.startswith(first_line)]
    return only


def anchors(page):
    """What a link can point to on a page: its headings, as GitHub names them."""
    heads = re.findall(r"^#+ (.*)$", page.read_text(), re.M)
    return {
        re.sub(r"[^\w\- ]", "", head.strip().lower()).replace(" ", "-")
        for head in heads
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    for link in links:
        path, _, anchor = link.partition("#")
        if "://" in link:
            continue
        target = (page.parent / path) if path else page
        assert target.exists(), link
        if target.is_dir():
            target /= "README.md"
        assert not anchor or anchor in anchors(target), link


def test_the_readme_is_short_and_every_room_has_one():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 250
    for room in ("nets", "bounds", "experiments", "experiments/problems"):
        assert ROOT / room / "README.md" in PAGES
        assert f"]({room}/README.md" in (ROOT / "README.md").read_text()


def test_rooms_say_what_is_in_them():
    """Every module is named in the README of its room (of experiments: every package)."""
    for room, what in (
        ("nets", "*.py"), ("bounds", "*"), ("experiments", "*"), ("experiments/lab", "*.py"),
    ):  # fmt: skip
        text = (ROOT / room.removesuffix("/lab") / "README.md").read_text()
        for path in (ROOT / room).glob(what):
            if path.name[0] not in "_." and path.suffix in (".py", ""):
                assert path.name in text, path


def flags_of(asked):
    found = {"plugin", *settings.names(program_flags.Call)}
    for problem in [None, *calls.problems_of(asked)]:
        found |= set(settings.names(calls.kind_of(asked, problem)))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_commands_use_flags_that_there_are(page):
    by_name = {asked.name: flags_of(asked) for asked in PROGRAMS}
    text = page.read_text().replace("\\\n", " ")
    commands = re.findall(r"python -m experiments\.(\w+)([^\n`#]*)", text)
    for name, flags in commands:
        if name in by_name:
            used = set(re.findall(r"--(\w+)", flags)) - {"help"}
            assert used <= by_name[name] | {"gap"}, (name, used - by_name[name])


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_commands_name_presets_and_settings_that_go_together(page):
    """Of a problem that is named, or else taken; not of a plugin, a file to verify, or what `...` stands for."""
    by_name = {asked.name: asked for asked in PROGRAMS}
    text = page.read_text().replace("\\\n", " ")
    for name, line in re.findall(r"python -m experiments\.(\w+)([^\n`#]*)", text):
        if name not in by_name or re.search(r"--plugin|--verify|\.\.\.", line):
            continue
        asked, typed = by_name[name], dict(re.findall(r"--(\w+)=(\S+)", line))
        preset = typed.pop("preset", None)
        kinds = {
            field.name: field.type
            for problem in [None, *calls.problems_of(asked)]
            for field in dataclasses.fields(calls.kind_of(asked, problem))
        }
        own = {
            n: settings.parsed(n, value.strip("'"), kinds[n])
            for n, value in typed.items()
            if n in kinds
        }
        calls.settings_of(asked, own.get("problem"), preset, own)


@pytest.mark.slow
def test_measured_and_bounded_in_five_lines(capsys):
    rng = np.random.default_rng(0)
    weights = [rng.standard_normal(s).astype(np.float32) for s in [(4, 6), (6, 3)]]
    code = block("import bounds  # in")
    assert len([line for line in code.splitlines() if line.strip()]) <= 5
    variables = {
        "weights": weights, "inputs": rng.standard_normal((20, 4)),
        "labels": rng.integers(3, size=20), "initial_weights": [w / 2 for w in weights],
    }  # fmt: skip
    exec(code, variables)
    printed = capsys.readouterr().out
    assert all(f"{name} " in printed for name in bounds.BOUNDS)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_network_in_four_ways(tmp_path, monkeypatch, capsys):
    """The README's block, on one network given as each of them: the same numbers."""
    torch = pytest.importorskip("torch", reason="needs PyTorch")
    rng = np.random.default_rng(0)
    code = block("network = bounds.from_apply", "README.md")
    assert len(code.splitlines()) <= 20
    module = Layers((6, 3))
    x, y = rng.standard_normal((20, 4)).astype(np.float32), rng.integers(3, size=20)
    first, last = (module.init(jax.random.key(n), x) for n in (0, 1))

    def logits(params, x):
        hidden = jnp.maximum(x @ params[0], 0)
        return hidden @ params[1]

    def arrays(variables):
        every = variables["params"]
        return [np.asarray(every[f"Dense_{n}"]["kernel"]) for n in range(2)]

    def in_torch(variables):
        layers = [torch.nn.Linear(*a.shape, bias=False) for a in arrays(variables)]
        for layer, array in zip(layers, arrays(variables), strict=True):
            layer.weight = torch.nn.Parameter(torch.from_numpy(array.T.copy()))
        return torch.nn.Sequential(layers[0], torch.nn.ReLU(), layers[1]).eval()

    monkeypatch.chdir(tmp_path)
    for name, variables in (("net", last), ("first", first)):
        torch.onnx.export(
            in_torch(variables), (torch.from_numpy(x[:2]),), f"{name}.onnx", dynamo=False,
            input_names=["x"], dynamic_axes={"x": {0: "n"}},
        )  # fmt: skip
    given = {
        "bounds": bounds, "module": module, "variables": last, "first_variables": first,
        "logits": logits, "params": arrays(last), "first_params": arrays(first), "x": x, "y": y,
        "torch_module": in_torch(last), "first_module": in_torch(first),
    }  # fmt: skip
    ways = [line for line in code.splitlines() if line.startswith("network =")]
    assert len(ways) == 4
    names, found = ("path_norm", "neyshabur_2018", "occam_float32", "fro_over_spec"), []
    for way in ways:
        exec(way, given)
        values = bounds.values(given["network"], names, margin=0.5)
        found.append([float(values[name].value) for name in names])
    np.testing.assert_allclose(found[1:], [found[0]] * 3, rtol=1e-5)
    exec(code, given)
    printed = capsys.readouterr().out
    assert all(name in printed for name in bounds.BOUNDS)


@pytest.mark.parametrize("page", ["README.md", "bounds/README.md"])
def test_a_bound_of_ones_own(tmp_path, entered, page):
    path = tmp_path / "mine.py"
    path.write_text(block("# mine.py", page))
    assert plugins.load(str(path)).bounds == ("mine_2026",)
    rng = np.random.default_rng(0)
    weights = [rng.standard_normal((4, 3)).astype(np.float32)]
    data = rng.standard_normal((20, 4)), rng.integers(3, size=20)
    network = bounds.from_arrays(weights, *data)
    found = bounds.values(network, ["mine_2026"], margin=0.5)["mine_2026"]
    excess = np.linalg.norm(weights[0]) / (0.5 * np.sqrt(20))
    assert abs(found.excess / excess - 1) < 1e-6


def test_a_bound_that_measures_something_of_its_own(tmp_path, entered):
    path = tmp_path / "largest.py"
    path.write_text(block("# largest.py"))
    assert plugins.load(str(path)).bounds == ("largest_2026",)
    weights = [np.full((4, 3), 5.0)]
    network = bounds.from_arrays(weights, np.ones((20, 4)), np.zeros(20, int))
    found = bounds.values(network, ["largest_2026"])["largest_2026"]
    assert abs(found.excess**2 * 20 / (np.log(5) + np.log(20)) - 1) < 1e-6


def test_every_bound_is_in_the_table_of_families():
    """By its name, or by how it ends after the name it is a form of."""
    text = (ROOT / "bounds" / "README.md").read_text().partition("**What the words")[0]
    for name in bounds.BOUNDS:
        spec = bounds.BOUNDS[name]
        if "Jiang" not in spec.paper:
            ends = [name[i:] for i in range(len(name)) if name[i] == "_"]
            starts = [name[:i] for i in range(1, len(name)) if name[i - 1] == "_"]
            forms = [name, *ends, *(f"...{end}" for end in ends)]
            forms += [f"{start}..." for start in starts]
            assert any(f"`{form}`" in text for form in forms), name


def test_the_table_of_the_papers_experiment_is_what_was_found():
    """Every cell of ours is the number in the gallery's summary of that run."""
    lines = (ROOT / "README.md").read_text().splitlines()
    first = next(n for n, line in enumerate(lines) if line.startswith("| **test error"))
    quantities = ("test_error", "neyshabur_2018/target", "bartlett_2017/target")
    runs = ("mnist_width1024", "mnist_width256", "mnist_cnn")
    expected = [(quantity, run) for quantity in quantities for run in (None, *runs)]
    for line, (quantity, run) in zip(
        lines[first : first + len(expected)], expected, strict=True
    ):
        if run is None:
            continue
        summary = json.loads(
            (ROOT / "experiments" / "gallery" / f"{run}.json").read_text()
        )
        found = summary.get("variants", {"": summary})[""]
        _, *cells, exponent = (cell.strip() for cell in line.strip("|").split("|"))
        for cell, entry in zip(
            cells, found["by_size"][quantity].values(), strict=False
        ):
            mean, low, high = (entry[name] for name in ("mean", "low", "high"))
            if quantity == "test_error":
                shown = f"{mean:.3f} ± {(high - low) / 2:.3f}"
            else:
                shown = f"{math.log10(mean):.2f} ± {math.log10(high / low) / 2:.2f}"
            assert cell == shown, line
        assert not any(cells[len(found["by_size"][quantity]) :])
        slope = found["slopes"][quantity]
        assert (
            exponent
            == f"{slope['mean']:+.2f} [{slope['low']:.2f}, {slope['high']:.2f}]"
        )


def test_what_privacy_says_of_mnist_is_what_was_found():
    """Every row of that table is a claim in the gallery's summary of its run."""
    text = (ROOT / "experiments" / "beyond_uc" / "README.md").read_text()
    path = ROOT / "experiments" / "gallery" / "beyond_mnist_private.json"
    claims = {c["claim"]: c for c in json.loads(path.read_text())["claims"]}
    rows = re.findall(r"^\| [a-z ]+, `(privacy_\w+[.\w]*)` \| (.+) \|$", text, re.M)
    for name, rest in rows:
        claim, (point,) = claims[name], claims[name]["points"]
        assert point["m"] == 45000
        expected = claim["in_expectation"]
        status = claim["status"] + (", in expectation" if expected else "")
        cells = (f"{point[k]:.4f}" for k in ("value", "empirical", "error"))
        assert rest.split(" | ") == [status, *cells], name
    assert len(rows) == 6


def test_what_the_tools_beyond_uniform_convergence_say_is_what_was_found():
    """Every cell of their table is the number in the gallery's summary of that run."""
    text = (ROOT / "experiments" / "beyond_uc" / "README.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    first = next(n for n, line in enumerate(lines) if line.startswith("| claim |"))
    heads = [cell.strip() for cell in lines[first].strip("|").split("|")][2:]
    found = {}
    for head in heads:
        problem, size = head.split(", m = ")
        path = ROOT / "experiments" / "gallery" / f"beyond_{problem}.json"
        summary = json.loads(path.read_text())
        for claim in summary["claims"]:
            point = claim["points"][-1]
            assert point["m"] == int(size)
            value = "not available"
            if point["value"] is not None:
                is_vacuous = point["value"] >= 1
                value = "vacuous" if is_vacuous else f"{point['value']:.3f}"
            error = "" if point["error"] is None else f" / {point['error']:.3f}"
            found[claim["claim"], head] = value if value[0] == "n" else value + error
    checked = 0
    for line in lines[first + 1 :]:
        name, _, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        if not name.startswith("`"):
            continue
        for head, cell in zip(heads, cells, strict=True):
            assert cell == found.get((name.strip("`"), head), ""), (name, head)
            checked += bool(cell)
    assert checked == len(found)


def _card():
    path = ROOT / "experiments" / "gallery" / "card_standard.json"
    return json.loads(path.read_text())


def _verdicts(bound):
    return [trial["verdict"] for trial in bound["trials"].values()]


def test_every_key_of_card_json_is_documented():
    page = (ROOT / "experiments/report_card/README.md").read_text()
    section = page.partition("## card.json")[2].partition("\n## ")[0]
    said, card = set(re.findall(r"\w+", section)), _card()
    kinds = [card, card["made"], *card["trials"].values(), *card["bounds"].values()]
    kinds += [
        cell for bound in card["bounds"].values() for cell in bound["trials"].values()
    ]
    assert {key for kind in kinds for key in kind} <= said
    assert set(card["trials"]) <= said
    assert {
        word
        for b in card["bounds"].values()
        for v in _verdicts(b)
        for word in v.split()
    } <= said
    assert card["version"] == 1 and "version   1;" in section


CARD_PAGES = ("README.md", "experiments/report_card/README.md")


def test_the_card_in_the_gallery_has_every_bound():
    assert set(bounds.BOUNDS) <= set(_card()["bounds"])


@pytest.mark.parametrize("page", CARD_PAGES)
def test_what_is_said_of_the_report_card_is_what_it_says(page):
    """Counts of bounds, trials and verdicts, from the card in the gallery."""
    card, text = _card(), " ".join((ROOT / page).read_text().split())
    rows = {n: b for n, b in card["bounds"].items() if not n.startswith("reference_")}
    claims = {n: rows.pop(n) for n, b in [*rows.items()] if b["family"] == "beyond_uc"}
    paced = [
        n
        for n, b in claims.items()
        if b["trials"]["training_set_size"]["verdict"] == "passes"
    ]
    assert {"surrogate", "holdout"} == {
        n for n in paced if claims[n]["status"] == "certified"
    }
    blind = {n: b for n, b in rows.items() if not b["uses_holdout"]}
    two_sided = [b for b in rows.values() if b["two_sided"]]
    size = [b["trials"]["training_set_size"]["verdict"] for b in two_sided]
    failing = size.count("fails")
    assert "passes" not in size
    trials = len(card["trials"])
    said = {
        r"(\d+) bounds and measures in (\d+) trials": (len(rows), trials),
        r"of the (\d+) (?:bounds )?with a two-sided proof (\d+) fail": (len(size), failing),
        r"None of the (\d+) that look": (len(blind),),
        r"Of (\d+) bounds and measures that look": (len(blind),),
        r"All (\d+) bounds with a two-sided proof that": (failing,),
        r"hold-out bound[^.]{0,30} passes (\d+) of (\d+)": (
            _verdicts(rows["holdout_cp"]).count("passes"), trials,
        ),
        r"Of (\d+) claims(?: beyond uniform convergence)? (\d+) fall": (len(claims), len(paced)),
        r"`maurer_2004_kl_layers` and its kin, (\d+) of (\d+)": (
            max(_verdicts(b).count("passes") for b in blind.values()), trials,
        ),
        r"`reference_oracle`\) passes (\d+) and fails none": (
            _verdicts(card["bounds"]["reference_oracle"]).count("passes"),
        ),
    }  # fmt: skip
    found = 0
    for pattern, numbers in said.items():
        for match in re.finditer(pattern, text, re.IGNORECASE):
            found += 1
            assert tuple(map(int, match.groups())) == numbers, match.group()
    assert found >= 5
    for bound in blind.values():  # none passes most and fails none
        verdicts = _verdicts(bound)
        passed = verdicts.count("passes")
        assert "fails" in verdicts or 2 * passed <= trials
    assert "fails" not in _verdicts(card["bounds"]["reference_oracle"])
