"""SVG as text: one function for any element, and short functions for the common ones.

All text is escaped here, and control characters, which XML forbids, become replacement characters.
A `kind` is the element's class, which the page's style sheet gives its colours.
"""

from collections.abc import Sequence
from html import escape


def plain(text: str) -> str:
    """The text escaped for an element or an attribute, without characters that XML forbids."""
    return escape("".join(map(_allowed, text)))


def _allowed(character: str) -> str:
    if character.isprintable() or character in "\n\t":
        return character
    return "\ufffd"


def tag(
    name: str,
    *inside: str,
    kind: str = "",
    **attributes: float | str | None,
) -> str:
    """One element.

    Args:
        inside: SVG text, escaped already.
        attributes: `text_anchor` is written `text-anchor`; a float has one decimal; None is left
            out.
    """
    opening = name
    if kind:
        opening += f' class="{plain(kind)}"'
    for attribute, value in attributes.items():
        if value is None:
            continue
        if isinstance(value, float):
            value = f"{value:.1f}"
        attribute = attribute.replace("_", "-")
        opening += f' {attribute}="{plain(str(value))}"'
    if not inside:
        return f"<{opening}/>"
    return f"<{opening}>{''.join(inside)}</{name}>"


def title(text: str) -> str:
    """What the browser shows when the mouse rests on the element around it."""
    return f"<title>{plain(text)}</title>"


def text(
    x: float,
    y: float,
    content: str,
    kind: str,
    anchor: str = "start",
) -> str:
    """A line of text; nothing if there is no content."""
    if not content:
        return ""
    return tag(
        "text",
        plain(content),
        kind=kind,
        text_anchor=anchor,
        x=float(x),
        y=float(y),
    )


def line(
    x1: float,
    y1: float,
    x2: float,
    y2: float,
    kind: str,
    style: str | None = None,
) -> str:
    """A straight line."""
    return tag(
        "line",
        kind=kind,
        x1=float(x1),
        y1=float(y1),
        x2=float(x2),
        y2=float(y2),
        style=style,
    )


def polyline(
    points: Sequence[tuple[float, float]],
    *inside: str,
    kind: str,
    style: str | None = None,
) -> str:
    """A line through points."""
    places = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return tag("polyline", *inside, kind=kind, style=style, points=places)


def drawing(
    width: float,
    height: float,
    label: str,
    parts: Sequence[str],
    kind: str = "",
) -> str:
    """The whole drawing, as wide as the page allows; `label` describes it in words."""
    return tag(
        "svg",
        *parts,
        kind=kind,
        viewBox=f"0 0 {width:g} {height:g}",
        role="img",
        aria_label=label,
    )
