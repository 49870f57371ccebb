"""Long names where there is little room."""

from unicodedata import east_asian_width


def shorten(text: str, most: int) -> str:
    """Shorten a text in the middle to `most` letters; wide characters count twice."""
    widths = [1 + (east_asian_width(character) in "WF") for character in text]
    if sum(widths) <= most:
        return text
    room = max(most - 1, 1)
    head = len(text)
    while head and sum(widths[:head]) > (room + 1) // 2:
        head -= 1
    tail = len(text)
    while tail > head and sum(widths[tail - 1 :]) <= room // 2:
        tail -= 1
    return f"{text[:head]}\u2026{text[tail:]}"
