"""Labels: where the names of points go so that they do not cover each other.

Greedy, in the order of the points: of eight places around a point, the one that overlaps least with the names and
points that are already there, and stays within the axes. Text widths are estimated from the number of characters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure

Align = Literal["left", "center", "right"]
_Box = tuple[float, float, float, float]

_PLACES: Final[tuple[tuple[float, float, Align], ...]] = (
    (9, 0, "left"),
    (-9, 0, "right"),
    (0, 13, "center"),
    (0, -13, "center"),
    (9, 11, "left"),
    (9, -11, "left"),
    (-9, 11, "right"),
    (-9, -11, "right"),
)
_CHARACTER_PT: Final = 5.4
_LINE_PT: Final = 12.0
_POINT_PT: Final = 6.0


def placed(
    picture: Figure, axes: Axes, points: Sequence[tuple[float, float]], names: Sequence[str]
) -> list[tuple[tuple[float, float], Align]]:
    """For each point the offset of its name in typographic points, and how the name is aligned there."""
    picture.draw_without_rendering()  # settles the layout, so that data coordinates have a place on paper
    scale = 72 / picture.dpi
    at = [tuple(float(c) * scale for c in axes.transData.transform(point)) for point in points]
    corners = tuple(float(corner) * scale for corner in axes.get_window_extent().extents)
    taken: list[_Box] = [(x - _POINT_PT, y - _POINT_PT, x + _POINT_PT, y + _POINT_PT) for x, y in at]
    found: list[tuple[tuple[float, float], Align]] = []
    for own, ((x, y), name) in enumerate(zip(at, names, strict=True)):
        width = _CHARACTER_PT * len(name)
        best: tuple[float, _Box, tuple[float, float], Align] | None = None
        for right, up, align in _PLACES:
            left = x + right - {"left": 0.0, "center": width / 2, "right": width}[align]
            box = (left, y + up - _LINE_PT / 2, left + width, y + up + _LINE_PT / 2)
            others = [one for number, one in enumerate(taken) if number != own]
            cost = sum(_overlap(box, one) for one in others) + 5 * _outside(box, corners)
            if best is None or cost < best[0]:
                best = (cost, box, (right, up), align)
        assert best is not None
        taken.append(best[1])
        found.append((best[2], best[3]))
    return found


def _overlap(one: _Box, other: _Box) -> float:
    """Area that two boxes share, in square points."""
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    return max(wide, 0.0) * max(high, 0.0)


def _outside(box: _Box, frame: Sequence[float]) -> float:
    """Area of the box outside the frame, in square points."""
    area = (box[2] - box[0]) * (box[3] - box[1])
    return area - _overlap(box, (frame[0], frame[1], frame[2], frame[3]))
