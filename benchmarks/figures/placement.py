"""Where labels go so that none covers another: geometry alone, in any unit of length."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np


@dataclass(frozen=True)
class Box:
    """An upright rectangle."""

    left: float
    bottom: float
    right: float
    top: float

    def overlaps(self, other: "Box") -> bool:
        """Whether they share more than an edge."""
        across = self.left < other.right and other.left < self.right
        return across and self.bottom < other.top and other.bottom < self.top

    def holds(self, other: "Box") -> bool:
        """Whether the other lies inside."""
        across = self.left <= other.left and other.right <= self.right
        return across and self.bottom <= other.bottom and other.top <= self.top

    def nearest(self, point: tuple[float, float]) -> tuple[float, float]:
        """The box's own point that is closest."""
        x, y = point
        return min(max(x, self.left), self.right), min(max(y, self.bottom), self.top)

    def meets(self, start: tuple[float, float], end: tuple[float, float]) -> bool:
        """Whether a straight line passes through; sampled finely, not solved."""
        steps = np.linspace(0, 1, 101)[:, None]
        x, y = (np.array(start) + steps * (np.array(end) - start)).T
        return bool(np.any((x > self.left) & (x < self.right) & (y > self.bottom) & (y < self.top)))


def place_labels(
    points: Sequence[tuple[float, float]],
    sizes: Sequence[tuple[float, float]],
    obstacles: Sequence[Box],
    bounds: Box,
    gap: float,
) -> list[Box]:
    """A box for each label, close to its point.

    One label after another takes the nearest free place of those around its point in growing
    distance. Free is a place inside the bounds that covers no label, obstacle or line from a label
    to its point; where there is none, lines and obstacles may be covered, labels and points never,
    as long as there is any room.

    Args:
        points: what is labelled.
        sizes: width and height of each label.
        obstacles: what labels should not cover beside the points.
        bounds: where labels may be.
        gap: between a label and anything else.

    Returns:
        In the order of the points.
    """
    marks = [Box(x - gap, y - gap, x + gap, y + gap) for x, y in points]
    places: dict[int, Box] = {}
    # Crowded points first: the others find room elsewhere.
    for index in sorted(range(len(points)), key=lambda one: (_loneliness(points, one), one)):
        candidates = _around(points[index], sizes[index], bounds, gap)
        labels = list(places.values())
        apart = (box for box in candidates if _is_free(box, [*marks, *obstacles, *labels]))
        clear = (box for box in apart if not _crosses(box, points[index], places, points))
        loose = (box for box in candidates if _is_free(box, [*marks, *labels]))
        best = next(chain(clear, loose, candidates), None)
        if best is None:
            raise ValueError(f"a label of {sizes[index]} does not fit into {bounds}")
        places[index] = best
    return [places[index] for index in range(len(points))]


def _loneliness(points: Sequence[tuple[float, float]], index: int) -> float:
    """Distance to the closest other point."""
    distances = [np.hypot(*np.subtract(points[index], other)) for other in points]
    return float(min(distances[:index] + distances[index + 1 :], default=0.0))


def _around(
    point: tuple[float, float], size: tuple[float, float], bounds: Box, gap: float
) -> list[Box]:
    """Places around a point inside the bounds, close ones first and to the right before others."""
    x, y = point
    width, height = size
    reach = bounds.right - bounds.left + bounds.top - bounds.bottom
    angles = np.deg2rad([0, 180, 90, 270, 45, 315, 135, 225, 22, 338, 158, 202, 67, 113, 247, 293])
    boxes = []
    for distance in np.arange(1.6 * gap, reach, gap):
        for angle in angles:
            across, up = np.cos(angle), np.sin(angle)
            middle_x = x + across * (width / 2 + distance)
            middle_y = y + up * (height / 2 + distance)
            left, bottom = float(middle_x - width / 2), float(middle_y - height / 2)
            box = Box(left, bottom, left + width, bottom + height)
            boxes += [box] if bounds.holds(box) else []
    return boxes


def _is_free(box: Box, taken: Sequence[Box]) -> bool:
    return not any(box.overlaps(other) for other in taken)


def _crosses(
    box: Box,
    point: tuple[float, float],
    places: dict[int, Box],
    points: Sequence[tuple[float, float]],
) -> bool:
    """Whether the line to this label passes through another label, or theirs through this one."""
    return any(
        other.meets(point, box.nearest(point))
        or box.meets(points[index], other.nearest(points[index]))
        for index, other in places.items()
    )
