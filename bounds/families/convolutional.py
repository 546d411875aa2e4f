"""Bounds that count a shared weight once: a convolution is its kernel, not its matrix.

Elsewhere a convolution is the matrix that it is, with a column for every output and position.
Here it is a map of its p_l kernel entries and biases, whose norm is the matrix's. Fully
connected layers are kernels without positions, so that all of it speaks of them as well, with
p_l all their weights. P_l is the number of positions that a layer's outputs have (1 of a vector).

**The covering of `long_2020_certified`.** theta -> A_l is affine, so ||A_l(theta) - A_l(theta')||
is a norm of theta - theta' (a seminorm, where an entry meets no pixel: then of fewer dimensions).
Fix s_l, r_l and T_l = {theta: ||A_l|| <= s_l, ||A_l - Z_l|| <= r_l}. It lies in a ball of radius
rho_l = min(r_l, s_l): around Z_l, and around the layer without weights that only passes the constant
on (leaving that column out increases no norm). Points of T_l that are more than eps apart are
centres of disjoint balls of radius eps/2 in one of radius rho_l + eps/2: there are at most
(1 + 2 rho_l/eps)^p_l, and a largest set of them covers T_l from within.

**What it is worth.** Two networks with layers in T_l, eps_l apart, differ in their logits by at most
B sum_l eps_l prod_{j != l} s_j at inputs of norm B (change one layer after the other), and in
their margins by sqrt(2) times that. eps_l = (p_l/p) gamma s_l/(2 sqrt(2) B prod_j s_j), p = sum_l p_l,
makes it gamma/2: a network that errs has a centre of margin at most gamma/2, and where a centre has
such a margin the network's is at most gamma. For each of the N centres the kl form of Chernoff's
bound, over all of them a union: R_D <= kl^-1(R_S(gamma), ln(N/delta')/m). That is for s, r, gamma
and B fixed before the data; each is rounded up (gamma down) to a cell of a grid, as in
`bounds.families.spectral_certified`, and so are inputs beyond B paid for. The shares p_l/p are the
best ones for small eps, and known beforehand. A chain of coverings (Dudley) in the place of one
would replace ln(N)/2 by 24^2 p or more: it needs entries that cost over a thousand nats each.

**The covering of `graf_2022_certified`.** The image of theta - theta_0 at inputs X is sum_j theta_j
v_j, v_j that of the j-th entry alone. An entry of tap t and input channel i has ||v_j|| = ||X_{t,i}||,
the pixels of the channel that tap t meets; by Cauchy and Schwarz over the entries of one output channel
sum_j |theta_j| ||v_j|| <= sum_o ||K_o|| ||patches of X||_F, and a pixel is in at most min(P_l, taps)
patches. (Nor is that sum above the matrix's (2,1) norm times ||X||_F: ||v_j|| is at most the sum over
positions of what the entry meets there.) A bias meets the constant at P_l positions. So the image is in b_l ||X||_F times the hull of
2 p_l signed unit vectors, and Maurey's lemma gives ln N <= 2 (b_l ||X||_F/eps)^2 ln(2 p_l); the rest is
the proof of `bartlett_2017_certified`.

Arguments, of every function here: `task` a `Task`, `margins` the training `Margins`,
`architecture` an `Architecture`, `layers`, `init`, `from_init` `LayerNorms` of W, Z and W - Z, their
biases left out, `folded`, `folded_init`, `folded_from_init` with them, `kernels_from_init` of the
kernels of W - Z as matrices `[taps * in, out]`, `inputs` `Inputs`; `margin` gamma > 0, `[]`;
`delta` the failure probability, `[]`; `convention` whether B enters. Returns: a `BoundValue`; of
certificates `empirical` is at the best gamma, and `log_complexity` describes growth, from the
best estimates of norms at the median training margin.

The published forms are as remembered from the papers; those of Graf et al. and of Ledent et al.
were compared with the documentation and code that Graf et al. published (github.com/rkwitt/excess_capacity).
"""

import chex
import jax
import jax.numpy as jnp

