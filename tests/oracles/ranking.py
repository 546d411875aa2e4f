"""Rank criteria, pair by pair."""

import itertools
import math


def sign(a, b):
    return 1 if a > b else -1 if a < b else 0


def kendall(measure, gap):
    n = len(gap)
    total = 0
    for a in range(n):
        for b in range(n):
            if a != b:
                total += sign(measure[a], measure[b]) * sign(gap[a], gap[b])
    return total / (n * (n - 1))


def granulated(measure, gap, settings, seeds):
    """`settings`: `{axis: list}`; {axis: psi}, None where nothing can be compared, and Psi."""
    psi = {}
    for axis in settings:
        groups = {}
        for k in range(len(gap)):
            rest = tuple(settings[other][k] for other in settings if other != axis)
            groups.setdefault((rest, seeds[k]), []).append(k)
        taus = []
        for members in groups.values():
            counted = [
                sign(measure[a], measure[b]) * sign(gap[a], gap[b])
                for a, b in itertools.permutations(members, 2)
                if settings[axis][a] != settings[axis][b]
            ]
            if counted:
                taus.append(sum(counted) / len(counted))
        psi[axis] = sum(taus) / len(taus) if taus else None
    known = [v for v in psi.values() if v is not None]
    return psi, sum(known) / len(known) if known else None


def _entropy(probabilities):
    return -sum(p * math.log(p) for p in probabilities if p > 0)


def conditional_information(measure, gap, settings, max_axes=2):
    """min over S of I / H; None if no S leaves entropy."""
    scores = []
    for size in range(max_axes + 1):
        for chosen in itertools.combinations(settings, size):
            cells = {}
            for a, b in itertools.permutations(range(len(gap)), 2):
                v_gap = sign(gap[a], gap[b])
                if v_gap == 0:
                    continue
                u = tuple((settings[s][a], settings[s][b]) for s in chosen)
                table = cells.setdefault(u, {})
                v = sign(measure[a], measure[b])
                for outcome in (v,) if v else (1, -1):  # a coin for a tie
                    part = 1 if v else 0.5
                    table[v_gap, outcome] = table.get((v_gap, outcome), 0) + part
            pairs = sum(sum(t.values()) for t in cells.values())
            information = entropy = 0.0
            for table in cells.values():
                count = sum(table.values())
                p = {key: value / count for key, value in table.items()}
                p_gap = [sum(v for (g, _), v in p.items() if g == s) for s in (1, -1)]
                p_mu = [sum(v for (_, m), v in p.items() if m == s) for s in (1, -1)]
                of_gap = _entropy(p_gap)
                entropy += count / pairs * of_gap
                information += (
                    count / pairs * (of_gap + _entropy(p_mu) - _entropy(p.values()))
                )
            if entropy > 1e-12:
                scores.append(information / entropy)
    return min(scores) if scores else None


def environments(measure, gap, settings, seeds, test_size, least, pool):
    """{environment: weighted sign error} of those kept, and how many there were."""
    found = {}
    for a, b in itertools.permutations(range(len(gap)), 2):
        different = [
            axis for axis in settings if settings[axis][a] != settings[axis][b]
        ]
        if len(different) != 1 or (pool and seeds[a] != seeds[b]):
            continue
        (axis,) = different
        start, end = settings[axis][a], settings[axis][b]
        if start > end:
            continue
        rest = tuple((s, settings[s][a]) for s in settings if s != axis)
        key = (axis, start, end) if pool else (axis, start, end, rest)
        half = abs(gap[a] - gap[b]) / 2
        weight = max(0.0, 1 - 2 * math.exp(-2 * test_size * half**2)) ** 2
        error = (1 - sign(measure[a], measure[b]) * sign(gap[a], gap[b])) / 2
        found.setdefault(key, []).append((weight, error))
    kept = {}
    for key, pairs in found.items():
        total = sum(w for w, _ in pairs)
        squares = sum(w * w for w, _ in pairs)
        if total > 0 and total**2 / squares >= least * (1 - 1e-9):
            kept[key] = sum(w * e for w, e in pairs) / total
    return kept, len(found)


def holm(p, level):
    """Each hypothesis' adjusted p-value against the level."""
    tested = sorted((v, k) for k, v in p.items() if v == v)
    adjusted, rejected = 0.0, dict.fromkeys(p, False)
    for rank, (value, name) in enumerate(tested):
        adjusted = max(adjusted, (len(tested) - rank) * value)
        rejected[name] = adjusted <= level
    return rejected
