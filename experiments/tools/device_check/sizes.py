"""How large a check is."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Sizes:
    """What is trained, timed and measured.

    Attributes:
      width: of the networks that two devices train side by side.
      seeds: of trainings that are compared on the average.
      matrix: rows of the matrices whose norms are enclosed.
      widths, batches, lanes: every step that is timed: width, batch, runs at once.
      depth: hidden layers of the networks whose steps are timed.
      measured: (hidden widths, networks, networks that the CPU measures too).
      examples: that measured networks are trained on.
      cnn: whether a convolutional network is measured, too.
      bounds: names of those that are evaluated; None: all.
    """

    width: int = 128
    seeds: int = 16
    matrix: int = 512
    widths: tuple[int, ...] = (128, 1024)
    batches: tuple[int, ...] = (1, 64)
    lanes: tuple[int, ...] = (16, 64, 256)
    depth: int = 5
    measured: tuple[tuple[tuple[int, ...], int, int], ...] = (
        ((128, 128), 64, 2),
        ((1024,) * 5, 8, 1),
    )
    examples: int = 4096
    cnn: bool = True
    bounds: tuple[str, ...] | None = None


SMALL = Sizes(
    width=16, seeds=4, matrix=32, widths=(16,), lanes=(2,), depth=1,
    measured=(((16,), 2, 1),), examples=128, cnn=False,
    bounds=("neyshabur_2018", "bartlett_2017", "golowich_2018_l1_certified", "path_norm"),
)  # fmt: skip