from bounds import arithmetic
from bounds.families import spectral, spectral_certified
from bounds.measures.architecture import Architecture
from bounds.measures.examples import Margins
from bounds.measures.inputs import Inputs, Task
from bounds.measures.layers import LayerNorms
from bounds.spec import (
    CERTIFIED,
    UP_TO_CONSTANTS,
    BoundSpec,
    BoundValue,
    Convention,
)

_LN2 = 0.6931471805599453
# Cells of the grids of `long_2020_certified`: a factor of 2 in one costs each entry as much as
# ln 2 in `log_covering_number`, and finer cells cost their logarithm once.
_CELLS = 16  # of norms, for a factor of 2 in their product
_MARGIN_CELLS = 8  # of gamma, for a factor of 2
_LEAST_DISTANCE = 1e-9  # of its base; a layer that has not moved has no logarithm


def long_2020(
    task: Task,
    margins: Margins,
    architecture: Architecture,
    init: LayerNorms,
    from_init: LayerNorms,
    *,
    margin: jax.Array,
    convention: Convention = Convention(),
) -> BoundValue:
    """R_S(gamma) + sqrt(W ln(a)/m), a = (B beta/gamma) (1 + nu + beta/L)^L, W weights.

    The parameter-counting bound with weights shared, constants dropped: beta = sum_l ||W_l - Z_l||_2,
    1 + nu >= max_l ||Z_l||_2, both of the layers as the maps that they are, and W the number of
    kernel entries (Long & Sedghi 2020, Theorem 3.1, for a loss that is 1/gamma-Lipschitz). The theorem
    has sqrt(W ln(a)/m) for a >= 5 and a sqrt(W/m) below; here the lesser of both, the logarithm
    at least ln 5, which differs by no more than constants and falls with gamma. Up to constants:
    not a certificate. One 1 x 1 layer Z = 1, W = 2, B = 1, gamma = 0.1, m = 4: a = 10 * 2, excess
    sqrt(ln(20)/4) = 0.865.
    """
    chex.assert_rank([margins.sorted, from_init.spectral, margin], [1, 1, 0])
    depth = from_init.spectral.shape[0]
    beta = jnp.sum(from_init.spectral)
    largest = jnp.maximum(jnp.max(init.spectral), 1.0)
    log_a = spectral.log_input_norm(task, convention) - jnp.log(margin)
    log_a += arithmetic.log(beta) + depth * jnp.log(largest + beta / depth)
    logarithm = jnp.log(jnp.maximum(log_a, jnp.log(5.0))) / 2
    log_excess = jnp.minimum(log_a, logarithm)
    log_excess += arithmetic.log(jnp.sum(architecture.weights) / task.size) / 2
    empirical, excess = margins.error(margin), jnp.exp(log_excess)
    return BoundValue(
        empirical + excess, empirical, excess, arithmetic.said(log_excess)
    )


def log_covering_number(
    parameters: jax.Array, log_radius: jax.Array, log_eps: jax.Array
) -> jax.Array:
    """sum_l p_l ln(1 + 2 rho_l/eps_l) `[]`: centres that cover balls of p_l dimensions.

    Args:
      parameters: `[L]`, p_l.
      log_radius, log_eps: `[L]`, ln rho_l and ln eps_l.
    """
    return jnp.sum(parameters * jnp.logaddexp(0.0, _LN2 + log_radius - log_eps))


def log_resolution(
    parameters: jax.Array, log_s: jax.Array, log_b: jax.Array, log_gamma: jax.Array
) -> jax.Array:
    """ln eps_l `[L]`: layers that far apart move no margin by more than gamma/2.

    Args:
      parameters: `[L]`, p_l: the shares of gamma/2 are p_l/p.
      log_s: `[L]`, ln of the norms of layers at most.
      log_b: `[]`, ln of the input norm at most.
      log_gamma: `[]`.
    """
    shares = arithmetic.log(parameters) - arithmetic.log(jnp.sum(parameters))
    half = log_gamma - jnp.log(2 * jnp.sqrt(2.0))
    return shares + half - log_b - arithmetic.log_product_without_each(log_s)


