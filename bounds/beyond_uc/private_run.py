"""Privacy for ONE run: a limit of its risk that fails with probability delta at most.

`bounds.beyond_uc.privacy` speaks of means over training sets and noise. Here is what a single
run of a mu-GDP algorithm supports, with all constants. Status: certified, for the algorithm
whose noise is Gaussian, m independent examples, replacing one of them as the neighbourhood,
0-1 loss, and any network.

An event of outputs. Let y be what the algorithm releases, h in it, g(p) = Phi(Phi^-1(p) + mu),
B a set of outputs that was fixed beforehand. For each i, with z fresh and S_i = S with z_i
replaced by z, renaming z_i and z gives

    E 1[A(S) in B] 1[h errs on z]  =  E Pr[A(S_i) in B and its h errs on z_i]
                                  <=  E g(Pr[A(S) in B and its h errs on z_i]).

The mean over i, and Jensen, as g is concave:

    (*)  E 1_B R_D  <=  g(E 1_B R_S).

The training error, too. R_S is no function of h, so "R_D is far above R_S" is no such B. Imagine
that a = R_S(h) + tau Z were released after h, Z a unit normal. Replacing an example moves R_S(h)
by 1/m, so (h, a) is mu'-GDP, mu'^2 = mu^2 + 1/(m tau)^2. Nobody draws Z: it serves the proof.
For numbers lam > 0, x, w, c > 0 fixed beforehand let

    bad = {R_D > lam (R_S + tau (x + w)) + c},    B = {R_D > lam (a + tau x) + c}.

Where bad holds and Z <= w, B holds; Z does not depend on the run: Pr bad <= Pr B / Phi(w). On B,
c < R_D - lam (a + tau x), so that with (*), g of mu', and psi(x) = E max(0, Z - x)

    c Pr B <= E 1_B R_D - lam E 1_B R_S + lam E 1_B (R_S - a - tau x)
           <= sup_p [g(p) - lam p] + lam tau psi(x).

So Pr bad <= delta for c = (sup_p [g(p) - lam p] + lam tau psi(x)) / (delta Phi(w)). The supremum
is Phi(u + mu') - lam Phi(u) at u = -ln(lam) / mu' - mu' / 2. The best lam for a training error r
makes the limit g(delta Phi(w) r') / (delta Phi(w)), r' = r + tau (x + w) + tau psi(x) / (delta
Phi(w)): about the bound in expectation, at delta times the error, over delta. The argument is
that of Jung et al. 2020 (their events and Markov's inequality), with the trade-off function of
Gaussian noise in the place of (epsilon, delta).

It says nothing where g(delta r) >= delta: at r = .05, delta = .05 from mu = 1.2 on. It grows
as delta falls, like exp(mu sqrt(2 ln(1/delta))). By removal of an example there is no such form:
the left side of (*) would be of runs with an empty place, the right side of full ones.
"""

import dataclasses

import numpy as np

from bounds.beyond_uc import privacy

_ROUNDING = 1e-12  # relative, of the two terms whose difference the supremum is


def _special():
    from scipy import special  # slow to import

    return special


def _check(size, mu, failure):
    if not (size >= 1 and 0 < mu < np.inf and 0 < failure < 1):
        raise ValueError(
            f"size={size} >= 1, mu={mu} in (0, inf), failure={failure} in (0, 1)"
        )


@dataclasses.dataclass(frozen=True)
class Form:
    """Numbers of the limit, fixed before the data are seen; any are sound.

    Attributes:
      factor: lam > 0, what the training error is multiplied by.
      width: tau > 0, of the noise that is imagined on the training error.
      reserve: x, in units of tau.
      margin: w, in units of tau.
    """

    factor: float
    width: float
    reserve: float
    margin: float


def _reserve_lost(x):
    """psi(x) = E max(0, Z - x)."""
    density = np.exp(-np.square(x) / 2) / np.sqrt(2 * np.pi)
    return np.maximum(density - x * _special().ndtr(-x), 0.0)


def excess(factor: float, mu: float) -> float:
    """sup over p of Phi(Phi^-1(p) + mu) - factor p, from above: the delta(ln factor) of mu-GDP.

    Args:
      factor: lam > 0.
      mu: > 0.

    Raises:
      ValueError: out of range.
    """
    if not (0 < factor < np.inf and 0 < mu < np.inf):
        raise ValueError(f"factor={factor} and mu={mu} in (0, inf)")
    ndtr = _special().ndtr
    u = -np.log(factor) / mu - mu / 2
    high, low = ndtr(u + mu), factor * ndtr(u)
    return float(high - low + _ROUNDING * (high + low) + 1e-300)


