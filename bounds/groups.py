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
