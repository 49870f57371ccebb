"""Keys and passwords: which values are secret, and how they are masked wherever text leaves Credo.

Secrets come from the environment only. A config that holds one in plain is refused
(`find_secrets`); what servers and libraries repeat of one is masked (`mask`).
"""

import os
import re
from collections.abc import Iterator, Mapping, Set
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from stages.guards.spellings import MASK, mask_spellings

SHORTEST = 6
"""Characters of the shortest value that counts as a secret."""
SHORTEST_OF_KEYS = 16
"""The same for a variable that is only called like a key of any kind, such as `SORT_KEY`."""
_SECRET_WORDS = {"token", "secret", "secrets", "password", "passwords", "passwd", "pwd", "passcode"}
_SECRET_WORDS |= {"passphrase", "credential", "credentials", "authorization", "cookie", "cookies"}
_SECRET_WORDS |= {"auth", "jwt", "dsn", "webhook", "bearer"}
_SECRET_PAIRS = {("connection", "string"), ("webhook", "url")}
_KINDS_OF_KEYS = {"api", "access", "private", "secret", "account", "signing", "encryption"}
_KINDS_OF_KEYS |= {"master", "subscription", "service", "auth"}
_ENDINGS = (
    *("apikey", "apikeys", "secretkey", "accesskey", "privatekey", "password", "passwd"),
    *("authtoken", "accesstoken", "hubtoken", "hftoken", "apitoken", "clientsecret"),
)
"""Of names without a break between their words: `openaiapikey`."""
_SPECIAL_TOKENS = {"pad", "eos", "bos", "unk", "sep", "cls", "mask", "image", "special", "stop"}
_SPECIAL_TOKENS |= {"start", "end", "decoder", "forced", "boi", "eoi", "audio", "video", "per"}
_SPECIAL_TOKENS |= {"begin", "think", "turn", "next", "first", "last", "eot", "separator", "option"}
"""`pad_token` is a token of a model, not a secret."""
_KEY_WORDS = {"key", "keys", "tokens", "pass", "pat"}
"""At the end of a variable's name; in a config, `key` may be a column."""
_NO_SECRET_VARIABLES = {"PWD", "OLDPWD", "GOOGLE_APPLICATION_CREDENTIALS"}
"""Those that hold a path."""
_NO_SECRETS = {"", "null", "none", "true", "false", "empty", "bearer", "basic", "token"}
"""What may stand beside `${oc.env:KEY}`."""
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_WORDS_ONLY = re.compile(r"[A-Za-z]{1,12}(?:[ ._/:-]{1,2}[A-Za-z]{1,12}){0,3}[ ._/:-]?\d{0,4}")
"""What a password may be and any text may hold: `helpful`, `harm-1`."""
_INTERPOLATION = re.compile(r"\$\{(?P<what>[^${}]*)\}")
_VARIABLE = re.compile(r"oc\.env:\s*(\w+)")
# Repetitions have an end, so that no text takes long; {0,8}: of backslashes, a text in texts.
_IN_TEXT = [
    # user:password@host; the password may hold / and @, and host:8000/path@revision is none; the
    # user of a database is no secret
    re.compile(
        r"(?<=://)(?!(?<=\bpostgresql://)[\w.-]{1,63}@[\w.-]{0,200}(?:[:/?]|$))(?=[^\s@'\"]{0,200}\w)"
        r"(?:[^\s/'\"]{1,200}|[^\s/@:'\"]{1,200}:(?!\d+/)[^\s'\"]{0,200})(?=@)",
    ),
    re.compile(
        r"(?i)(?<=[?&])(?P<before>[\w.-]{0,60}(?:key|token|secret|sig|signature|password|auth|code)"
        r"=)[^\s&#'\"]+"
    ),
    re.compile(r"(?i)\b(?P<before>(?:bearer|basic) +)(?=\S{0,200}\d)[\w.~+/=-]{16,}"),
    re.compile(
        r"(?i)(?P<before>\bauthorization\\*['\"]?\s*[:=]\s*b?\\*['\"]?(?:\w+ +)?)[^\s'\",]+"
    ),
    re.compile(r"(?<![A-Za-z0-9])(?:sk|pk|rk|gsk|nvapi|glpat)[-_](?=[\w-]{0,100}\d)[\w-]{16,}"),
    re.compile(r"(?<![A-Za-z0-9])(?:hf|r8|gh[pousr]|github_pat|tgp)_(?=\w{0,100}\d)\w{16,}"),
    re.compile(r"(?<![A-Za-z0-9])(?:xox[a-z]-[\w-]{10,}|AIza[\w-]{30,}|AKIA[0-9A-Z]{16})"),
    re.compile(r"(?<![A-Za-z0-9])eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]+"),
    re.compile(r"(?<=hooks\.slack\.com/services/)[\w/]+"),
]
_NAMED = [
    re.compile(r"(?<![\w.-])(?P<before>(?P<name>[\w.-]{1,100})=)(?P<value>[^\s&#'\",;)}\]]+)"),
    re.compile(
        r"(?P<before>(?P<open>\\{0,8}['\"])(?P<name>[\w.-]{1,100})(?P=open) {0,9}: {0,9})"
        r"(?P<value>\\{0,8}\"(?:[^\"\\]|\\{1,8}[^\"\\])+|\\{0,8}'(?:[^'\\]|\\{1,8}[^'\\])+)"
    ),
]
"""`name=value`, and `"name": "value"` as in JSON and Python."""
_PLAIN = re.compile(r"(?P<name>[\w.-]{1,100})['\"]?\s{0,9}[=:]\s{0,9}(?P<value>[^\s}&]+)")
_used: dict[str, None] = {}
"""The secrets that this run's config or its generators use, whatever their variables are called."""


