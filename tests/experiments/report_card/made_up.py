"""Cards as `card.json` has them, made up: every verdict, every kind of gap, hostile names."""

import numpy as np

TRIALS = {
    "validity": ("validity", "Does the bound lie above the error?"),
    "tightness": ("tightness", "How far above the error does it lie?"),
    "training_set_size": ("training-set size", "Does it fall with m as the error does?"),
    "width": ("width", "Does it stay where the error does, as the network is widened?"),
    "depth": ("depth", "Does it move with depth as the error does?"),
    "label_noise": ("label noise", "Does it rise with the share of random labels?"),
    "batch_and_rate": ("batch size and learning rate", "Does it order them as the error does?"),
    "margin_target": ("margin target", "Does it follow the error as training goes on?"),
    "fragility": ("fragility", "Is it the same for networks that compute the same function?"),
    "data_complexity": ("data complexity", "Is it larger on the harder problem?"),
    "invariance": ("invariance", "Does it see what the network is invariant to?"),
    "ranking": ("ranking", "Does it order networks as the error does (Kendall's tau)?"),
    "uniform_convergence": ("uniform convergence", "Does it escape Nagarajan & Kolter's limit?"),
}  # fmt: skip
STATUSES = ("certified", "certified under assumption", "up to constants", "heuristic")
VERDICTS = ("passes", "fails", "undecided", "makes no claim")
SPEAKS_OF = ("trained", "stochastic", "compressed", "algorithm")
FAMILIES = ("norms", "pac_bayes", "compression", "sharpness", "stability")
AUTHORS = (
    "bartlett", "neyshabur", "dziugaite_roy", "rivasplata", "golowich", "arora", "zhou", "xu_raginsky",
)  # fmt: skip
HOSTILE = "</script><script>alert(1)</script>\"'&<img src=x onerror=alert(2)>/%zz\udc80"


def figure(rng: np.random.Generator) -> dict:
    """Error and bound over m on logarithmic axes, with gaps."""
    sizes = [128, 256, 512, 1024, 2048, 4096, 8192]
    error = 0.25 * (np.array(sizes) / 128) ** -0.45
    bound = 10 ** rng.uniform(0, 5) * (np.array(sizes) / 128) ** rng.uniform(-0.5, 0.8)
    series = [
        ("test error", error, (0.9 * error).tolist(), (1.1 * error).tolist(), "line"),
        ("bound", bound, (bound * 0.7).tolist(), (bound * 1.4).tolist(), "line"),
    ]
    found = [
        {"name": n, "x": sizes, "y": y.tolist(), "low": low, "high": high, "kind": kind}
        for n, y, low, high, kind in series
    ]
    found[1]["y"][3] = None
    return {
        "x": "training-set size m", "y": "value", "log_x": True, "log_y": True, "series": found,
    }  # fmt: skip


def scatter(rng: np.random.Generator) -> dict:
    """Points on linear axes, no intervals."""
    x = rng.uniform(-1, 1, 60)
    y = 0.6 * x + rng.normal(0, 0.3, 60)
    one = {
        "name": "networks",
        "x": x.tolist(),
        "y": y.tolist(),
        "low": None,
        "high": None,
    }
    return {
        "x": "generalization gap", "y": "log of the bound", "log_x": False, "log_y": False,
        "series": [one | {"kind": "points"}],
    }  # fmt: skip


def cell(rng: np.random.Generator, verdict: str, title: str, drawn: bool) -> dict:
    """What a bound did in a trial."""
    if verdict == "makes no claim":
        return {
            "score": None, "low": None, "high": None, "verdict": verdict, "numbers": {}, "figure": None,
            "sentence": "It speaks of another network than the ones that this trial has.",
        }  # fmt: skip
    score = float(rng.uniform(-1, 1))
    return {
        "score": score, "low": score - 0.1, "high": score + 0.1, "verdict": verdict,
        "sentence": f"With {title} the error changes by a factor of 0.52, the bound by {score:.2f}.",
        "numbers": {"networks compared": "84", "exponent of the error": "-0.45 [-0.46, -0.44]"},
        "figure": (scatter if title == "ranking" else figure)(rng) if drawn else None,
    }  # fmt: skip


def card(bounds: int = 40, seed: int = 0, drawn: bool = True) -> dict:
    """A card of that many bounds; the first few are edge cases."""
    rng = np.random.default_rng(seed)
    found = {}
    for number in range(bounds):
        author = AUTHORS[number % len(AUTHORS)]
        suffix = ("", "_spectral_from_origin", "_quadratic_posterior")[number % 3]
        name = f"{author}_{2000 + number}{suffix}"
        good = rng.dirichlet([1.0, 1.5, 0.7, 0.8])
        found[name] = {
            "status": STATUSES[number % 4], "speaks_of": SPEAKS_OF[number // 2 % 4],
            "two_sided": number % 5 == 0, "family": FAMILIES[number % 5],
            "paper": f"{author.title()} et al. {2000 + number}, arXiv 1706.08498",
            "about": "The product of the layers' spectral norms over the margin.",
            "trials": {
                trial: cell(rng, VERDICTS[rng.choice(4, p=good)], title, drawn)
                for trial, (title, _) in TRIALS.items()
            },
        }  # fmt: skip
    first = list(found)
    edges = found[first[0]]["trials"]
    for trial, verdict in zip(TRIALS, VERDICTS, strict=False):
        edges[trial] = cell(rng, verdict, TRIALS[trial][0], drawn)
    edges["validity"] |= {"score": 1.0, "low": None, "high": None}
    edges["tightness"] |= {"score": 123456.0, "low": 98765.4, "high": float("inf")}
    edges["width"] |= {"score": 3.25}  # a score without a claim
    edges["depth"] |= {"verdict": "fails", "score": None, "figure": figure(rng)}
    for series in edges["depth"]["figure"]["series"]:
        series["y"] = [None] * len(series["x"])
    found[first[-1]]["formula"] = "prod_l ||W_l||_2 / (gamma sqrt m)"
    return {
        "version": 1, "suite": "standard",
        "answer": [
            f"Of {bounds} bounds, none passes all 13 trials; {first[-1]} passes the most.",
            "Of the certified ones 5 say something (are below chance) on real networks, all by PAC-Bayes.",
            "No bound that speaks of the trained network alone falls with m as the error does.",
        ],
        "made": {
            "networks": 560, "table_sha256": "0" * 64, "commit": "37865f1",
            "note": "Made up by a test.",
        },
        "trials": {
            name: {
                "title": title, "question": question, "networks": 84,
                "formula": "score = 1 - |slope of the bound - slope of the error| / |slope of the error|",
            }
            for name, (title, question) in TRIALS.items()
        },
        "bounds": found,
    }  # fmt: skip


def hostile() -> dict:
    """A card whose every text wants to be markup."""
    found = card(3)
    one, *rest = found["bounds"].values()
    one |= {"paper": HOSTILE, "about": HOSTILE, "formula": HOSTILE, "family": HOSTILE}
    for result in one["trials"].values():
        result |= {"sentence": HOSTILE, "numbers": {HOSTILE: HOSTILE}}
        if result["figure"]:
            result["figure"] |= {"x": HOSTILE, "y": HOSTILE}
            result["figure"]["series"][0]["name"] = HOSTILE
    found["bounds"] = {HOSTILE: one, "__proto__": rest[0], "constructor": rest[1]}
    found["answer"] = [HOSTILE] * 3
    found["made"] |= {"note": HOSTILE, "commit": HOSTILE}
    found["trials"]["width"] |= {
        "title": HOSTILE,
        "question": HOSTILE,
        "formula": HOSTILE,
    }
    return found
