"""The groups: what is measured of ONE network, small frozen sets of numbers.

`bounds/measuring/` has a function for each; a bound names those it needs as parameters.
"""

import chex
import jax.numpy as jnp
from flax import struct


@struct.dataclass
class Task:
    """What was learned from.

    Attributes:
      size: `[]`, m, training examples.
      classes: `[]`, C.
      input_norm_max: `[]`, B = max_i ||x_i||_2 over the training set.
    """

    size: chex.Array
    classes: chex.Array
    input_norm_max: chex.Array


@struct.dataclass
class Architecture:
    """What the network is, whatever its weights are.

    Attributes:
      parameters: `[L]`, weights and biases of each layer.
      weights: `[L]`, without the biases.
      units: `[L]`, outputs of each layer.
      convolutions: `[]`, how many layers are convolutions.
      biases: `[]`, how many layers have biases.
    """

    parameters: chex.Array
    weights: chex.Array
    units: chex.Array
    convolutions: chex.Array
    biases: chex.Array


@struct.dataclass
class Margins:
    """The margins of a set of examples.

    Attributes:
      sorted: `[M]`, ascending; entries from `size` on are +inf.
      size: `[]`, examples.
    """

    sorted: chex.Array
    size: chex.Array

    def error(self, margin):
        """The fraction `[]` of examples whose margin is <= `margin` (finite), or not a number."""
        below = jnp.searchsorted(self.sorted.astype(float), margin, side="right")
        return jnp.minimum(below, self.size) / jnp.asarray(self.size, float)


@struct.dataclass
class LayerNorms:
    """Norms of one matrix A_l `[in, out]` a layer, l = 1..L.

    Attributes:
      spectral_lower: `[L]`, certified: <= the largest singular value.
      spectral_upper: `[L]`, certified: >= the largest singular value.
      frobenius: `[L]`.
      norm_21: `[L]`, sum over OUTPUT units of the l2 norm of their incoming weights (the
        (2,1) norm of Bartlett et al. 2017, who write it for the transpose).
      norm_21_transposed: `[L]`, the same over INPUT units (the authors' code, 2019).
      norm_1inf: `[L]`, the largest l1 norm of an output unit's incoming weights.
      norm_3_15: `[L]`, the l1.5 norm over output units of the l3 norms of their weights.
      fan_in: `[L]`, rows.
      fan_out: `[L]`, columns.
    """

    spectral_lower: chex.Array
    spectral_upper: chex.Array
    frobenius: chex.Array
    norm_21: chex.Array
    norm_21_transposed: chex.Array
    norm_1inf: chex.Array
    norm_3_15: chex.Array
    fan_in: chex.Array
    fan_out: chex.Array


@struct.dataclass
class Peeling:
    """Products over the layers of a network with its biases folded in, in logarithms.

    Attributes:
      log_frobenius: `[]`, ln prod_{l<L} ||W_l||_F * sum_k ||W_L[:, k]||_2.
      log_l1: `[]`, ln prod_{l<L} max_j ||W_l[:, j]||_1 * sum_k ||W_L[:, k]||_1.
      log_path: `[]`, ln of the l1 path norm: the sum over all paths from an input to an
        output of the product of |weights|.
      outputs: `[]`, columns k of W_L: C, or 1 where two classes made it their difference.
      matrices: `[]`, L.
    """

    log_frobenius: chex.Array
    log_l1: chex.Array
    log_path: chex.Array
    outputs: chex.Array
    matrices: chex.Array


@struct.dataclass
class Inputs:
    """Norms of the training inputs X `[m, D]`, with a constant 1 where there are biases.

    Attributes:
      frobenius: `[]`, ||X||_F.
      largest_feature: `[]`, sqrt(max_j sum_i x_ij^2).
      norm_max: `[]`, max_i ||x_i||_2.
      largest_entry: `[]`, max_ij |x_ij|.
      features: `[]`, D, the constant included.
    """

    frobenius: chex.Array
    largest_feature: chex.Array
    norm_max: chex.Array
    largest_entry: chex.Array
    features: chex.Array


@struct.dataclass
class Paths:
    """Sums over all paths from an input (or a bias) to an output of prod |weight|^p.

    Attributes:
      log_1: `[]`, ln of the sum for p = 1.
      log_15: `[]`, for p = 1.5.
      log_2: `[]`, for p = 2.
      log_1_largest_output: `[]`, for p = 1, over the paths to the output with most.
    """

    log_1: chex.Array
    log_15: chex.Array
    log_2: chex.Array
    log_1_largest_output: chex.Array


@struct.dataclass
class Spectra:
    """What the whole spectrum of each weight matrix says, kernels as `[kh * kw * in, out]`.

    Attributes:
      trace_norm: `[L]`, the sum of the singular values.
      schatten_15: `[L]`, (sum of their 1.5-th powers)^(1/1.5).
      alpha: `[L]`, exponent of the power law fitted to the eigenvalues of W'W.
      log10_alpha_norm: `[L]`, log10 of the sum of their alpha-th powers.
    """

    trace_norm: chex.Array
    schatten_15: chex.Array
    alpha: chex.Array
    log10_alpha_norm: chex.Array