@lru_cache(maxsize=1024)
def is_secret_name(name: str) -> bool:
    """Return whether an option, a field or a header is named like a secret.

    `api_key`, `HF_TOKEN`, `wandb.apiKey` are; `pad_token`, `max_tokens`, `api_key_env`, `key` are
    not.
    """
    words = _words(name)
    if not words:
        return False
    last, before = words[-1], words[-2] if len(words) > 1 else ""
    if last == "token":
        return before not in _SPECIAL_TOKENS
    if last in ("key", "keys"):
        return before in _KINDS_OF_KEYS
    pair = (before, last)
    return last in _SECRET_WORDS or pair in _SECRET_PAIRS or last.endswith(_ENDINGS)


def _words(name: str) -> list[str]:
    """Return a name's words in lower case, without numbers at its end: `API_KEY_2`."""
    words = [word.lower() for word in _WORD.findall(name)]
    while words and words[-1].isdigit():
        words.pop()
    return words


def mask(text: str) -> str:
    """Return a text without known secrets and without what is spelt like one.

    For messages, logs and facts about a run. Mask before a text is cut: half of a key is not
    recognised.
    """
    return _mask_patterns(mask_spellings(text, {*_environment_secrets(), *_used}))


def _mask_patterns(text: str) -> str:
    for pattern in _IN_TEXT:
        text = pattern.sub(lambda match: f"{match.groupdict().get('before') or ''}{MASK}", text)
    for pattern in _NAMED:
        text = pattern.sub(_mask_named, text)
    return text


def _mask_named(match: re.Match[str]) -> str:
    if not is_secret_name(match["name"]) or match["value"].strip("\\'\"") in _NO_SECRETS | {MASK}:
        return match[0]
    opening = re.match(r"\\*['\"]|", match["value"])
    return f"{match['before']}{opening[0] if opening else ''}{MASK}"


def mask_known(text: str, keys: Set[str] | None = None) -> str:
    """Return a text without the values of known secrets, and otherwise unchanged.

    For texts that are data, such as a server's answers: a key that the server repeats is masked,
    what a model writes is not. Data must not depend on the environment's ordinary words: with
    `DB_PASSWORD=helpful`, an answer keeps that word, unless this run uses the password.

    Args:
        keys: `environment_keys()`, where there are many texts.
    """
    keys = environment_keys() if keys is None else keys
    return mask_spellings(text, {*keys, *_used})


def environment_keys() -> frozenset[str]:
    """Return the secrets of the environment that are no ordinary words."""
    secrets = _environment_secrets()
    return frozenset(secret for secret in secrets if not _WORDS_ONLY.fullmatch(secret))


def remember_secret(value: str) -> None:
    """Mask a value from now on, whatever the variable is called that it comes from."""
    for line in value.splitlines():
        if len(line.strip()) >= SHORTEST:
            _used[line.strip()] = None


def remember_plain(text: str) -> None:
    """Remember what stands in plain under a secret's name in an override, even a broken one."""
    for match in _PLAIN.finditer(text):
        if is_secret_name(match["name"]) and "$" not in match["value"]:
            for word in re.split(r"[\[\]{}()'\",:\\]+", match["value"]):
                remember_secret(word)


def remember_secrets(config: Any, resolved: Any) -> None:
    """Remember the secrets that a config takes from the environment.

    Args:
        config: plain data before interpolation; values of options that are named like secrets, and
            variables that are, count.
        resolved: the same after it.
    """
    keys = environment_keys()
    texts = dict(_texts(config, keys))
    for name, text in texts.items():
        for variable in _VARIABLE.findall(text):
            if _hides(name) or is_secret_name(variable):
                remember_secret(os.environ.get(variable, ""))
    for name, text in _texts(resolved, keys):
        if "${" not in texts.get(name, ""):
            continue
        if _hides(name):
            remember_secret(text)
        for secret in _secrets_within(text):
            remember_secret(secret)


def _secrets_within(text: str) -> Iterator[str]:
    """Yield what `mask` would hide of an address or another text, without its quoting."""
    for pattern in _IN_TEXT:
        for match in pattern.finditer(text):
            secret = match[0].removeprefix(match.groupdict().get("before") or "")
            user, _, password = secret.partition(":")
            yield unquote(password or user)
    for match in _NAMED[0].finditer(text):
        if is_secret_name(match["name"]):
            yield unquote(match["value"])


