"""A tree as one vector a kind of number: from a device it is fetched at once, however many leaves it has."""

import dataclasses
import math
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np


@jax.tree_util.register_pytree_node_class
@dataclasses.dataclass(frozen=True)
class Packed:
    """A tree of arrays, packed; what maps over lanes gives its vectors a leading axis.

    Attributes:
      vectors: `[n]` each, one a dtype, in the order in which these first occur.
      structure: of the tree.
      leaves: (shape, dtype) of each leaf.
    """

    vectors: tuple[chex.Array, ...]
    structure: Any
    leaves: tuple[tuple[tuple[int, ...], str], ...]

    @classmethod
    def of(cls, tree: chex.ArrayTree) -> "Packed":
        """A tree packed; pure, to be traced."""
        leaves, structure = jax.tree.flatten(jax.tree.map(jnp.asarray, tree))
        by_dtype: dict[str, list[jax.Array]] = {}
        for leaf in leaves:
            by_dtype.setdefault(str(leaf.dtype), []).append(leaf.ravel())
        vectors = tuple(jnp.concatenate(parts) for parts in by_dtype.values())
        return cls(
            vectors, structure, tuple((leaf.shape, str(leaf.dtype)) for leaf in leaves)
        )

    def tree(self) -> chex.ArrayTree:
        """The tree, on the host; its leaves keep the axes before the last that the vectors have."""
        vectors = [np.asarray(vector) for vector in self.vectors]
        kinds = list(dict.fromkeys(dtype for _, dtype in self.leaves))
        ends, leaves = [0] * len(kinds), []
        for shape, dtype in self.leaves:
            kind = kinds.index(dtype)
            vector, start = vectors[kind], ends[kind]
            ends[kind] = start + math.prod(shape)
            part = vector[..., start : ends[kind]]
            leaves.append(part.reshape((*vector.shape[:-1], *shape)))
        return jax.tree.unflatten(self.structure, leaves)

    def shapes(self) -> chex.ArrayTree:
        """The tree in `jax.ShapeDtypeStruct`s, without axes before the last of the vectors."""
        leaves = [jax.ShapeDtypeStruct(*leaf) for leaf in self.leaves]
        return jax.tree.unflatten(self.structure, leaves)

    def tree_flatten(self) -> tuple[tuple[chex.Array, ...], Any]:
        """As JAX asks for it."""
        return self.vectors, (self.structure, self.leaves)

    @classmethod
    def tree_unflatten(cls, known: Any, vectors: Any) -> "Packed":
        """As JAX asks for it."""
        return cls(tuple(vectors), *known)
