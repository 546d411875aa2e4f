"""Supersample information on channels of known information and learners of known gap."""

import numpy as np
import pytest

from bounds.beyond_uc import information, supersample
from tests.oracles import supersample as oracle


def entropy(p):
    p = np.array([p, 1 - p])
    return -float(np.sum(p[p > 0] * np.log(p[p > 0])))


def channel(name, bits, rng):
    """(letters, true information) of a channel with uniform input."""
    noise = rng.random(bits.shape)
    if name == "symmetric":
        return np.where(noise < 0.1, 1 - bits, bits), np.log(2) - entropy(0.1)
    if name == "z":
        return np.where(noise < 0.3, 0, bits), entropy(0.35) - entropy(0.3) / 2
    if name == "erasure":
        return np.where(noise < 0.4, "?", bits.astype(str)), 0.6 * np.log(2)
    return rng.integers(5, size=bits.shape), 0.0


@pytest.mark.parametrize("name", ["symmetric", "z", "erasure", "independent"])
def test_information_of_known_channels(name):
    rng = np.random.default_rng(0)
    bits = rng.integers(2, size=(3, 200_000))
    letters, truth = channel(name, bits, rng)
    assert information.mutual_information(letters, bits) == pytest.approx(
        truth, abs=4e-3
    )
    assert information.miller_madow(letters, bits) == pytest.approx(truth, abs=4e-3)


@pytest.mark.parametrize("alphabet", [3, 7, 40])
def test_plug_in_and_miller_madow_are_those_of_loops(alphabet):
    rng = np.random.default_rng(alphabet)
    letters, bits = (
        rng.integers(alphabet, size=(2, 9, 4)),
        rng.integers(2, size=(2, 9, 4)),
    )
    plugin = information.mutual_information(letters, bits, axis=1)
    corrected = information.miller_madow(letters, bits, axis=1)
    assert plugin.shape == corrected.shape == (2, 4)
    for k in range(2):
        for i in range(4):
            found = oracle.mutual_information(
                letters[k, :, i].tolist(), bits[k, :, i].tolist()
            )
            assert (plugin[k, i], corrected[k, i]) == pytest.approx(found, abs=1e-12)


def test_bias_where_nothing_is_to_be_found():
    rng = np.random.default_rng(1)
    bits, letters = (
        rng.integers(2, size=(20_000, 64)),
        rng.integers(3, size=(20_000, 64)),
    )
    plugin = information.mutual_information(letters, bits)
    assert plugin.mean() == pytest.approx(2 / (2 * 64), rel=0.05)
    assert abs(information.miller_madow(letters, bits).mean()) < 0.1 * plugin.mean()
    assert np.sqrt(2 * plugin).mean() == pytest.approx(
        information.independent_level(3, 64), rel=0.03
    )


def cells(masks, new_error, trained_error, rng):
    """0-1 losses: each member wrong by itself, at a rate that says if it was trained on."""
    trained = np.stack([1 - masks, masks], axis=-1).astype(bool)
    rate = np.where(trained, trained_error, new_error)
    return (rng.random(rate.shape) < rate).astype(float)


def nearest_neighbour(k1, k2, m, rng, noise=0.226):
    """Losses and masks: points on a line, labels flipped with noise."""
    x = rng.normal(size=(k1, m, 2))
    y = (x > 0) ^ (rng.random(x.shape) < noise)
    masks = rng.integers(2, size=(k1, k2, m))
    losses = np.empty((k1, k2, m, 2))
    rows = np.arange(m)
    for a in range(k1):
        for b in range(k2):
            u = masks[a, b]
            nearest = np.abs(x[a].reshape(-1, 1) - x[a][rows, u]).argmin(axis=1)
            guess = y[a][rows, u][nearest]
            losses[a, b] = (guess != y[a].reshape(-1)).reshape(m, 2)
    return losses, masks


@pytest.fixture(scope="module")
def neighbour():
    return nearest_neighbour(60, 100, 20, np.random.default_rng(2))


