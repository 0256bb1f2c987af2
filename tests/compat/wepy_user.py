"""A user's own distance, written for wepy."""

import numpy as np
from wepy.resampling.distances.distance import Distance


class BondDistance(Distance):
    """|difference| of the lengths of the first bond, nm."""

    def image(self, state):
        return np.linalg.norm(state["positions"][0] - state["positions"][1], keepdims=True)

    def image_distance(self, image_a, image_b):
        return float(np.abs(image_a - image_b)[0])
