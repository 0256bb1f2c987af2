"""A user's own distances, written for wepy."""

import numpy as np
from wepy.resampling.distances.distance import AtomPairDistance, Distance
from wepy.util.util import box_vectors_to_lengths_angles


class BondDistance(Distance):
    """|difference| of the lengths of the first bond, nm."""

    def image(self, state):
        return np.linalg.norm(state["positions"][0] - state["positions"][1], keepdims=True)

    def image_distance(self, image_a, image_b):
        return float(np.abs(image_a - image_b)[0])


def height(positions, atom):
    """A function of the module's own."""
    return positions[atom, 2]


class HeightDistance(Distance):
    """With all that such a class has: a constructor, super(), its base by name, a helper."""

    scale = 2.0

    def __init__(self, atom):
        super().__init__()
        Distance.__init__(self)
        self.atom = atom

    @staticmethod
    def _flat(value):
        return np.array([value])

    def image(self, state):
        return self._flat(height(state["positions"], self.atom) * self.scale)

    def image_distance(self, image_a, image_b):
        return np.abs(image_a - image_b)[0]


class TwiceDistance(HeightDistance):
    """Derived from the user's own."""

    def image_distance(self, image_a, image_b):
        return 2 * super().image_distance(image_a, image_b)


class BoxDistance(BondDistance):
    """Uses a function of wepy's."""

    def image(self, state):
        lengths, _ = box_vectors_to_lengths_angles(state["box_vectors"])
        return super().image(state) / lengths[0]


class LazyBoxDistance(BondDistance):
    """Imports a function of wepy's when it is called."""

    def image(self, state):
        from wepy.util.util import box_vectors_to_lengths_angles

        return super().image(state) / box_vectors_to_lengths_angles(state["box_vectors"])[0][0]


class WidePairDistance(AtomPairDistance):
    """Derived from another class of wepy's."""

    def image_distance(self, image_a, image_b):
        return 10 * super().image_distance(image_a, image_b)


class StateDistance(Distance):
    """Takes wepy's image, which is the state itself."""

    def image_distance(self, image_a, image_b):
        return float(np.abs(image_a["positions"] - image_b["positions"]).max())


class NosyDistance(BondDistance):
    """Measures otherwise where its base is another."""

    def image_distance(self, image_a, image_b):
        return super().image_distance(image_a, image_b) + len(type(self).__mro__)