def test_nearest_neighbour_and_the_interpolating_identity(neighbour):
    losses, masks = neighbour
    free = supersample.unconditional(losses, masks)
    assert free.is_interpolating
    assert 0.3 < free.gap.mean < 0.42
    # Exactly, draw by draw: q = gap.
    assert free.interpolating == pytest.approx(free.gap.mean, abs=1e-12)
    assert free.disagreement == pytest.approx(free.gap.mean, abs=1e-9)
    assert free.square_root == pytest.approx(
        np.sqrt(2 * np.log(2) * free.gap.mean), abs=1e-12
    )
    given = supersample.ld_cmi(losses, masks, shuffles=19)
    # Given Z it is an upper bound only, and not by its bias alone.
    assert given.corrected.low / np.log(2) > free.gap.mean + 0.02
    assert given.is_distinguishable
    assert given.square_root_corrected.mean > free.gap.mean
    assert free.test_error.mean < supersample.fast_rate(0, given.corrected.mean)


def test_the_forms_of_one_row_are_ordered_by_what_is_looked_at():
    rng = np.random.default_rng(3)
    masks = rng.integers(2, size=(4, 60, 20))
    losses = cells(masks, 0.5, 0.2, rng)
    labels = rng.integers(4, size=(4, 1, losses.shape[2], 2))
    wrong = (labels + rng.integers(1, 4, size=losses.shape)) % 4
    predictions = np.where(losses == 1, wrong, labels)
    roots = [
        supersample.ld_cmi(losses, masks, 0).square_root,
        supersample.e_cmi(losses, masks, 0).square_root,
        supersample.f_cmi(predictions, masks, 0).square_root,
    ]
    for one in np.split(np.arange(len(masks)), len(masks)):  # in every supersample
        each = [
            supersample.ld_cmi(losses[one], masks[one], 0).square_root.mean,
            supersample.e_cmi(losses[one], masks[one], 0).square_root.mean,
            supersample.f_cmi(predictions[one], masks[one], 0).square_root.mean,
        ]
        assert (np.diff(each) >= -1e-12).all()
    assert roots[2].mean > roots[1].mean + 0.01 > roots[0].mean + 0.02
    assert roots[0].mean == pytest.approx(
        oracle.square_root_form(
            (losses[..., 1] - losses[..., 0]).tolist(), masks.tolist()
        )
    )
    pairs = [[[tuple(p) for p in row] for row in one] for one in predictions.tolist()]
    assert roots[2].mean == pytest.approx(
        oracle.square_root_form(pairs, masks.tolist())
    )