def _cells(norms, base, depth):
    """(ln of norms rounded up, ln of p(k)), `[L]` both, in a grid from `base`, or from 1."""
    log_base = jnp.where(base > 0, arithmetic.log(base), 0.0)
    log_norms = jnp.maximum(arithmetic.log(norms), log_base + jnp.log(_LEAST_DISTANCE))
    log_ratio = _LN2 / (_CELLS * depth)
    k = arithmetic.cell(log_norms, log_base, log_ratio)
    return log_base + k * log_ratio, arithmetic.log_grid_weight(k)


def _margin_cells(margins):
    """Margins gamma = 2^(k/8) to try, 32 octaves from the largest size down: (gamma, k)."""
    _, octaves = arithmetic.margin_cells(margins)
    top = octaves[0] - 64.0  # 2^top is at least the largest
    k = _MARGIN_CELLS * top - jnp.arange(32 * _MARGIN_CELLS)
    return jnp.exp2(k / _MARGIN_CELLS), k


def long_2020_certified(
    task: Task,
    margins: Margins,
    architecture: Architecture,
    folded: LayerNorms,
    folded_init: LayerNorms,
    folded_from_init: LayerNorms,
    inputs: Inputs,
    *,
    delta: jax.Array,
) -> BoundValue:
    """Long & Sedghi's idea with every constant: entries are counted, each to a resolution.

    R_D <= kl^-1(R_S(gamma), (sum_l p_l ln(1 + 2 rho_l/eps_l) + ln(1/delta'))/m) + ln(2/delta)/m,
    rho_l = min(r_l, s_l), eps_l = (p_l/p) gamma s_l/(2 sqrt(2) B prod_j s_j), r_l >= ||W_l - Z_l||,
    s_l >= ||W_l||, B >= the largest training input, p_l the entries of the kernel and biases
    of layer l, delta' = (delta/2) p(k_gamma) p(k_B) prod_l p(k_s,l) p(k_r,l).
    Grids of ratio 2^(1/(16 L)) from ||Z_l|| for norms, 2^(1/8) for B and gamma. The derivation is at
    the head of this file. It is below 1 where entries are few beside m: an entry costs ten to
    twenty nats, where `occam_float32` pays 22.
    """
    spectral_certified.guard(margins, folded)
    chex.assert_rank(architecture.parameters, 1)
    m, depth = task.size.astype(float), folded.frobenius.shape[0]
    p = architecture.parameters.astype(float)
    base = folded_init.spectral_upper
    log_s, log_s_price = _cells(folded.spectral_upper, base, depth)
    log_r, log_r_price = _cells(folded_from_init.spectral_upper, base, depth)
    log_b, log_price = spectral_certified.input_cell(inputs)
    log_price += jnp.sum(log_s_price + log_r_price) + jnp.log(delta / 2)

    def log_centres(log_gamma, log_s, log_r, log_b):
        eps = log_resolution(p, log_s, log_b, log_gamma)
        return log_covering_number(p, jnp.minimum(log_r, log_s), eps)

    def bound_of(gamma, k):
        nats = log_centres(jnp.log(gamma), log_s, log_r, log_b)
        nats -= log_price + arithmetic.log_grid_weight(k)
        empirical = margins.error(gamma)
        value = arithmetic.kl_inverse(empirical, nats / m) + jnp.log(2 / delta) / m
        return empirical, value - empirical

    exact = log_centres(
        arithmetic.log(arithmetic.median_margin(margins)),
        *map(arithmetic.log, (folded.spectral, folded_from_init.spectral)),
        arithmetic.log(inputs.norm_max),
    )
    # Of sqrt(ln(N) / (2 m)), which Pinsker's inequality makes of it.
    log_complexity = (arithmetic.log(exact) - jnp.log(2 * m)) / 2
    # At a median margin of 0 or less it is infinite, as that of other bounds, and no second logarithm.
    is_positive = arithmetic.median_margin(margins) > 0
    log_complexity = jnp.where(is_positive, log_complexity, -arithmetic.log(0.0))
    return arithmetic.least(bound_of, _margin_cells(margins), log_complexity)


