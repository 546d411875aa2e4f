"""Images that are moved: where each pixel came from is read off images of their coordinates."""

import jax
import numpy as np
import pytest

from nets.augmentation import Moves, moved

HEIGHT, WIDTH, N = 15, 12, 300
IMAGE = (HEIGHT, WIDTH, 2)


def maps(moves):
    """Of `N` images: (2 x 2 matrix, offset) from a pixel to where it came from, by least squares.

    Places are relative to the centre. Linear interpolation leaves linear images as they are,
    where all four pixels are inside.
    """
    y, x = np.mgrid[:HEIGHT, :WIDTH] - np.array([HEIGHT - 1, WIDTH - 1])[
        :, None, None
    ] / np.array(2.0)
    places = np.stack([y, x], -1)
    images = np.tile(places.astype(np.float32).reshape(1, -1), (N, 1))
    found = np.asarray(moved(jax.random.key(3), images, IMAGE, moves))
    middle = np.zeros((HEIGHT, WIDTH), bool)
    middle[5:-5, 4:-4] = True
    design = np.column_stack([places[middle], np.ones(middle.sum())])
    for one in found.reshape(N, *IMAGE):
        solved, left, *_ = np.linalg.lstsq(design, one[middle], rcond=None)
        assert np.all(left < 1e-8)  # an affine map it is
        yield solved[:2].T, solved[2]


@pytest.mark.parametrize(
    "moves", [Moves(1, 20.0, 0.1), Moves(rotation=30.0), Moves(zoom=0.2), Moves(2, 0.0, 0.1)],
    ids=str,
)  # fmt: skip
def test_pixels_come_from_where_the_angle_the_factors_and_the_shift_say(moves):
    angles, factors, shifts = [], [], []
    for matrix, offset in maps(moves):
        factor = 1 / np.linalg.norm(matrix, axis=1)
        turned = matrix * factor[:, None]
        np.testing.assert_allclose(turned @ turned.T, np.eye(2), atol=1e-4)
        assert np.linalg.det(turned) > 0  # turned, never mirrored
        angles.append(np.rad2deg(np.arctan2(turned[1, 0], turned[0, 0])))
        factors.append(factor - 1)
        shifts.append(-np.linalg.solve(matrix, offset))
    for drawn, most in (
        (angles, moves.rotation), (factors, moves.zoom), (shifts, moves.shift)
    ):  # fmt: skip
        drawn = np.reshape(drawn, (N, -1))
        assert np.abs(drawn).max() <= most + 1e-4
        # 300 uniform draws: their mean is within 5 standard errors of 0, both ends are met.
        assert np.all(np.abs(drawn.mean(axis=0)) <= 5 * most / np.sqrt(3 * N) + 1e-4)
        assert np.all(drawn.max(axis=0) >= 0.9 * most - 1e-4)
        assert np.all(drawn.min(axis=0) <= -0.9 * most + 1e-4)
        if drawn.shape[1] > 1 and most:  # height and width are moved independently
            assert abs(np.corrcoef(drawn.T)[0, 1]) < 0.3


def test_zeros_come_in_and_nothing_is_added():
    ones = np.ones((N, np.prod(IMAGE)), np.float32)
    found = np.asarray(moved(jax.random.key(0), ones, IMAGE, Moves(3, 45.0, 0.3)))
    assert 0 <= found.min() < 1e-6 and found.max() < 1 + 1e-5
    corner = found.reshape(N, *IMAGE)[:, 0, 0, 0]
    assert 0.1 < np.mean(corner < 1e-6) < 0.9


def test_nothing_is_moved_where_nothing_moves():
    assert not Moves() and Moves(1) and Moves(zoom=0.1) and Moves(rotation=1.0)
    images = np.random.default_rng(0).random((4, np.prod(IMAGE))).astype(np.float32)
    np.testing.assert_array_equal(
        moved(jax.random.key(0), images, IMAGE, Moves()), images
    )