def in_whole_numbers(m, draws, classes):
    """Masks, predictions and labels by a formula, so that any code can be given the same.

    As learners that interpolate but for a seventh: the label of what was trained on, else a guess.
    """
    i, k = np.meshgrid(np.arange(m), np.arange(draws))
    masks = (i * i + 3 * i * k + k**3 // 3 + (i + k) // 5) % 2
    labels = np.stack([i % classes, i // 2 % classes], -1)
    guesses = np.stack(
        [(i + 2 * k + i * k // 4) % classes, (3 * i + k * k // 2) % classes], -1
    )
    kept = (masks[..., None] == [0, 1]) & ((i + k) % 7 > 0)[..., None]
    return masks[None], np.where(kept, labels, guesses)[None], labels[None]


@pytest.mark.parametrize(
    ("case", "f_cmi", "ld_cmi", "capacity"),
    [
        # Their smallest case of MNIST 4 against 9: m = 75, 30 draws, two classes.
        ((75, 30, 2), 0.7223905274055763, 0.6907386476523479, 0.4346400002794579),
        # Their draws of CIFAR-10, ten classes.
        ((40, 40, 10), 1.0889239253856995, 0.9965524139234347, 0.7233609414949017),
    ],
)
def test_values_of_the_published_codes(case, f_cmi, ld_cmi, capacity):
    """What the estimators of hrayrhar/f-CMI (`estimate_fcmi_bound_classification`) and of
    ZiqiaoWangGeothe/ld-single-CMI (`bound`, `capacity`) return for this case, run once."""
    masks, predictions, labels = in_whole_numbers(*case)
    losses = (predictions != labels).astype(float)
    assert supersample.f_cmi(predictions, masks, 0).square_root.mean == pytest.approx(
        f_cmi, rel=1e-12
    )
    found = supersample.ld_cmi(losses, masks, 0)
    assert found.square_root.mean == pytest.approx(ld_cmi, rel=1e-12)
    assert found.information.mean / np.log(2) == pytest.approx(capacity, rel=1e-12)


def test_gap_is_unbiased_and_its_interval_covers():
    rng = np.random.default_rng(4)
    hits, values = 0, []
    for _ in range(300):
        masks = rng.integers(2, size=(6, 4, 5))
        # A hardness of the supersample, so that its networks hang together.
        hard = rng.uniform(0.2, 0.6, size=(6, 1, 1, 1))
        losses = cells(masks, hard, hard / 4, rng)
        found = supersample.unconditional(losses, masks).gap
        hits += found.low <= 0.3 <= found.high
        values.append(found.mean)
    assert np.mean(values) == pytest.approx(0.3, abs=4 * np.std(values) / 300**0.5)
    assert hits / 300 > 0.91
    assert found.mean == pytest.approx(oracle.gap(losses.tolist(), masks.tolist()))


def test_information_without_z_is_a_function_of_the_gap():
    rng = np.random.default_rng(5)
    masks = rng.integers(2, size=(8, 50, 30))
    found = supersample.unconditional(cells(masks, 0.4, 0.1, rng), masks)
    assert not found.is_interpolating
    assert found.disagreement == pytest.approx(found.gap.mean, abs=1e-9)
    # P(X = 1) = .36, P(X = -1) = .06.
    truth = 0.42 * (np.log(2) - entropy(0.36 / 0.42))
    assert found.information == pytest.approx(truth, abs=4 * found.error)
    assert 0 < found.error < 0.02
    assert found.jackknife < found.information


def test_jackknife_of_dependent_networks_takes_the_bias_away():
    """10000 networks of 4 supersamples are no 10000 draws."""
    rng = np.random.default_rng(6)
    plugin, jackknife = [], []
    for _ in range(400):
        masks = rng.integers(2, size=(4, 50, 10))
        shift = rng.normal(0, 0.2, size=(4, 1, 1))  # a gap that averages to 0
        x = np.where(rng.random(masks.shape) < 0.5 + shift, 1.0, -1.0)
        difference = np.where(masks == 0, x, -x)
        losses = np.stack([(difference < 0) * 1.0, (difference > 0) * 1.0], axis=-1)
        found = supersample.unconditional(losses, masks)
        plugin.append(found.information)
        jackknife.append(found.jackknife)
    assert np.mean(plugin) > 0.01  # 400 times 1 / (2 * 2000)
    assert abs(np.mean(jackknife)) < 0.25 * np.mean(plugin)


def test_forms_hold_and_are_ordered_on_known_laws():
    """Independent losses of a trained and a new member: all information is known."""
    for s in (0.0, 0.05, 0.2, 0.5):
        for d in np.linspace(s, 1, 9):
            ahead, behind = d * (1 - s), s * (1 - d)
            q, g = ahead + behind, d - s
            information = q * (np.log(2) - entropy(ahead / q)) if q else 0.0
            assert supersample.disagreement_form(information, q) == pytest.approx(
                g, abs=1e-7
            )
            fast = supersample.fast_rate(s, information)
            # Both losses say no more of U than Dl does here.
            forms = [fast, supersample.kl_form(s, information)]
            forms += [s + supersample.square_root(information)]
            assert min(forms) >= d - 1e-7
            grid = [
                supersample.weighted(s, information, c)
                for c in np.linspace(1e-3, np.log(2) - 1e-6, 4000)
            ]
            assert min(grid) >= fast - 1e-6
            assert min(1, *grid) == pytest.approx(fast, abs=2e-3)


def test_jackknife_error_is_the_spread_of_the_information():
    rng = np.random.default_rng(13)
    values, errors = [], []
    for _ in range(200):
        masks = rng.integers(2, size=(12, 10, 8))
        hard = rng.uniform(0.2, 0.6, size=(12, 1, 1, 1))
        found = supersample.unconditional(cells(masks, hard, hard / 4, rng), masks)
        values.append(found.information)
        errors.append(found.error)
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.2)


def law_of_row(rng, values):
    """Any law of two losses given U: (I of both, I of Dl, q, R_S, R_D), exact."""
    sharp = rng.choice([0.05, 0.3, 2.0])
    joint = rng.dirichlet(np.full(len(values) ** 2, sharp), size=2) / 2  # [U, pair]
    first, second = (a.ravel() for a in np.meshgrid(values, values, indexing="ij"))
    difference = np.round(second - first, 9)

    def information(table):
        outer = table.sum(axis=0) / 2
        seen = table > 0
        return np.sum(table[seen] * np.log((table / np.where(seen, outer, 1))[seen]))

    merged = np.stack(
        [joint[:, difference == d].sum(axis=1) for d in np.unique(difference)], axis=1
    )
    trained = joint[0] @ first + joint[1] @ second
    new = joint[0] @ second + joint[1] @ first
    q = joint.sum(axis=0) @ np.abs(difference)
    return information(joint), information(merged), q, trained, new


@pytest.mark.parametrize(
    "values", [(0.0, 1.0), (0.0, 0.3, 0.5, 1.0)], ids=["01", "any"]
)
def test_forms_hold_for_means_over_rows_of_any_law(values):
    rng = np.random.default_rng(len(values))
    tightest = []
    for _ in range(400):
        rows = [law_of_row(rng, np.array(values)) for _ in range(rng.integers(1, 4))]
        both, dl, q, s, d = np.mean(rows, axis=0)
        gap = abs(d - s)
        disagreement = supersample.disagreement_form(dl, q)
        roots = np.mean([supersample.square_root(row[1]) for row in rows])
        assert dl <= both + 1e-12
        assert gap <= disagreement + 1e-9
        assert disagreement <= supersample.square_root(q * dl) + 1e-9
        assert gap <= roots + 1e-12 <= supersample.square_root(dl) + 2e-12
        assert d <= supersample.fast_rate(s, dl) + 1e-9
        assert d <= supersample.kl_form(s, both) + 1e-9
        assert d <= supersample.weighted(s, dl, rng.uniform(0.01, 0.69)) + 1e-9
        tightest.append(gap / disagreement)
    assert max(tightest) > 0.95  # no constant is left to win


def test_fast_rate_is_below_the_kl_form_where_errors_are_small():
    assert supersample.fast_rate(0, 0.1) == pytest.approx(0.1 / np.log(2))
    assert supersample.kl_form(0, 0.1) == pytest.approx(2 * (1 - np.exp(-0.1)))
    assert supersample.fast_rate(0.6, 0.01) > supersample.kl_form(0.6, 0.01)
    for q in (0.1, 0.5, 1.0):
        value = supersample.disagreement_form(0.03, q)
        assert value <= min(q, np.sqrt(2 * q * 0.03))
    assert supersample.disagreement_form(0.0, 0.0) == 0.0
    assert supersample.disagreement_form(5.0, 0.3) == 0.3


def test_a_memoriser_is_seen_and_a_constant_is_not():
    rng = np.random.default_rng(7)
    masks = rng.integers(2, size=(5, 32, 40))
    memoriser = cells(masks, 0.9, 0.0, rng)
    free = supersample.unconditional(memoriser, masks)
    assert free.is_interpolating
    assert free.gap.mean == pytest.approx(0.9, abs=0.02)
    assert free.square_root > 1  # vacuous, as it should be
    assert supersample.ld_cmi(memoriser, masks, 39).p_value == pytest.approx(1 / 40)

    labels = rng.integers(2, size=(5, 1, 40, 2))
    constant = np.broadcast_to(labels, (5, 32, 40, 2)).astype(float)
    found = supersample.f_cmi(np.zeros((5, 32, 40, 2), int), masks, 39)
    assert found.square_root.mean == found.floor == 0
    assert found.p_value == 1 and not found.is_distinguishable
    assert supersample.unconditional(constant, masks).gap.low < 0.05


def test_few_draws_read_their_floor():
    """Ten classes, errors at random, eight draws: a bound of .8 from nothing."""
    rng = np.random.default_rng(8)
    masks = rng.integers(2, size=(4, 8, 50))
    found = supersample.f_cmi(rng.integers(10, size=(4, 8, 50, 2)), masks)
    assert found.square_root.mean > 0.8
    assert found.square_root.mean == pytest.approx(found.floor, abs=0.03)
    assert found.floor <= found.floor_high
    assert found.floor < information.independent_level(100, 8) == np.sqrt(2 * np.log(2))
    assert information.independent_level(1, 8) == 0
    assert not found.is_distinguishable


def test_p_values_of_shuffles_are_exact():
    rng = np.random.default_rng(9)
    found = []
    for seed in range(200):
        masks = rng.integers(2, size=(2, 6, 5))
        # Rows hang together, networks do not.
        losses = np.repeat(rng.integers(2, size=(2, 6, 1, 2)), 5, axis=2)
        found.append(supersample.ld_cmi(losses, masks, 19, seed).p_value)
    for level in (0.05, 0.2, 0.5):
        allowed = 3 * np.sqrt(level * (1 - level) / 200)
        assert np.mean(np.array(found) <= level + 1e-9) <= level + allowed


def test_a_wrong_constant_is_caught():
    """sqrt(I) for sqrt(2 I) is below the gap of a memoriser."""
    rng = np.random.default_rng(10)
    masks = rng.integers(2, size=(10, 50, 40))
    found = supersample.unconditional(cells(masks, 0.9, 0.0, rng), masks)
    assert found.gap.high < found.square_root
    assert np.sqrt(found.information) < found.gap.low
    # So is the identity with bits taken for nats.
    assert abs(found.interpolating - found.gap.mean) < 1e-9
    assert found.information < found.gap.low
    given = supersample.ld_cmi(cells(masks, 0.95, 0.0, rng), masks, 0)
    assert np.sqrt(0.5) * given.square_root.low < 0.95 < given.square_root.low


def test_losses_of_any_size():
    rng = np.random.default_rng(11)
    masks = rng.integers(2, size=(6, 40, 20))
    losses = 0.5 * cells(masks, 0.8, 0.1, rng) + 0.1
    found = supersample.unconditional(losses, masks)
    assert found.gap.mean == pytest.approx(0.35, abs=0.02)
    assert found.gap.mean <= found.disagreement <= found.square_root
    assert found.q <= 0.5


@pytest.mark.parametrize(
    ("losses", "masks", "what"),
    [
        (np.zeros((2, 3, 4)), np.zeros((2, 3, 4)), "are needed"),
        (np.zeros((2, 3, 4, 2)), np.zeros((2, 3, 5)), "are needed"),
        (np.full((2, 3, 4, 2), 2.0), np.zeros((2, 3, 4)), "in \\[0, 1\\]"),
        (np.full((2, 3, 4, 2), np.nan), np.zeros((2, 3, 4)), "in \\[0, 1\\]"),
        (np.zeros((2, 3, 4, 2)), np.full((2, 3, 4), 2), "0 or 1"),
        (np.zeros((2, 1, 4, 2)), np.zeros((2, 1, 4)), "one network"),
    ],
)
def test_what_cannot_be_is_refused(losses, masks, what):
    with pytest.raises(ValueError, match=what):
        supersample.ld_cmi(losses, masks)


def test_forms_refuse_what_is_no_rate():
    with pytest.raises(ValueError, match="C_2"):
        supersample.weighted(0.1, 0.1, 0.7)
    with pytest.raises(ValueError, match="not in"):
        supersample.fast_rate(1.1, 0.1)
    with pytest.raises(ValueError, match="not a number"):
        supersample.kl_form(0.1, np.nan)
    with pytest.raises(ValueError, match="letters"):
        information.mutual_information(np.zeros(3), np.zeros(4))


def test_one_supersample_has_no_interval():
    masks = np.random.default_rng(12).integers(2, size=(1, 8, 5))
    found = supersample.unconditional(np.zeros((1, 8, 5, 2)), masks)
    assert found.gap.high == np.inf and found.error == np.inf
    assert np.isnan(found.jackknife)