def _positions(norms, kernels):
    """P_l `[L]`: positions of each layer's outputs."""
    return norms.fan_out.astype(float) / kernels.fan_out.astype(float)


def _group_distances(from_init, kernels_from_init):
    """b_l `[L]` with ||image of W_l - Z_l|| <= b_l ||X||_F as a sum over entries; no biases.

    sqrt(min(P_l, taps * in)) sum_o ||K_o||_2, or the (2,1) norm of the matrix, where that is less
    (it is the same of a fully connected layer, and less of one that averages positions first).
    Both hold since padding is by zeros: an entry meets a pixel once at a position.
    """
    patches = jnp.minimum(
        _positions(from_init, kernels_from_init),
        kernels_from_init.fan_in.astype(float),
    )
    shared = jnp.sqrt(patches) * kernels_from_init.norm_21
    return jnp.minimum(shared, from_init.norm_21)


def graf_2022(
    task: Task,
    margins: Margins,
    layers: LayerNorms,
    from_init: LayerNorms,
    kernels_from_init: LayerNorms,
    *,
    margin: jax.Array,
    convention: Convention = Convention(),
) -> BoundValue:
    """R_S(gamma) + B prod s_l (sum (b_l/s_l)^(2/3))^(3/2) / (gamma sqrt(m)), b_l of the kernels.

    The covering-number bound with weights shared, constants and logs dropped: s_l the Lipschitz
    constants of the layers, b_l = ||K_l - K_l^0||_{2,1} the sum over output channels and taps of
    the l2 norms over input channels (Graf et al. 2022, Theorem 3.5, first bound). b_l is not
    measured: sqrt(min(P_l, taps * in)) sum_o ||K_o||_2 stands for it, or the matrix's (2,1) norm
    where that is less (`graf_2022_certified` holds with either). It is at most sqrt(taps * in)
    times b_l, at least as large where a layer has as many positions P_l as taps, and may be less
    where it has fewer; the same for fully connected layers, where the bound is `bartlett_2017`. Up
    to constants: not a certificate.
    """
    distances = _group_distances(from_init, kernels_from_init)
    log_sum = spectral.log_spread(margins, layers, distances, margin, 2 / 3)
    log_numerator = spectral.log_input_norm(task, convention) + log_sum
    return arithmetic.margin_bound(log_numerator, task, margins, margin)


def graf_2022_parameters(
    task: Task,
    margins: Margins,
    architecture: Architecture,
    layers: LayerNorms,
    from_init: LayerNorms,
    kernels_from_init: LayerNorms,
    *,
    margin: jax.Array,
    convention: Convention = Convention(),
) -> BoundValue:
    """R_S(gamma) + sqrt(sum_l W_l ln(1 + L^2 C_l^2)/m), C_l = (4 B/gamma) (b_l/s_l) prod_j s_j.

    The same paper's bound by counting weights W_l (Graf et al. 2022, Theorem 3.5, second bound),
    without the factor 12 sqrt(2) of its Rademacher complexity and what is added to the
    logarithms, less than 2.7. b_l as for `graf_2022`. Up to constants: not a certificate.
    """
    chex.assert_rank([margins.sorted, layers.spectral, margin], [1, 1, 0])
    others = arithmetic.log_product_without_each(arithmetic.log(layers.spectral))
    distances = _group_distances(from_init, kernels_from_init)
    log_c = spectral.log_input_norm(task, convention) + jnp.log(4 / margin)
    log_c += others + arithmetic.log(distances)
    depth = layers.spectral.shape[0]
    logarithms = jnp.logaddexp(0.0, 2 * (jnp.log(depth) + log_c))
    nats = jnp.sum(architecture.weights * logarithms)
    log_excess = (arithmetic.log(nats) - arithmetic.log(task.size)) / 2
    empirical, excess = margins.error(margin), jnp.exp(log_excess)
    return BoundValue(
        empirical + excess, empirical, excess, arithmetic.said(log_excess)
    )