@struct.dataclass
class FirstLayer:
    """The first layer at initialisation, on the training inputs.

    Attributes:
      frobenius: `[]`, ||X Z_1||_F, biases folded in, before the ReLU.
    """

    frobenius: chex.Array


@struct.dataclass
class Outputs:
    """The logits on the training set.

    Attributes:
      cross_entropy: `[]`, mean softmax cross-entropy, nats.
      negative_entropy: `[]`, mean of sum_k p_k ln p_k, nats, p the softmax.
    """

    cross_entropy: chex.Array
    negative_entropy: chex.Array


@struct.dataclass
class Jacobians:
    """How noise in one layer arrives at later ones, on some training examples.

    z_l are pre-activations, J_{l,j} the Jacobian of z_j in z_l; least over the examples.

    Attributes:
      layer_cushion: `[L]`, min ||z_l|| / (||W_l||_F ||a_{l-1}||).
      interlayer_cushion: `[L]`, min over j >= l of ||J_{l,j} z_l|| / (||J_{l,j}||_F ||z_l||).
      contraction: `[]`, max over hidden layers of ||z_l|| / ||relu(z_l)||.
      output_norm_max: `[]`, max ||f(x)||_2.
      noise_level: `[]`, the least over layers l <= j, units and examples of the magnitude
        that noise must not exceed (|z_j|, at the outputs the margin) over the size with
        which unit noise in W_l arrives there, ||a_{l-1}|| ||row of J_{l,j}||.
      examples: `[]`, how many were looked at.
    """

    layer_cushion: chex.Array
    interlayer_cushion: chex.Array
    contraction: chex.Array
    output_norm_max: chex.Array
    noise_level: chex.Array
    examples: chex.Array


@struct.dataclass
class Holdout:
    """Examples that neither training nor any choice has seen.

    Attributes:
      wrong: `[]`, how many are misclassified.
      size: `[]`, how many there are.
    """

    wrong: chex.Array
    size: chex.Array


@struct.dataclass
class Gibbs:
    """Gaussian posteriors Q_1..Q_J whose weights are drawn afresh for every prediction.

    With probability >= 1 - d over the noise, the training error of every Q_j is at most
    kl^-1(fill * errors[j], ln(J/d)/draws) / fill.

    Attributes:
      kl: `[J]`, KL(Q_j || P_j), nats.
      prices: `[J]`, ln of 1 over the share of the failure probability that P_j has.
      errors: `[J]`, training error, a mean over draws of the noise.
      draws: `[]`, how many independent variables in [0, 1] it is a mean of.
      fill: `[]`, in (0, 1]: their mean over the error.
      holdout_errors: `[J]`, held-out error, a mean as well; not numbers without such examples.
    """

    kl: chex.Array
    prices: chex.Array
    errors: chex.Array
    draws: chex.Array
    fill: chex.Array
    holdout_errors: chex.Array


@struct.dataclass
class NoiseLevel:
    """The noise that a network bears: training accuracy falls by 0.1, as a mean over draws.

    Attributes:
      level: `[]`.
      drop: `[]`, in accuracy, as counted near that level.
      standard_error: `[]`, of the drop.
      is_capped: `[]`, whether the network bears the largest level that is looked at, or
        errs on more than 0.9 of the examples as it is.
    """

    level: chex.Array
    drop: chex.Array
    standard_error: chex.Array
    is_capped: chex.Array


@struct.dataclass
class MagnitudeRatios:
    """How far single weights went beside what they bear in magnitude-aware noise.

    Sums over all weights, biases left out, of ln of (e^2 + (s^2 + 1) n^2 / P) over
    (e^2 + s^2 (w_i - w_0i)^2), s the level of the noise, P how many weights there are,
    e = 1e-3.

    Attributes:
      from_init: `[]`, with n = ||w - w_0||_2.
      from_origin: `[]`, with n = ||w||_2.
    """

    from_init: chex.Array
    from_origin: chex.Array


@struct.dataclass
class Evidence:
    """How probable the labels of the first training examples are before learning.

    Attributes:
      log_evidence: `[]`, ln P(U), nats: the probability that the infinitely wide network at
        initialisation labels them as they are labelled; approximated, for more than two
        classes from below; -inf where it is 0 or next to it.
      examples: `[]`, n, how many were looked at.
      converged: `[]`, whether the approximation came to rest.
    """

    log_evidence: chex.Array
    examples: chex.Array
    converged: chex.Array


