"""Drawings as SVG, and the page's parts around them."""

from ivideo.evaluation.report.drawing import HEIGHT, WIDTH, Drawing, Label, Shape
from ivideo.evaluation.report.markup import Markup, element, joined


def plot(drawing: Drawing) -> Markup:
    """A plot that can be read at every stop: pointed at it shows a line and its values, the page's script below it."""
    return element(
        "svg",
        element("title", drawing.summary) if not drawing.stops else None,
        (_shape(shape) for shape in drawing.shapes),
        (_label(label) for label in drawing.labels),
        _stops(drawing),
        class_="plot",
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="group" if drawing.stops else "img",
        aria_label=f"{drawing.summary}; arrow keys read values" if drawing.stops else drawing.summary,
        tabindex="0" if drawing.stops else None,
    )


def key(ink: int) -> Markup:
    """A short piece of a source's line, to set before its name."""
    line = element("line", x1="1", x2="23", y1="5", y2="5", class_=f"line ink{ink}")
    return element("svg", line, class_="key", viewBox="0 0 24 10", aria_hidden="true")


def _shape(shape: Shape) -> Markup:
    classes = shape.kind if shape.ink is None else f"{shape.kind} ink{shape.ink}"
    if shape.kind == "dot":
        return joined(element("circle", cx=f"{x:g}", cy=f"{y:g}", r="3", class_=classes) for x, y in shape.points)
    points = " ".join(f"{x:g},{y:g}" for x, y in shape.points)
    return element("polygon" if shape.kind == "area" else "polyline", points=points, class_=classes)


def _label(label: Label) -> Markup:
    x, y = label.at
    class_ = "title" if label.title else None if label.ink is None else f"ink{label.ink}"
    return element("text", label.text, x=f"{x:g}", y=f"{y:g}", text_anchor=label.anchor, class_=class_)


def _stops(drawing: Drawing) -> list[Markup]:
    """A column to point at for every stop, reaching half way to its neighbours."""
    xs = [stop.x for stop in drawing.stops]
    half = (xs[1] - xs[0]) / 2 if len(xs) > 1 else 20.0
    return [
        element(
            "g",
            element("title", stop.text),
            element("rect", x=f"{stop.x - half:g}", y="0", width=f"{2 * half:g}", height=HEIGHT),
            element("line", x1=f"{stop.x:g}", x2=f"{stop.x:g}", y1=f"{drawing.top:g}", y2=f"{drawing.bottom:g}"),
            class_="stop",
        )
        for stop in drawing.stops
    ]