def graf_2022_certified(
    task: Task,
    margins: Margins,
    architecture: Architecture,
    folded: LayerNorms,
    folded_init: LayerNorms,
    folded_from_init: LayerNorms,
    from_init: LayerNorms,
    kernels_from_init: LayerNorms,
    inputs: Inputs,
    *,
    delta: jax.Array,
) -> BoundValue:
    """`bartlett_2017_certified` with kernels in the place of matrices: constants derived here.

    The same but for b_l, rounded up: at least sqrt(min(P_l, taps * in)) sum_o ||K_o||_2 + sqrt(P_l)
    sum_o |bias_o| of W - Z (of the biases, the matrix's (2,1) norm over P_l stands for the sum) or
    the (2,1) norm of the matrix, whichever is less; and for the logarithm, ln(2 max_l p_l).
    The derivation is at the head of this file.
    """
    spectral_certified.guard(margins, folded)
    shared = _group_distances(from_init, kernels_from_init)
    biases = folded_from_init.norm_21 / jnp.sqrt(
        _positions(from_init, kernels_from_init)
    )
    shared += jnp.where(architecture.biases > 0, biases, 0.0)
    entries = jnp.max(architecture.parameters).astype(float)
    return spectral_certified.of_covering(
        task, margins, folded, folded_init, inputs,
        jnp.minimum(shared, folded_from_init.norm_21), kernels_from_init.fan_out,
        arithmetic.log(entries), delta,
    )  # fmt: skip


def ledent_2021(
    task: Task,
    margins: Margins,
    layers: LayerNorms,
    from_init: LayerNorms,
    kernels_from_init: LayerNorms,
    *,
    margin: jax.Array,
    convention: Convention = Convention(),
) -> BoundValue:
    """R_S(gamma) + B prod s_l (sum (a_l sqrt(P_l)/s_l)^(2/3))^(3/2) / (gamma sqrt(m)).

    Each filter counts once, constants and logs dropped: a_l the sum over filters of the l2 norm
    of their distance from the initial ones, of the last layer its Frobenius norm, which leaves no
    root of the number of classes; P_l positions, since covers in the largest norm over
    positions become ones in l2 (Ledent et al. 2021, Theorem 11 with norms fixed, as in its Section
    E). B is at least the largest norm of an input patch, which the paper has, and s_L at least the
    largest norm of a class's weights. Up to constants: not a certificate.
    """
    filters = jnp.minimum(kernels_from_init.norm_21, from_init.norm_21)
    filters = filters.at[-1].set(from_init.frobenius[-1])
    distances = filters * jnp.sqrt(_positions(from_init, kernels_from_init))
    log_sum = spectral.log_spread(margins, layers, distances, margin, 2 / 3)
    log_numerator = spectral.log_input_norm(task, convention) + log_sum
    return arithmetic.margin_bound(log_numerator, task, margins, margin)


_LONG_2020 = "Long, Sedghi 2020, arXiv 1905.12600, Thm 3.1"
_GRAF_2022 = "Graf, Zeng, Rieck, Niethammer, Kwitt 2022, arXiv 2202.08070, Thm 3.5"
BOUNDS = {
    "long_2020": BoundSpec(
        long_2020, _LONG_2020, UP_TO_CONSTANTS, two_sided=True, also=("long_sedghi_2020",),
    ),
    "long_2020_certified": BoundSpec(
        long_2020_certified, f"after {_LONG_2020}", CERTIFIED, two_sided=True,
        also=("long_sedghi_2020_certified",),
    ),
    "graf_2022": BoundSpec(graf_2022, _GRAF_2022, UP_TO_CONSTANTS, two_sided=True),
    "graf_2022_parameters": BoundSpec(
        graf_2022_parameters, _GRAF_2022, UP_TO_CONSTANTS, two_sided=True,
    ),
    "graf_2022_certified": BoundSpec(
        graf_2022_certified, f"after {_GRAF_2022}", CERTIFIED, two_sided=True,
    ),
    "ledent_2021": BoundSpec(
        ledent_2021, "Ledent, Mustafa, Lei, Kloft 2021, arXiv 1905.12430, Thm 11",
        UP_TO_CONSTANTS, two_sided=True,
    ),
}  # fmt: skip
