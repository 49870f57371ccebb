"""SVG as text: one function for any element, and short names for those that every drawing has.

All text is escaped here, and control characters, which XML forbids, become replacement characters.
A `kind` is the element's class, which the page's style sheet gives its colours.
"""

from collections.abc import Sequence
from html import escape


def plain(text: str) -> str:
    """The text escaped for an element or an attribute, without characters that XML forbids."""
    allowed = (c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)
    return escape("".join(allowed))


def tag(name: str, *inside: str, kind: str = "", **attributes: float | str | None) -> str:
    """One element.

    Args:
        inside: SVG text, escaped already.
        attributes: `text_anchor` is written `text-anchor`; a float has one decimal; None is left
            out.
    """
    parts = [name]
    if kind:
        parts.append(f'class="{plain(kind)}"')
    for attribute, value in attributes.items():
        if value is None:
            continue
        written = f"{value:.1f}" if isinstance(value, float) else plain(str(value))
        parts.append(f'{attribute.replace("_", "-")}="{written}"')
    opening = " ".join(parts)
    if not inside:
        return f"<{opening}/>"
    return f"<{opening}>{''.join(inside)}</{name}>"


def title(text: str) -> str:
    """What the browser shows when the mouse rests on the element around it."""
    return f"<title>{plain(text)}</title>"


def text(x: float, y: float, content: str, kind: str, anchor: str = "start") -> str:
    """A line of text; nothing if there is no content."""
    if not content:
        return ""
    place = {"x": float(x), "y": float(y)}
    return tag("text", plain(content), kind=kind, text_anchor=anchor, **place)


def line(x1: float, y1: float, x2: float, y2: float, kind: str, style: str | None = None) -> str:
    """A straight line."""
    start = {"x1": float(x1), "y1": float(y1)}
    end = {"x2": float(x2), "y2": float(y2)}
    return tag("line", kind=kind, **start, **end, style=style)


def polyline(
    points: Sequence[tuple[float, float]], *inside: str, kind: str, style: str | None = None
) -> str:
    """A line through points."""
    places = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return tag("polyline", *inside, kind=kind, style=style, points=places)


def drawing(width: float, height: float, label: str, parts: Sequence[str], kind: str = "") -> str:
    """The whole drawing, which fills the width it is given; `label` says in words what it shows."""
    view = f"0 0 {width:g} {height:g}"
    return tag("svg", *parts, kind=kind, viewBox=view, role="img", aria_label=label)
