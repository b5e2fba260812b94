"""The things that ``scenes(kinds=things)`` draws: 32 familiar ones and 10 held out."""

from __future__ import annotations

from collections.abc import Mapping

from mfv_dsl.data.sketch import Arc, Ellipse, Hole, Line, Polygon, Rectangle, Slice, Stroke

_RED, _DARK_RED = (206, 46, 40), (150, 28, 30)
_ORANGE, _AMBER = (238, 132, 30), (214, 150, 40)
_YELLOW, _STRAW = (246, 208, 50), (232, 206, 130)
_GREEN, _DARK_GREEN = (76, 158, 62), (38, 104, 48)
_BLUE, _DARK_BLUE, _SKY = (52, 104, 200), (30, 58, 128), (140, 190, 232)
_PURPLE, _PINK = (132, 74, 168), (236, 136, 160)
_BROWN, _DARK_BROWN, _WOOD = (142, 88, 48), (92, 54, 30), (196, 146, 90)
_GREY, _DARK_GREY, _STEEL = (146, 150, 156), (70, 72, 80), (188, 196, 204)
_BLACK, _WHITE, _CREAM, _SKIN = (34, 34, 38), (248, 248, 246), (246, 236, 212), (240, 200, 160)

FAMILIAR: Mapping[str, tuple[Stroke, ...]] = {
    "apple": (
        Ellipse(_RED, (0.12, 0.24, 0.60, 0.94)),
        Ellipse(_RED, (0.40, 0.24, 0.88, 0.94)),
        Line(_DARK_BROWN, 0.05, (0.50, 0.32, 0.54, 0.08)),
        Ellipse(_GREEN, (0.54, 0.08, 0.82, 0.22)),
    ),
    "banana": (
        Slice(_YELLOW, (0.02, -0.30, 0.98, 0.86), 15, 165),
        Hole((0.06, -0.42, 0.94, 0.54)),
        Line(_DARK_BROWN, 0.07, (0.92, 0.42, 0.95, 0.32)),
        Line(_DARK_BROWN, 0.07, (0.08, 0.42, 0.05, 0.36)),
    ),
    "lemon": (
        Ellipse(_YELLOW, (0.10, 0.24, 0.90, 0.78)),
        Polygon(_YELLOW, (0.80, 0.36, 0.99, 0.51, 0.80, 0.66)),
        Polygon(_YELLOW, (0.20, 0.36, 0.01, 0.51, 0.20, 0.66)),
        Ellipse(_CREAM, (0.30, 0.34, 0.46, 0.42)),
    ),
    "pear": (
        Ellipse(_GREEN, (0.18, 0.42, 0.82, 0.98)),
        Ellipse(_GREEN, (0.32, 0.16, 0.68, 0.66)),
        Line(_DARK_BROWN, 0.05, (0.50, 0.20, 0.56, 0.03)),
    ),
    "orange": (
        Ellipse(_ORANGE, (0.10, 0.10, 0.92, 0.92)),
        Ellipse(_DARK_GREEN, (0.46, 0.12, 0.56, 0.20)),
        Ellipse((250, 176, 96), (0.24, 0.26, 0.42, 0.40)),
    ),
    "tomato": (
        Ellipse(_RED, (0.06, 0.20, 0.94, 0.94)),
        Polygon(
            _DARK_GREEN,
            (
                0.50,
                0.10,
                0.57,
                0.24,
                0.76,
                0.20,
                0.64,
                0.32,
                0.70,
                0.46,
                0.50,
                0.36,
                0.30,
                0.46,
                0.36,
                0.32,
                0.24,
                0.20,
                0.43,
                0.24,
            ),
        ),
    ),
    "carrot": (
        Line(_GREEN, 0.06, (0.62, 0.36, 0.64, 0.05)),
        Line(_GREEN, 0.06, (0.62, 0.36, 0.82, 0.12)),
        Line(_GREEN, 0.06, (0.62, 0.36, 0.95, 0.32)),
        Ellipse(_ORANGE, (0.40, 0.22, 0.78, 0.60)),
        Polygon(_ORANGE, (0.04, 0.97, 0.43, 0.32, 0.69, 0.57)),
        Line(_AMBER, 0.03, (0.36, 0.56, 0.44, 0.62)),
        Line(_AMBER, 0.03, (0.24, 0.74, 0.30, 0.78)),
    ),
    "mushroom": (
        Rectangle(_STRAW, (0.38, 0.44, 0.62, 0.94), 0.08),
        Slice(_DARK_RED, (0.06, 0.08, 0.94, 0.98), 180, 360),
        Ellipse(_WHITE, (0.26, 0.28, 0.40, 0.42)),
        Ellipse(_WHITE, (0.50, 0.16, 0.62, 0.28)),
        Ellipse(_WHITE, (0.64, 0.32, 0.78, 0.46)),
    ),
    "mug": (
        Arc(_BLUE, 0.09, (0.52, 0.30, 0.96, 0.74), 260, 100),
        Rectangle(_BLUE, (0.10, 0.16, 0.74, 0.90), 0.08),
        Ellipse(_DARK_BLUE, (0.12, 0.12, 0.72, 0.28)),
    ),
    "bottle": (
        Rectangle(_DARK_GREEN, (0.30, 0.36, 0.70, 0.98), 0.08),
        Polygon(_DARK_GREEN, (0.30, 0.44, 0.42, 0.22, 0.58, 0.22, 0.70, 0.44)),
        Rectangle(_DARK_GREEN, (0.42, 0.06, 0.58, 0.32)),
        Rectangle(_AMBER, (0.41, 0.02, 0.59, 0.09), 0.02),
        Rectangle(_CREAM, (0.30, 0.54, 0.70, 0.80)),
    ),
    "spoon": (
        Ellipse(_STEEL, (0.34, 0.02, 0.66, 0.42)),
        Ellipse(_GREY, (0.39, 0.07, 0.61, 0.36)),
        Line(_STEEL, 0.08, (0.50, 0.40, 0.50, 0.94)),
    ),
    "fork": (
        Line(_STEEL, 0.05, (0.34, 0.06, 0.34, 0.34)),
        Line(_STEEL, 0.05, (0.45, 0.06, 0.45, 0.34)),
        Line(_STEEL, 0.05, (0.56, 0.06, 0.56, 0.34)),
        Line(_STEEL, 0.05, (0.66, 0.06, 0.66, 0.34)),
        Slice(_STEEL, (0.315, 0.14, 0.685, 0.52), 0, 180),
        Line(_STEEL, 0.09, (0.50, 0.50, 0.50, 0.94)),
    ),
    "knife": (
        Polygon(_STEEL, (0.42, 0.58, 0.42, 0.04, 0.52, 0.04, 0.60, 0.24, 0.60, 0.58)),
        Rectangle(_BLACK, (0.42, 0.58, 0.60, 0.98), 0.05),
        Ellipse(_STEEL, (0.48, 0.66, 0.54, 0.72)),
        Ellipse(_STEEL, (0.48, 0.84, 0.54, 0.90)),
    ),
    "book": (
        Rectangle(_DARK_RED, (0.14, 0.06, 0.86, 0.94), 0.03),
        Rectangle(_CREAM, (0.24, 0.86, 0.86, 0.92)),
        Rectangle(_RED, (0.24, 0.06, 0.86, 0.85)),
        Rectangle(_STRAW, (0.36, 0.22, 0.74, 0.42)),
    ),
    "pencil": (
        Polygon(_YELLOW, (0.20, 0.64, 0.68, 0.16, 0.84, 0.32, 0.36, 0.80)),
        Polygon(_SKIN, (0.20, 0.64, 0.36, 0.80, 0.06, 0.94)),
        Polygon(_BLACK, (0.12, 0.81, 0.19, 0.88, 0.06, 0.94)),
        Polygon(_PINK, (0.73, 0.11, 0.81, 0.03, 0.97, 0.19, 0.89, 0.27)),
        Polygon(_STEEL, (0.66, 0.18, 0.73, 0.11, 0.89, 0.27, 0.82, 0.34)),
    ),
    "key": (
        Ellipse(_AMBER, (0.04, 0.30, 0.44, 0.70)),
        Hole((0.14, 0.40, 0.34, 0.60)),
        Rectangle(_AMBER, (0.40, 0.45, 0.97, 0.55)),
        Rectangle(_AMBER, (0.74, 0.50, 0.81, 0.72)),
        Rectangle(_AMBER, (0.89, 0.50, 0.96, 0.78)),
    ),
    "lamp": (
        Rectangle(_DARK_GREY, (0.46, 0.50, 0.54, 0.90)),
        Ellipse(_DARK_GREY, (0.26, 0.84, 0.74, 0.98)),
        Polygon(_AMBER, (0.32, 0.06, 0.68, 0.06, 0.90, 0.54, 0.10, 0.54)),
    ),
    "chair": (
        Rectangle(_BROWN, (0.20, 0.04, 0.31, 0.98), 0.02),
        Rectangle(_WOOD, (0.31, 0.54, 0.82, 0.60)),
        Rectangle(_BROWN, (0.20, 0.58, 0.84, 0.68), 0.02),
        Rectangle(_BROWN, (0.74, 0.60, 0.84, 0.98), 0.02),
        Rectangle(_DARK_BROWN, (0.31, 0.80, 0.74, 0.85)),
    ),
    "table": (
        Rectangle(_WOOD, (0.02, 0.26, 0.98, 0.40), 0.02),
        Rectangle(_BROWN, (0.08, 0.40, 0.92, 0.48)),
        Rectangle(_BROWN, (0.08, 0.40, 0.18, 0.92)),
        Rectangle(_BROWN, (0.82, 0.40, 0.92, 0.92)),
    ),
    "clock": (
        Ellipse(_DARK_GREY, (0.04, 0.04, 0.96, 0.96)),
        Ellipse(_WHITE, (0.12, 0.12, 0.88, 0.88)),
        Line(_BLACK, 0.05, (0.50, 0.50, 0.50, 0.22)),
        Line(_BLACK, 0.05, (0.50, 0.50, 0.70, 0.60)),
        Ellipse(_RED, (0.45, 0.45, 0.55, 0.55)),
    ),
    "hammer": (
        Rectangle(_WOOD, (0.45, 0.24, 0.57, 0.98), 0.04),
        Rectangle(_DARK_GREY, (0.24, 0.08, 0.72, 0.30), 0.03),
        Polygon(_DARK_GREY, (0.70, 0.08, 0.94, 0.24, 0.70, 0.30)),
        Rectangle(_GREY, (0.14, 0.05, 0.27, 0.33), 0.02),
    ),
    "shoe": (
        Polygon(_PURPLE, (0.08, 0.28, 0.40, 0.28, 0.48, 0.48, 0.90, 0.60, 0.96, 0.76, 0.08, 0.76)),
        Rectangle(_BLACK, (0.05, 0.74, 0.97, 0.84), 0.04),
        Line(_WHITE, 0.03, (0.42, 0.38, 0.32, 0.46)),
        Line(_WHITE, 0.03, (0.48, 0.48, 0.38, 0.56)),
        Line(_WHITE, 0.03, (0.58, 0.52, 0.50, 0.62)),
    ),
    "hat": (
        Rectangle(_BLACK, (0.24, 0.12, 0.76, 0.80), 0.03),
        Rectangle(_RED, (0.24, 0.60, 0.76, 0.72)),
        Ellipse(_BLACK, (0.02, 0.70, 0.98, 0.88)),
    ),
    "sock": (
        Rectangle(_SKY, (0.36, 0.04, 0.70, 0.72), 0.04),
        Ellipse(_SKY, (0.06, 0.60, 0.70, 0.96)),
        Rectangle(_BLUE, (0.36, 0.04, 0.70, 0.16), 0.03),
        Rectangle(_BLUE, (0.36, 0.26, 0.70, 0.34)),
    ),
    "ball": (
        Ellipse(_WHITE, (0.06, 0.06, 0.94, 0.94)),
        Slice(_RED, (0.06, 0.06, 0.94, 0.94), 0, 60),
        Slice(_BLUE, (0.06, 0.06, 0.94, 0.94), 120, 180),
        Slice(_YELLOW, (0.06, 0.06, 0.94, 0.94), 240, 300),
        Ellipse(_DARK_GREY, (0.44, 0.44, 0.56, 0.56)),
    ),
    "umbrella": (
        Line(_BROWN, 0.05, (0.50, 0.10, 0.50, 0.84)),
        Arc(_BROWN, 0.05, (0.475, 0.74, 0.70, 0.94), 0, 180),
        Slice(_PURPLE, (0.02, 0.08, 0.98, 0.96), 180, 360),
        Slice(_PINK, (0.34, 0.08, 0.66, 0.96), 180, 360),
    ),
    "flag": (
        Rectangle(_DARK_BROWN, (0.12, 0.02, 0.20, 0.98)),
        Rectangle(_BLUE, (0.20, 0.06, 0.94, 0.30)),
        Rectangle(_WHITE, (0.20, 0.22, 0.94, 0.40)),
        Rectangle(_RED, (0.20, 0.38, 0.94, 0.54)),
    ),
    "house": (
        Rectangle(_STRAW, (0.14, 0.44, 0.86, 0.96)),
        Polygon(_DARK_RED, (0.50, 0.06, 0.98, 0.46, 0.02, 0.46)),
        Rectangle(_BROWN, (0.42, 0.64, 0.60, 0.96)),
        Rectangle(_SKY, (0.20, 0.56, 0.36, 0.72)),
        Rectangle(_SKY, (0.66, 0.56, 0.80, 0.72)),
    ),
    "tree": (
        Rectangle(_BROWN, (0.43, 0.60, 0.57, 0.98)),
        Polygon(_DARK_GREEN, (0.50, 0.28, 0.92, 0.78, 0.08, 0.78)),
        Polygon(_GREEN, (0.50, 0.12, 0.82, 0.54, 0.18, 0.54)),
        Polygon(_DARK_GREEN, (0.50, 0.02, 0.70, 0.30, 0.30, 0.30)),
    ),
    "flower": (
        Line(_GREEN, 0.05, (0.50, 0.44, 0.50, 0.96)),
        Ellipse(_GREEN, (0.52, 0.66, 0.80, 0.78)),
        Ellipse(_PINK, (0.36, 0.02, 0.64, 0.30)),
        Ellipse(_PINK, (0.36, 0.40, 0.64, 0.68)),
        Ellipse(_PINK, (0.16, 0.20, 0.44, 0.48)),
        Ellipse(_PINK, (0.56, 0.20, 0.84, 0.48)),
        Ellipse(_YELLOW, (0.38, 0.23, 0.62, 0.47)),
    ),
    "fish": (
        Polygon(_ORANGE, (0.70, 0.50, 0.98, 0.24, 0.98, 0.76)),
        Ellipse(_ORANGE, (0.04, 0.26, 0.82, 0.74)),
        Polygon(_AMBER, (0.36, 0.30, 0.56, 0.12, 0.62, 0.34)),
        Ellipse(_WHITE, (0.14, 0.38, 0.26, 0.50)),
        Ellipse(_BLACK, (0.17, 0.41, 0.23, 0.47)),
    ),
    "car": (
        Polygon(_SKY, (0.24, 0.50, 0.34, 0.26, 0.66, 0.26, 0.80, 0.50)),
        Line(_RED, 0.05, (0.24, 0.50, 0.34, 0.27, 0.66, 0.27, 0.80, 0.50)),
        Line(_RED, 0.05, (0.50, 0.27, 0.50, 0.50)),
        Rectangle(_RED, (0.02, 0.46, 0.98, 0.74), 0.07),
        Ellipse(_BLACK, (0.14, 0.60, 0.38, 0.84)),
        Ellipse(_STEEL, (0.21, 0.67, 0.31, 0.77)),
        Ellipse(_BLACK, (0.64, 0.60, 0.88, 0.84)),
        Ellipse(_STEEL, (0.71, 0.67, 0.81, 0.77)),
    ),
}

