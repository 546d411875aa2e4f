"""Does it order networks as their errors do, whatever it is in which they differ?

On a factorial block of networks (m x width x depth x batch size), all of which fit their training
set. The criteria of `report_card.criteria`: Kendall's tau; the granulated tau Psi, the mean over
the settings of tau among networks that differ in this one alone (Jiang et al. 2020); conditional
mutual information, beside what an oracle scores that sees the error through another test set
(Jiang et al. 2020); the robust sign error in the worst environment (Dziugaite et al. 2020).

  score = (1 + Psi) / 2: 1 if all pairs are in order, 1/2 for a constant or a random number. The
  interval is the t-interval of Psi over seeds.

  verdict: beside the Psi of the oracle, the error of the network that the bound speaks of as another
  test set shows it. It passes if Psi
  is above half of the oracle's, by a t-test over seeds, and orders more than half of the pairs in
  every environment, as it is found; it fails if Psi is below half of the oracle's. It cannot pass where it is not
  available for a tenth of the block.
"""

import math

import numpy as np

from experiments.lab.report import number
from experiments.lab.statistics import t_interval
from experiments.report_card import criteria
from experiments.report_card.claims import Claims, Networks
from experiments.report_card.trials import trial

HALF = 0.5


def networks_of(networks: Networks) -> np.ndarray:
    """Those of the factorial block, of the seeds that it was trained with, `[N]`."""
    found = networks.usable & networks["is_factorial"]
    seeds, counts = np.unique(networks["seed"][found], return_counts=True)
    # A seed that only has networks of other blocks knows a corner of it.
    return found & np.isin(networks["seed"], seeds[2 * counts > counts.max(initial=0)])


def axes(networks: Networks, rows: np.ndarray) -> dict[str, np.ndarray]:
    """The settings that vary over the block: name -> `[n]`."""
    from experiments.report_card import suite

    found = {name: networks[name][rows] for name in ("m", *suite.AXES)}
    return {name: own for name, own in found.items() if len(np.unique(own)) > 1}


def judge(claims: Claims, networks: Networks) -> trial.Finding:
    """A `Finding`."""
    block = np.flatnonzero(networks_of(networks))
    if not len(block):
        return trial.undecided("There is no factorial block among these networks.")
    rows = block[claims.known[block]]
    if len(np.unique(networks["seed"][rows])) < trial.LEAST_SEEDS or len(rows) < len(block) / 2:  # fmt: skip
        return trial.not_available(claims)
    settings = axes(networks, rows)
    # Trained networks fit their training set: their error is the gap.
    measure, gap, seeds = claims.quantity[rows], claims.risk[rows], networks["seed"][rows]  # fmt: skip
    size = int(np.median(networks["test_size"][rows]))
    tau = criteria.kendall_tau(measure, gap)
    psi, whole = criteria.granulated_tau(measure, gap, settings, seeds)
    if math.isnan(whole):
        return trial.not_available(claims)
    of_seeds = []
    for seed in np.unique(seeds):
        own = seeds == seed
        only = {name: values[own] for name, values in settings.items()}
        of_seeds.append(criteria.granulated_tau(measure[own], gap[own], only)[1])
    of_seeds = np.array([value for value in of_seeds if not math.isnan(value)])
    if len(of_seeds) < trial.LEAST_SEEDS:
        return trial.undecided(
            f"Of {len(of_seeds)} seeds networks can be compared; {trial.LEAST_SEEDS} are needed."
        )
    information = criteria.conditional_mutual_information(measure, gap, settings)
    robust = criteria.robust_sign_error(measure, gap, settings, seeds, size)
    oracle, reach = networks.once_of("ranking", claims.errors(networks), _oracle)
    is_whole = len(rows) >= 0.9 * len(block)
    is_robust = robust["kept"] and robust["worst"] < HALF and is_whole
    low, high = t_interval(of_seeds)
    passing = trial.t_test(of_seeds - HALF * reach) if is_robust else 1.0
    failing = trial.t_test(HALF * reach - of_seeds)
    worst = (
        f"the worst environment ({robust['worst_environments'][0]}) has sign error "
        f"{robust['worst']:.2f}"
        if robust["kept"] else "no environment has enough pairs whose errors differ"
    )  # fmt: skip
    sentence = (
        f"Kendall's tau is {tau:+.2f} over {len(rows)} networks, the granulated tau {whole:+.2f}, "
        f"conditional mutual information {information:.2f}; {worst}."
    )
    return trial.Finding(
        (1 + whole) / 2, sentence,
        None if low is None else max(0.0, (1 + low) / 2),
        None if high is None else min(1.0, (1 + high) / 2),
        passing, failing,
        numbers={
            "granulated tau of the oracle": f"{reach:+.3f}",
            "Kendall's tau": f"{tau:+.3f}", "granulated tau": f"{whole:+.3f}",
            **{f"tau along {name}": f"{value:+.3f}" for name, value in psi.items()},
            "conditional mutual information": f"{information:.3f}",
            "of an oracle that sees another test set": f"{oracle:.3f}",
            "sign error, mean and worst": f"{number(robust['mean'])}, {number(robust['worst'])}",
        },
        figure=trial.figure("log10 of the measure", "error", [
            trial.points(f"m={m}", measure[networks["m"][rows] == m] / math.log(10),
                   gap[networks["m"][rows] == m], kind="points")
            for m in np.unique(networks["m"][rows])
        ]),
    )  # fmt: skip


ORACLES = 10  # test sets that the oracle's Psi is the mean over


def _oracle(networks, errors):
    """Conditional mutual information and Psi of an oracle that sees another test set."""
    rows = np.flatnonzero(networks_of(networks))
    random = np.random.default_rng(0)
    size = networks["test_size"][rows]
    gap, settings = errors[rows], axes(networks, rows)
    information = criteria.cmi_noise_oracle(gap, settings, int(np.median(size)), random)
    psi = [
        criteria.granulated_tau(
            random.binomial(size, gap) / size, gap, settings, networks["seed"][rows]
        )[1]
        for _ in range(ORACLES)
    ]
    return information, float(np.mean(psi))


TRIAL = trial.Trial.of_module(__name__, __doc__, "ranking", networks_of, judge)
