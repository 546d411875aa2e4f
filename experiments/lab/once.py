"""What is made of a large object is made once, however many networks have it in common."""

import weakref
from collections.abc import Callable, Hashable
from typing import Any


class OncePerObject:
    """A function of an object, called once for each: what it returned is kept as long as that lives.

    Objects are told apart by identity, not by what they hold: to compare examples would cost as
    much as to make them. So neither may be changed. What is returned must not hold the object
    itself, or neither is ever freed.
    """

    def __init__(self, function: Callable[..., Any]):
        self._function = function
        self._kept: dict[tuple, tuple[weakref.ref, Any]] = {}

    def __call__(self, one: Any, *more: Hashable) -> Any:
        """`function(one, *more)`."""
        key = id(one), *more
        if key not in self._kept:
            found = self._function(one, *more)
            is_gone = weakref.ref(one, lambda _: self._kept.pop(key, None))
            self._kept[key] = is_gone, found
        return self._kept[key][1]
