"""All spellings of a secret: as it is, quoted or escaped as in JSON, Python, HTML or an address."""

import re
from functools import lru_cache

MASK = "***"
_CONTROLS = {"\a": "a", "\b": "b", "\f": "f", "\n": "n", "\r": "r", "\t": "t", "\v": "v"}
"""The letters after a backslash, in JSON and in Python."""
_SLASHES = r"(?:(?:\\|%(?:25){0,3}5c){1,8})"
"""Before a quoted letter, perhaps quoted again for an address."""
_CODED = re.compile(r"(?i)&#|(?:[\\%](?:25)*(?:x|u00|u0{6})?)[3-7][0-9a-f]")
"""A letter or a digit that is written by its number."""


def mask_spellings(text: str, secrets: set[str]) -> str:
    """Return a text without some secrets, however their letters are written."""
    if not _CODED.search(text):  # a letter can only be itself: most texts need no slow search
        plain = text.lower().replace("\\", "")
        secrets = {secret for secret in secrets if _plain_part(secret) in plain}
    pattern = _pattern_of(tuple(sorted(secrets, key=lambda secret: (-len(secret), secret))))
    return pattern.sub(MASK, text) if pattern else text


@lru_cache(maxsize=64)
def _plain_part(secret: str) -> str:
    """Return the longest part of letters and digits, which nothing quotes."""
    return max(re.findall("[a-z0-9]*", secret.lower()), key=len)


@lru_cache(maxsize=64)
def _pattern_of(secrets: tuple[str, ...]) -> re.Pattern[str] | None:
    """What matches the secrets as they are, and with letters escaped as in JSON or an address."""
    if not secrets:
        return None
    return re.compile("|".join(map(_spell, secrets)), re.IGNORECASE)


def _spell(secret: str) -> str:
    """A pattern of a secret's spellings; spaces in it may be any, since messages are rewrapped."""
    letters = []
    for part in re.split(r"(\s+)", secret):
        if part.isspace():
            letters.append(
                rf"(?:\s|{_SLASHES}(?:[nrtvf]|x[0-9a-f]{{2}}|u[0-9a-f]{{4}})"
                r"|%(?:25){0,3}[0-9a-f]{2}|\+){1,40}"
            )
        else:
            letters += map(_spell_letter, part)
    return "".join(letters)


def _spell_letter(letter: str) -> str:
    code = f"{ord(letter):02x}"
    units = letter.encode("utf-16-be", errors="surrogatepass")
    pairs = [rf"{_SLASHES}u{units[at : at + 2].hex()}" for at in range(0, len(units), 2)]
    is_byte = "\udc80" <= letter <= "\udcff"  # of a variable that is not UTF-8
    octets = letter.encode(errors="surrogateescape" if is_byte else "surrogatepass")
    percent = "".join(f"%(?:25){{0,3}}{byte:02x}" for byte in octets)
    escaped = "".join(rf"{_SLASHES}x{byte:02x}" for byte in octets)
    html = rf"&#(?:{ord(letter)}|x{code});"
    control = rf"{_SLASHES}{_CONTROLS[letter]}" if letter in _CONTROLS else percent
    spellings = [
        control,
        rf"{_SLASHES}?{re.escape(letter)}",
        rf"{_SLASHES}[xuU]0{{0,6}}{code}",
        "".join(pairs),
        rf"{_SLASHES}?{percent}",
        escaped,
    ]
    return f"(?:{'|'.join([*spellings, html])})"