NOVEL: Mapping[str, tuple[Stroke, ...]] = {
    "boat": (
        Polygon(_BROWN, (0.04, 0.66, 0.96, 0.66, 0.80, 0.92, 0.20, 0.92)),
        Rectangle(_DARK_BROWN, (0.47, 0.06, 0.53, 0.66)),
        Polygon(_SKY, (0.56, 0.10, 0.90, 0.60, 0.56, 0.60)),
        Polygon(_RED, (0.44, 0.20, 0.44, 0.60, 0.14, 0.60)),
    ),
    "bell": (
        Ellipse(_DARK_BROWN, (0.42, 0.80, 0.58, 0.96)),
        Ellipse(_AMBER, (0.24, 0.08, 0.76, 0.70)),
        Polygon(_AMBER, (0.24, 0.38, 0.76, 0.38, 0.90, 0.84, 0.10, 0.84)),
        Ellipse(_AMBER, (0.44, 0.02, 0.56, 0.14)),
    ),
    "star": (
        Polygon(_YELLOW, (0.50, 0.03, 0.62, 0.37, 0.97, 0.38, 0.69, 0.60, 0.79, 0.95,
                          0.50, 0.74, 0.21, 0.95, 0.31, 0.60, 0.03, 0.38, 0.38, 0.37)),
    ),
    "heart": (
        Ellipse(_RED, (0.06, 0.12, 0.54, 0.60)),
        Ellipse(_RED, (0.46, 0.12, 0.94, 0.60)),
        Polygon(_RED, (0.10, 0.48, 0.50, 0.30, 0.90, 0.48, 0.50, 0.94)),
    ),
    "candle": (
        Rectangle(_PINK, (0.38, 0.36, 0.62, 0.92), 0.02),
        Line(_BLACK, 0.03, (0.50, 0.36, 0.50, 0.28)),
        Ellipse(_ORANGE, (0.42, 0.06, 0.58, 0.32)),
        Ellipse(_YELLOW, (0.46, 0.16, 0.54, 0.30)),
        Ellipse(_GREY, (0.22, 0.86, 0.78, 0.98)),
    ),
    "leaf": (
        Polygon(_GREEN, (0.15, 0.85, 0.10, 0.66, 0.13, 0.48, 0.23, 0.30, 0.39, 0.17, 0.60, 0.10,
                         0.93, 0.07, 0.90, 0.40, 0.83, 0.61, 0.70, 0.77, 0.52, 0.87, 0.34, 0.90)),
        Line(_DARK_GREEN, 0.04, (0.03, 0.97, 0.80, 0.20)),
        Line(_DARK_GREEN, 0.03, (0.36, 0.64, 0.34, 0.42)),
        Line(_DARK_GREEN, 0.03, (0.36, 0.64, 0.58, 0.66)),
        Line(_DARK_GREEN, 0.03, (0.58, 0.42, 0.56, 0.24)),
        Line(_DARK_GREEN, 0.03, (0.58, 0.42, 0.76, 0.44)),
    ),
    "kite": (
        Polygon(_RED, (0.50, 0.02, 0.50, 0.36, 0.18, 0.36)),
        Polygon(_YELLOW, (0.50, 0.02, 0.82, 0.36, 0.50, 0.36)),
        Polygon(_BLUE, (0.18, 0.36, 0.50, 0.36, 0.50, 0.76)),
        Polygon(_GREEN, (0.50, 0.36, 0.82, 0.36, 0.50, 0.76)),
        Line(_DARK_GREY, 0.025, (0.50, 0.76, 0.40, 0.84, 0.56, 0.90, 0.46, 0.97)),
    ),
    "ladder": (
        Rectangle(_WOOD, (0.26, 0.02, 0.35, 0.98)),
        Rectangle(_WOOD, (0.65, 0.02, 0.74, 0.98)),
        Rectangle(_BROWN, (0.30, 0.14, 0.70, 0.20)),
        Rectangle(_BROWN, (0.30, 0.34, 0.70, 0.40)),
        Rectangle(_BROWN, (0.30, 0.54, 0.70, 0.60)),
        Rectangle(_BROWN, (0.30, 0.74, 0.70, 0.80)),
    ),
    "barrel": (
        Rectangle(_BROWN, (0.20, 0.06, 0.80, 0.94), 0.06),
        Ellipse(_BROWN, (0.10, 0.10, 0.90, 0.90)),
        Rectangle(_DARK_GREY, (0.15, 0.22, 0.85, 0.30)),
        Rectangle(_DARK_GREY, (0.15, 0.70, 0.85, 0.78)),
        Rectangle(_DARK_BROWN, (0.36, 0.06, 0.39, 0.94)),
        Rectangle(_DARK_BROWN, (0.61, 0.06, 0.64, 0.94)),
    ),
    "moon": (
        Ellipse(_YELLOW, (0.10, 0.04, 0.94, 0.96)),
        Hole((0.36, -0.02, 1.12, 0.84)),
    ),
}  # fmt: skip

ALL: Mapping[str, tuple[Stroke, ...]] = {**FAMILIAR, **NOVEL}
