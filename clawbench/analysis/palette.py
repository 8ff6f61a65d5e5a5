"""Palette: colours, marks and paper that all figures share, and the figure class itself.

Colours are told apart under the common colour vision deficiencies (Okabe & Ito 2008; Tol 2021 for offers), and never
alone: lines differ in dash, points in shape, and bars carry their figures. Ink and grid are two colours used for
nothing else, so a report can give them its own in light and dark mode.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Final

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

INK: Final = "#22272e"
FAINT: Final = "#7a828e"
GRID: Final = "#dfe3e8"
PAPER: Final = "#fefefe"

_STRATEGY_COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d31", "#8a8f98")
_OFFER_COLOURS: Final = ("#4477aa", "#ddcc77", "#44aa99", "#cc6677", "#88ccee", "#999933", "#aa4499", "#117733")
OTHER_COLOUR: Final = "#b8bdc4"
_DASHES: Final = ("-", "--", "-.", ":")
_SHAPES: Final = ("o", "s", "^", "D", "v", "P", "X", "*")

STATUS_COLOURS: Final = {"ok": "#009e73", "failed": "#d55e00", "rejected": "#e69f00", "cancelled": "#8a8f98"}
MATCH_COLOURS: Final = {"exact": "#0072b2", "nearest": "#e69f00", "synthetic": "#d55e00", "live": "#009e73"}
TIMING_COLOURS: Final = {
    "recorded": "#0072b2",
    "header": "#56b4e9",
    "body": "#009e73",
    "duration": "#cc79a7",
    "profile": "#d55e00",
    "live": "#8a8f98",
}


@dataclass(frozen=True)
class Look:
    """How one strategy is drawn, in every figure."""

    colour: str
    dash: str
    shape: str


def looks(strategies: Sequence[str]) -> dict[str, Look]:
    """Look of each strategy by its place in the run; beyond eight, colours come again with another dash."""
    return {
        name: Look(
            _STRATEGY_COLOURS[place % len(_STRATEGY_COLOURS)],
            _DASHES[(place + place // len(_STRATEGY_COLOURS)) % len(_DASHES)],
            _SHAPES[place % len(_SHAPES)],
        )
        for place, name in enumerate(strategies)
    }


def offer_colours(offers: Sequence[str]) -> dict[str, str]:
    """Colour of each offer, for at most eight of them."""
    return dict(zip(offers, _OFFER_COLOURS, strict=False))


class Picture(Figure):
    """A matplotlib figure without pyplot's global state; a notebook shows it as it is."""

    def __init__(self, width_in: float = 8.4, height_in: float = 4.2) -> None:
        super().__init__(figsize=(width_in, height_in), layout="constrained", facecolor=PAPER)
        FigureCanvasAgg(self)

    def _repr_png_(self) -> bytes:
        image = BytesIO()
        self.savefig(image, format="png", dpi=110)
        return image.getvalue()


def empty(why: str) -> Picture:
    """A figure that says why there is nothing to show."""
    picture = Picture(height_in=1.4)
    axes = picture.add_subplot()
    axes.set_axis_off()
    axes.text(0.5, 0.5, why, ha="center", va="center", color=FAINT, fontsize=10, transform=axes.transAxes)
    return picture


def dress(axes: Axes, *, x: str = "", y: str = "", title: str = "", grid: str = "both") -> None:
    """Labels, a faint grid ('x', 'y', 'both' or 'none') behind the figures, and no box around them."""
    axes.set_facecolor("none")
    axes.set_xlabel(x, color=INK, fontsize=9.5)
    axes.set_ylabel(y, color=INK, fontsize=9.5)
    if title:
        axes.set_title(title, color=INK, fontsize=10.5, loc="left", fontweight="bold")
    if grid != "none":
        axes.grid(visible=True, axis=grid, color=GRID, linewidth=0.8)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(FAINT)
    axes.tick_params(colors=INK, which="both", labelsize=9)
    axes.tick_params(which="minor", length=2, labelsize=8)


def plain(text: str) -> str:
    """Text as it stands: matplotlib would read an even number of dollar signs as mathematics."""
    return text.replace("$", r"\$")