def mask_values(value: Any, hides: bool = False) -> Any:
    """Return plain data whose texts are masked, and whose values under a secret's name are too."""
    return _mask_values(value, environment_keys(), hides)


def _mask_values(value: Any, keys: Set[str], hides: bool) -> Any:
    if isinstance(value, Mapping):
        masked = {}
        for key, inner in value.items():
            name = _mask_data(key, keys) if isinstance(key, str) else key
            masked[name] = _mask_values(inner, keys, is_secret_name(str(key)))
        return masked
    if isinstance(value, list | tuple):
        return [_mask_values(inner, keys, hides) for inner in value]
    if isinstance(value, str) and value:
        return MASK if hides else _mask_data(value, keys)
    return value


def _mask_data(text: str, keys: Set[str]) -> str:
    return _mask_patterns(mask_known(text, keys))


def mask_identity(value: Any) -> Any:
    """Return plain data without the secrets that the run's config uses, and otherwise unchanged.

    For what identifies a result: it must not depend on a key, or on the rest of the environment.
    """
    if isinstance(value, Mapping):
        return {key: mask_identity(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [mask_identity(inner) for inner in value]
    return mask_spellings(value, set(_used)) if isinstance(value, str) else value


def separate_secrets(value: Any) -> tuple[Any, list[str]]:
    """Return plain data with `***0`, `***1`, ... for the texts that hold a secret, and these texts.

    So the data can be written to a file; `restore_secrets` is the way back.
    """
    secrets: list[str] = []
    keys = environment_keys()

    def separate(inner: Any, hides: bool) -> Any:
        if isinstance(inner, Mapping):
            return {key: separate(item, is_secret_name(str(key))) for key, item in inner.items()}
        if isinstance(inner, list | tuple):
            return [separate(item, hides) for item in inner]
        if _mask_values(inner, keys, hides) == inner:
            return inner
        secrets.append(inner)
        return f"{MASK}{len(secrets) - 1}"

    return separate(value, hides=False), secrets


def restore_secrets(value: Any, secrets: list[str]) -> Any:
    """Return the data that `separate_secrets` was given."""
    if isinstance(value, Mapping):
        return {key: restore_secrets(inner, secrets) for key, inner in value.items()}
    if isinstance(value, list):
        return [restore_secrets(inner, secrets) for inner in value]
    places = {f"{MASK}{index}": secret for index, secret in enumerate(secrets)}
    return places.get(value, value) if isinstance(value, str) else value


def find_secrets(config: Any) -> Iterator[str]:
    """Yield the dotted names of a config's values that hold a secret in plain.

    Args:
        config: plain data before interpolation: `${oc.env:KEY}` only names a secret.
    """
    keys = environment_keys()
    for name, text in _texts(config, keys):
        plain = _without_interpolations(text)
        rest = set(re.split(r"[^\w/+=.@-]+", plain.lower())) - _NO_SECRETS
        is_token_of_model = plain.startswith(("<", "[", "|"))
        if (_hides(name) and rest and not is_token_of_model) or _mask_data(plain, keys) != plain:
            yield mask(".".join(name))


def _texts(
    value: Any, keys: Set[str], name: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield each text in plain data, with the names that lead to it; a key counts as a text too.

    A long number under a secret's name counts as well.
    """
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _texts(inner, keys, (*name, str(key)))
            if isinstance(key, str) and _mask_data(key, keys) != key:
                yield name, key
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _texts(inner, keys, (*name, str(index)))
    elif isinstance(value, str):
        yield name, value
    elif isinstance(value, int) and len(str(value)) >= SHORTEST and _hides(name):
        yield name, str(value)


def _hides(name: tuple[str, ...]) -> bool:
    """Return whether an option is named like a secret, or the list that it is in."""
    words = [part for part in name if not part.isdigit()]
    return bool(words) and is_secret_name(words[-1])


def _without_interpolations(text: str) -> str:
    """Return a text with defaults in place of `${oc.env:KEY,default}`, and nothing for others."""
    previous = None
    while previous != text:
        previous = text
        text = _INTERPOLATION.sub(lambda match: match["what"].partition(",")[2].strip(" '\""), text)
    return text


def _environment_secrets() -> Iterator[str]:
    for name, value in os.environ.items():
        shortest = _shortest_secret(name)
        if not shortest:
            continue
        for line in value.splitlines():
            if len(line.strip()) >= shortest:
                yield line.strip()


@lru_cache(maxsize=1024)
def _shortest_secret(variable: str) -> int:
    """Return how long a variable's value must be to count as a secret; 0: it never does."""
    if variable in _NO_SECRET_VARIABLES:
        return 0
    if is_secret_name(variable):
        return SHORTEST
    words = _words(variable)
    return SHORTEST_OF_KEYS if words and words[-1] in _KEY_WORDS else 0
