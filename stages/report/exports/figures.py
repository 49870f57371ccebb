"""The drawings of a page as SVG files of their own, for slides, papers and documents.

`python -m stages.report.exports.figures PLACE --out FOLDER`

PLACE is the `report.html` of a run or of an ablation, or the folder of either in runs/. A page's
style sheet colours its drawings; each file gets the rules that it needs, in light colours and with
the page's colours in place of variables. Left out are signs without a label, such as marks in a
legend, and what is drawn a second time for narrow screens.
"""

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from stages.ablation.jobs import DONE, Record
from stages.guards.console import open_console
from stages.guards.disk import errors_of_writing, write_atomically
from stages.guards.errors import UserError
from stages.guards.files import exists, read_text

_STYLE = re.compile(r"<style>(.*?)</style>", re.DOTALL)
_DRAWING = re.compile(r"<svg\b[^>]*\baria-label=.*?</svg>", re.DOTALL)
_LABEL = re.compile(r'aria-label="([^"]*)"')
_NARROW = re.compile(r'^<svg class="[^"]*\bnarrow\b')
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_BOX = re.compile(r'viewBox="(\S+) (\S+) (\S+) (\S+)"')
_CLASSES = re.compile(r'class="([^"]*)"')
_VARIABLE = re.compile(r"(--[\w-]+):\s*([^;}]+)")
_USE = re.compile(r"var\((--[\w-]+)\)")
_PAGE = "report.html"
_FIX = f"give the {_PAGE} of a run or of an ablation, or the folder of either in runs/"
_FONT = "font: 15px system-ui, sans-serif"


@dataclass(frozen=True)
class Figure:
    """One drawing of a page."""

    name: str
    """Of its file, without `.svg`: its place on the page and its label."""
    label: str
    """What it shows, in words."""
    svg: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the drawings of a page and return the exit code: 0, or 2 for an error."""
    parser = argparse.ArgumentParser(prog="python -m stages.report.exports.figures")
    parser.add_argument(
        "place", type=Path, help="report.html of a run or of an ablation, or a folder"
    )
    parser.add_argument("--out", type=Path, default=Path("figures"), help="the folder to write to")
    options = parser.parse_args(arguments)
    try:
        figures = read_figures(page_of(options.place))
        with errors_of_writing(options.out):
            options.out.mkdir(parents=True, exist_ok=True)
        for figure in figures:
            write_atomically(options.out / f"{figure.name}.svg", figure.svg)
    except UserError as error:
        open_console(stderr=True).print(str(error))
        return 2
    console = open_console()
    for figure in figures:
        console.print(f"{options.out / figure.name}.svg")
    return 0


def page_of(place: Path) -> Path:
    """The page itself; of a folder of a run or of an ablation, its report.

    Raises:
        UserError: the folder has none.
    """
    if not place.is_dir():
        return place
    pages = [place / _PAGE, place / "ablation" / _PAGE]
    if exists(place / DONE):
        try:
            record = Record.model_validate_json(read_text(place / DONE))
        except ValidationError:
            raise UserError("it is damaged", where=str(place / DONE), fix="run it again") from None
        pages += [Path(step.artifact) / _PAGE for step in record.steps.values()]
    for page in pages:
        if exists(page):
            return page
    raise UserError("the folder has no report", where=str(place), fix=_FIX)


def read_figures(page: Path) -> list[Figure]:
    """The drawings of a page, in its order.

    Raises:
        UserError: the page cannot be read, or has no drawing.
    """
    html = read_text(page)
    css = _COMMENT.sub("", "\n".join(_STYLE.findall(html)))
    drawings = [drawing for drawing in _DRAWING.findall(html) if not _NARROW.match(drawing)]
    if not drawings:
        raise UserError("the page has no drawing", where=str(page), fix=_FIX)
    return [figure_of(drawing, place, css) for place, drawing in enumerate(drawings, 1)]


def figure_of(drawing: str, place: int, css: str) -> Figure:
    """A drawing with its size, its font and the rules that it needs."""
    label = _LABEL.search(drawing)
    box = _BOX.search(drawing)
    assert label is not None
    assert box is not None
    colours = variables(css)
    style = "\n".join(rules_for(drawing, css))
    opening = '<svg xmlns="http://www.w3.org/2000/svg"'
    opening += f' width="{box[3]}" height="{box[4]}" style="{_FONT}; background: var(--card)"'
    svg = drawing.replace("<svg", opening, 1)
    svg = svg.replace(">", f">\n<style>\n{style}\n</style>\n", 1)
    svg = _USE.sub(lambda use: colours.get(use[1], use[0]), svg)
    words = re.findall(r"[a-z0-9]+", label[1].lower())
    name = "-".join([f"{place:02}", *words[:8]])
    return Figure(name, label[1], svg + "\n")


def variables(css: str) -> dict[str, str]:
    """The values of the style sheet's variables, in light colours."""
    light = [block for block in blocks(css) if block.startswith(":root")]
    return {name: value.strip() for block in light for name, value in _VARIABLE.findall(block)}


def rules_for(drawing: str, css: str) -> Iterator[str]:
    """The rules about drawings, and about the classes that this one has."""
    classes = {name for names in _CLASSES.findall(drawing) for name in names.split()}
    for block in blocks(css):
        selectors = block.partition("{")[0].strip()
        if selectors.startswith(("@", ":root")) or selectors == "svg":
            continue
        words = set(re.findall(r"\.([\w-]+)", selectors))
        if words & classes or (not words and re.search(r"\bsvg\b", selectors)):
            yield block


def blocks(css: str) -> Iterator[str]:
    """The outermost rules of a style sheet; those inside `@media` stay in it."""
    depth = 0
    start = 0
    for place, letter in enumerate(css):
        if letter == "{":
            depth += 1
        if letter == "}":
            depth -= 1
            if depth == 0:
                yield css[start : place + 1].strip()
                start = place + 1


if __name__ == "__main__":
    sys.exit(main())
