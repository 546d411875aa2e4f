"""What is made of an object once, and let go with it."""

import gc

from experiments.lab.once import OncePerObject


class Thing:
    pass


def test_an_object_is_asked_once_and_forgotten_with_it():
    asked = []

    def of(one, more=0):
        asked.append(more)
        return [more]

    once = OncePerObject(of)
    first, second = Thing(), Thing()
    assert once(first) is once(first)
    assert once(first) is not once(second)  # equal, and not the same
    assert once(first, 1) == [1]
    assert asked == [0, 0, 1]
    del first
    gc.collect()
    assert len(once._kept) == 1
    third = Thing()  # may lie where the first one lay
    assert once(third) == [0] and asked == [0, 0, 1, 0]
