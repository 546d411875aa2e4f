"""Information of supersamples by plain loops."""

import math


def mutual_information(letters, bits):
    """(plug-in, Miller-Madow) in nats, of two lists."""
    n = len(letters)
    joint, first, second = {}, {}, {}
    for f, u in zip(letters, bits, strict=True):
        joint[f, u] = joint.get((f, u), 0) + 1
        first[f] = first.get(f, 0) + 1
        second[u] = second.get(u, 0) + 1

    def entropy(counts):
        return -sum(c / n * math.log(c / n) for c in counts.values())

    def corrected(counts):
        return entropy(counts) + (len(counts) - 1) / (2 * n)

    return tuple(h(first) + h(second) - h(joint) for h in (entropy, corrected))


def square_root_form(letters, masks):
    """Mean of sqrt(2 I) over supersamples and rows; `letters[k1][k2][i]`."""
    values = []
    for one, bits in zip(letters, masks, strict=True):
        for i in range(len(one[0])):
            f, u = [row[i] for row in one], [row[i] for row in bits]
            values.append(math.sqrt(2 * max(mutual_information(f, u)[0], 0)))
    return sum(values) / len(values)


def gap(losses, masks):
    """Mean loss on members not trained on less that on the others."""
    total = count = 0
    for a, one in enumerate(masks):
        for b, bits in enumerate(one):
            for i, u in enumerate(bits):
                total += losses[a][b][i][1 - u] - losses[a][b][i][u]
                count += 1
    return total / count