def _joint(mu, size, width):
    """mu' of the network and its noised training error."""
    return np.hypot(mu, 1 / (size * width))


def _constant(form, size, mu, failure):
    """c: what the limit adds to the multiple of the training error."""
    lost = form.factor * form.width * _reserve_lost(form.reserve)
    total = excess(form.factor, _joint(mu, size, form.width)) + lost
    return total / (failure * _special().ndtr(form.margin))


def form_for(size: int, mu: float, failure: float, expected: float) -> Form:
    """The form whose limit is least, on a grid, at a training error guessed beforehand.

    Args:
      size: m.
      mu: of the algorithm, for replacing one example.
      failure: delta.
      expected: r, a guess that does not look at the data.

    Raises:
      ValueError: out of range.
    """
    _check(size, mu, failure)
    if not 0 <= expected <= 1:
        raise ValueError(f"expected={expected} in [0, 1]")
    special = _special()
    own = np.geomspace(0.02, 10, 60)[:, None, None]  # 1 / (m tau), in units of mu
    x, w = np.linspace(0, 5, 41)[:, None], np.linspace(-2, 4, 49)
    width, joint = 1 / (size * own * mu), mu * np.hypot(1, own)
    share = failure * special.ndtr(w)
    # The search lowers no training error (x + w < 0); any form it finds is sound.
    error = expected + width * (np.maximum(x + w, 0) + _reserve_lost(x) / share)
    u = special.ndtri(np.clip(share * error, 1e-300, 1 - 1e-16))
    values = special.ndtr(u + joint) / share
    i, j, k = np.unravel_index(np.argmin(values), values.shape)
    joint = joint[i, 0, 0]
    return Form(
        # Of a large mu no float holds it; the limit is 1 there, as with any other.
        factor=float(np.exp(np.clip(-joint * u[i, j, k] - joint**2 / 2, -700, 700))),
        width=float(width[i, 0, 0]),
        reserve=float(x[j, 0]),
        margin=float(w[k]),
    )


def limit(
    train_error: float, size: int, mu: float, failure: float, form: Form
) -> float:
    """R_D of one run is at most this, but for a probability delta over S and the noise.

    Args:
      train_error: R_S of the run, on all m examples it was trained on.
      size: m.
      mu: of the algorithm, for replacing one example.
      failure: delta.
      form: fixed beforehand, for instance `form_for` a guess of the training error; the
        best of J forms holds with failure J delta.

    Raises:
      ValueError: out of range.
    """
    _check(size, mu, failure)
    if not (0 <= train_error <= 1 and form.width > 0):
        raise ValueError(f"train_error={train_error} in [0, 1], {form}: width > 0")
    raised = train_error + form.width * (form.reserve + form.margin)
    value = form.factor * raised + _constant(form, size, mu, failure)
    return float(np.clip(value, 0.0, 1.0))


def largest_train_error(
    risk: float, size: int, mu: float, failure: float, form: Form
) -> float | None:
    """The largest R_S whose `limit` is at most a risk; None where that of 0 is above it.

    Args:
      risk: in [0, 1).
      size, mu, failure, form: as of `limit`.

    Raises:
      ValueError: out of range.
    """
    if not 0 <= risk < 1:
        raise ValueError(f"risk={risk} in [0, 1)")
    _check(size, mu, failure)
    left = (risk - _constant(form, size, mu, failure)) / form.factor
    left -= form.width * (form.reserve + form.margin)
    return float(min(left, 1.0)) if left >= 0 else None


def frontier(
    size: int, mus: np.ndarray, failure: float, train_error: float
) -> np.ndarray:
    """For a plot over mu: the bound in expectation and the limit of one run, `[mus, 2]`.

    Each limit has the form made for this training error: what a right guess would bring.

    Args:
      size: m.
      mus: `[mus]`, > 0.
      failure: delta.
      train_error: R_S.
    """
    rows = []
    for mu in map(float, mus):
        form = form_for(size, mu, failure, train_error)
        one = limit(train_error, size, mu, failure, form)
        rows.append((privacy.in_expectation(train_error, mu), one))
    return np.array(rows)