@struct.dataclass
class Code:
    """Networks C_1..C_J near the trained one, rounded coarsely or finely, and their codes.

    Attributes:
      bits: `[J]`, c_j: the length of all that a receiver needs beyond what was fixed before
        the data was seen.
      errors: `[J]`, the training error of the decoded network.
      holdout_errors: `[J]`, its error on held-out examples; not numbers without them.
    """

    bits: chex.Array
    errors: chex.Array
    holdout_errors: chex.Array


@struct.dataclass
class Ascent:
    """The largest radii at which ascent on the loss costs at most 0.1 of training accuracy.

    Attributes:
      alpha: `[]`, of the box |u_i| <= alpha around the weights, biases left out.
      alpha_is_capped: `[]`, whether the search ended at an end of its range.
      magnitude_alpha: `[]`, of the box |u_i| <= alpha' (|w_i| + 1e-3).
      magnitude_alpha_is_capped: `[]`, the same for it.
    """

    alpha: chex.Array
    alpha_is_capped: chex.Array
    magnitude_alpha: chex.Array
    magnitude_alpha_is_capped: chex.Array


@struct.dataclass
class AscentSums:
    """How far single weights went beside the radius that each of them bears.

    Sums over all P weights, biases left out, of ln of (e^2 + (a^2 + 4 ln(2 P/d)) n^2 / P)
    over (e^2 + a^2 (w_i - w_0i)^2), a the magnitude-aware radius, e = 1e-3, d = 0.05.

    Attributes:
      log_init: `[]`, with n = ||w - w_0||_2.
      log_orig: `[]`, with n = ||w||_2.
    """

    log_init: chex.Array
    log_orig: chex.Array


@struct.dataclass
class Sharpness:
    """Increases of the mean softmax cross-entropy, nats, when weights (no biases) move.

    Attributes:
      average: `[]`, the mean under Gaussian noise of standard deviation 0.05.
      average_standard_error: `[]`, of that mean over draws.
      adaptive_average: `[]`, of standard deviation 0.05 |w_i|.
      adaptive_average_standard_error: `[]`, of that mean.
      worst: `[]`, the most that ascent finds in the ball ||u||_2 <= 0.05.
      adaptive_worst: `[]`, in the box |u_i| <= 0.05 |w_i|.
    """

    average: chex.Array
    average_standard_error: chex.Array
    adaptive_average: chex.Array
    adaptive_average_standard_error: chex.Array
    worst: chex.Array
    adaptive_worst: chex.Array


@struct.dataclass
class Curvature:
    """The Hessian H of the mean softmax cross-entropy in all weights but the biases.

    Attributes:
      top_eigenvalue: `[]`, its largest eigenvalue, approached from below.
      top_eigenvalue_residual: `[]`, an eigenvalue of H is at most this far from it.
      trace: `[]`, an estimate.
      trace_standard_error: `[]`, of that estimate over its probes.
    """

    top_eigenvalue: chex.Array
    top_eigenvalue_residual: chex.Array
    trace: chex.Array
    trace_standard_error: chex.Array


@struct.dataclass
class Gradients:
    """Gradients g_i of each training example's softmax cross-entropy, g their mean.

    In all weights but the biases.

    Attributes:
      noise: `[]`, the mean of ||g_i - g||_2^2.
      squared_norm: `[]`, ||g||_2^2.
    """

    noise: chex.Array
    squared_norm: chex.Array


@struct.dataclass
class Speed:
    """How fast training went, judged at the ends of epochs.

    Attributes:
      losses_sum: `[]`, the sum over epochs of the mean training loss, nats.
      losses_sum_last: `[]`, over the last 10 epochs (over all, if there are fewer).
      steps_to_01: `[]`, SGD steps until that loss is <= 0.1; infinite if it never was.
      steps_01_to_001: `[]`, from there until it is <= 0.01; likewise.
    """

    losses_sum: chex.Array
    losses_sum_last: chex.Array
    steps_to_01: chex.Array
    steps_01_to_001: chex.Array


@struct.dataclass
class HiddenMargins:
    """Margins at the input of each layer l = 1..L, on some training examples.

    That of an example is (f_y - f_j) / ||gradient of f_y - f_j in a||_2 / sqrt(v), j the
    largest other output, a what arrives at the layer (the input, then what leaves a
    ReLU), v the sum of the variances of its entries over the examples.

    Attributes:
      five_numbers: `[L, 5]`, lower fence, quartiles and upper fence over the examples;
        1e30 stands for infinite ones, 0/0 is 0.
    """

    five_numbers: chex.Array


@struct.dataclass
class Clusters:
    """The classes as clusters of what leaves the first hidden layer.

    Attributes:
      davies_bouldin: `[]`, their Davies-Bouldin index; infinite where two coincide, or
        there is one only.
    """

    davies_bouldin: chex.Array


@struct.dataclass
class Mixup:
    """The network between training examples.

    Attributes:
      error: `[]`, the fraction of averages of two examples of a class that it gets wrong.
    """

    error: chex.Array
