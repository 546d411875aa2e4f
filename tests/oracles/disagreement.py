"""Disagreement and calibration by plain loops (Jiang et al. 2022, 2106.13799)."""


def rates(predictions, labels):
    """(Dis over distinct pairs, Dis over all pairs, error)."""
    n, points = len(predictions), len(labels)
    distinct = everything = error = 0
    for a in range(n):
        for x in range(points):
            error += predictions[a][x] != labels[x]
            for b in range(n):
                differ = predictions[a][x] != predictions[b][x]
                everything += differ
                distinct += differ and a != b
    return (
        distinct / (n * (n - 1) * points),
        everything / (n * n * points),
        error / (n * points),
    )


def calibration(predictions, labels, classes):
    """(signed q-weighted sum, q-weighted CACE, CACE, class-wise error)."""
    n, points = len(predictions), len(labels)
    signed = weighted = cace = class_wise = 0.0
    for j in range(n + 1):
        q, total = j / n, 0.0
        for k in range(classes):
            of_class = 0.0
            for x in range(points):
                if sum(one[x] == k for one in predictions) == j:
                    of_class += (q - (labels[x] == k)) / points
            class_wise += abs(of_class)
            total += of_class
        signed += q * total
        weighted += q * abs(total)
        cace += abs(total)
    return signed, weighted, cace, class_wise
