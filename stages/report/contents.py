"""The table of contents of a page: its headings become the targets of links.

In: the page's content as HTML. Out: the same with an `id` in every `<h2>`, and the links. Texts of
models and users are escaped in the HTML, so none of them can be taken for a heading. No heading
takes the id of another element; data outside of the content have ids with `_`, which none has.
"""

import re

from markupsafe import Markup

_HEADING = re.compile(r"<h2([^>]*)>(.*?)</h2>", re.DOTALL)
_NOTE = re.compile(r'<span class="note">(.*?)</span>', re.DOTALL)
_ID = re.compile(r'<[^>]* id="([^"]*)"')
_NO_LETTERS = re.compile(r"[^a-z0-9]+")


def with_contents(html: str) -> tuple[Markup, list[tuple[str, str]]]:
    """The HTML with an id in each heading, and (id, title) of each."""
    links: list[tuple[str, str]] = []
    used = set(_ID.findall(html))  # of the controls that a page's script looks for

    def name(heading: re.Match[str]) -> str:
        attributes, inside = heading.groups()
        words = _NOTE.sub(r" (\1)", inside)
        title = Markup(words).striptags()
        target = _slug(title)
        number = 1
        while target in used:
            number += 1
            target = f"{_slug(title)}-{number}"
        used.add(target)
        links.append((target, title))
        return f'<h2{attributes} id="{target}">{inside}</h2>'

    return Markup(_HEADING.sub(name, html)), links


def _slug(title: str) -> str:
    """The letters and digits of a title, with hyphens between them."""
    slug = _NO_LETTERS.sub("-", title.lower())
    return slug.strip("-")[:60] or "section"
