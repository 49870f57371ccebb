"""What people are asked about an answer, and by which id their label finds it again.

The id depends on request, answer and wording alone. So a label counts for every policy that gives
the same answer and for every later run, and ends with the wording that it was given under.
"""

from collections.abc import Iterable, Mapping

from stages.sources.conversations import content_id

ANY = "any"
"""The question whether an answer breaks any principle that counts."""


def wording_of(principle: str, texts: Mapping[str, str], counted: Iterable[str]) -> str:
    """Return the text of a principle, or all that count, one a line, where it is `ANY`."""
    if principle != ANY:
        return texts[principle]
    return "\n".join(f"{number}. {texts[name]}" for number, name in enumerate(counted, start=1))


def label_id(prompt_id: str, response: str, wording: str) -> str:
    """Return an id that no spreadsheet takes for a number."""
    return f"L{content_id([prompt_id, response, wording], prompt_id)}-{prompt_id}"


def prompt_of(identifier: str) -> str:
    """Return the prompt's id; "" if it is no label's id."""
    name, _, prompt_id = identifier.partition("-")
    return prompt_id if name.startswith("L") else ""
