"""Keys and passwords: which values are secret, and how they are masked wherever text leaves Credo.

Secrets come from the environment only. A config that holds one in plain is refused
(`find_secrets`); what servers and libraries repeat of one is masked (`mask`).
"""

import os
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

MASK = "***"
SHORTEST = 6
"""Characters of the shortest value of the environment that counts as a secret."""
_SECRET_WORDS = {"apikey", "token", "secret", "password", "passwd", "pwd", "passphrase"}
_SECRET_WORDS |= {"credential", "credentials", "authorization", "cookie", "auth"}
_SECRET_PAIRS = {("api", "key"), ("access", "key"), ("private", "key"), ("secret", "key")}
_SECRET_PAIRS |= {("account", "key"), ("signing", "key"), ("encryption", "key"), ("master", "key")}
_SPECIAL_TOKENS = {"pad", "eos", "bos", "unk", "sep", "cls", "mask", "image", "special", "stop"}
_SPECIAL_TOKENS |= {"start", "end", "decoder", "forced", "boi", "eoi", "audio", "video", "per"}
"""`pad_token` is a token of a model, not a secret."""
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_IN_TEXT = [
    re.compile(r"(?<=://)[^\s/@'\"]+(?=@)"),  # user:password@host
    re.compile(
        r"(?i)(?<=[?&])(?P<name>[\w.-]*(?:key|token|secret|sig|signature|password|auth|code)"
        r"=)[^\s&#'\"]+"
    ),
    re.compile(r"(?i)\b(?P<name>(?:bearer|basic) )[\w.~+/=-]{6,}"),
    re.compile(r"\bhf_[A-Za-z0-9]{16,}\b|\bsk-[A-Za-z0-9_-]{16,}|\bghp_[A-Za-z0-9]{16,}\b"),
]


_registered: set[str] = set()


def register_secret(value: str) -> None:
    """Mask this value too: a key whose variable is not named like one."""
    if len(value.strip()) >= SHORTEST:
        _registered.add(value.strip())


@lru_cache(maxsize=1024)
def is_secret_name(name: str) -> bool:
    """Return whether a key, or a variable of the environment, is named like a secret.

    `api_key`, `HF_TOKEN`, `wandb.apiKey` are; `pad_token`, `max_tokens`, `api_key_env`, `key` are
    not.
    """
    words = [word.lower() for word in _WORD.findall(name)]
    if not words:
        return False
    if words[-1] == "token":
        return len(words) == 1 or words[-2] not in _SPECIAL_TOKENS
    return words[-1] in _SECRET_WORDS or tuple(words[-2:]) in _SECRET_PAIRS


def mask(text: str) -> str:
    """Return a text without the environment's secrets and without what is spelt like one.

    For messages, logs and facts about a run. Mask before a text is cut: half of a key is not
    recognised.
    """
    text = mask_known(text)
    for pattern in _IN_TEXT:
        text = pattern.sub(
            lambda match: f"{match.groupdict().get('name') or ''}{MASK}",
            text,
        )
    return text


def mask_known(text: str) -> str:
    """Return a text without the values of the environment's secrets, and otherwise unchanged.

    For texts that are data, such as a server's answers: a key that the server repeats is masked,
    what a model writes is not.
    """
    pattern = _pattern_of(tuple(sorted(_environment_secrets(), key=len, reverse=True)))
    return pattern.sub(MASK, text) if pattern else text


def mask_values(value: Any) -> Any:
    """Return plain data whose texts are masked, and whose values under a secret's name are too."""
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, Mapping):
        masked = {}
        for key, inner in value.items():
            hide = isinstance(inner, str) and inner and is_secret_name(str(key))
            masked[key] = MASK if hide else mask_values(inner)
        return masked
    if isinstance(value, list | tuple):
        return [mask_values(inner) for inner in value]
    return value


def find_secrets(config: Any, name: str = "") -> Iterator[str]:
    """Yield the dotted names of a config's values that hold a secret in plain.

    Args:
        config: plain data before interpolation: `${oc.env:KEY}` only names a secret.
    """
    if isinstance(config, Mapping):
        for key, inner in config.items():
            yield from find_secrets(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(config, list | tuple):
        for index, inner in enumerate(config):
            yield from find_secrets(inner, f"{name}.{index}")
    elif isinstance(config, str) and config and not config.startswith("${"):
        key = name.rpartition(".")[2]
        if is_secret_name(key) or mask(config) != config:
            yield name


def _environment_secrets() -> Iterator[str]:
    yield from _registered
    for name, value in os.environ.items():
        stripped = value.strip()
        if len(stripped) >= SHORTEST and is_secret_name(name):
            yield stripped


@lru_cache(maxsize=8)
def _pattern_of(secrets: tuple[str, ...]) -> re.Pattern[str] | None:
    """What matches the secrets as they are, and with letters escaped as in JSON or an address."""
    if not secrets:
        return None
    return re.compile("|".join(map(_spell, secrets)), re.IGNORECASE)


def _spell(secret: str) -> str:
    letters = []
    for letter in secret:
        plain = re.escape(letter)
        code = f"{ord(letter):02x}"
        quoted = "".join(f"%{byte:02x}" for byte in letter.encode(errors="surrogateescape"))
        letters.append(rf"(?:\\{{0,7}}{plain}|\\{{1,7}}u0{{0,4}}{code}|{quoted})")
    return "".join(letters)
