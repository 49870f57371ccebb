"""The options of the server generator."""

import os
import re
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import AfterValidator, Field, HttpUrl, NonNegativeInt, PositiveInt

from stages.generators.chat import ChatOptions
from stages.guards.errors import UserError
from stages.guards.secrets import remember_secret


def complete_address(text: str) -> str:
    """Return an address as written, without a trailing slash, with `/v1` if it has no path.

    Raises:
        UserError: it is not an HTTP address, or it holds a user name or a key.
    """
    if "@" in text:  # do not print the text: it may hold a secret
        raise UserError(
            "an address holds a user name or a key before its '@'",
            where="generator.options.endpoints",
            fix="write http://host:8000/v1, and name the variable that holds the key in "
            "generator.options.api_key_env",
        )
    match = re.fullmatch(r"(https?://[^/\s]+)(/\S*?)?/*", text)
    try:
        url = HttpUrl(text)
    except ValueError:
        url = None
    if not match or not url or url.port == 0:
        raise UserError(
            f"{text!r} is not an address",
            where="generator.options.endpoints",
            fix="write http://host:8000/v1",
        )
    return match[1] + (match[2] or "/v1")


def read_key(variable: str) -> str:
    """Return the key in an environment variable, without spaces around it; "" for no variable.

    Raises:
        UserError: it is empty, or cannot stand in a header; the message does not show it.
    """
    if not variable:
        return ""
    key = os.environ.get(variable, "").strip()
    if key and key.isascii() and key.isprintable():
        remember_secret(key)
        return key
    fault = "holds letters that no key has" if key else "is empty"
    raise UserError(
        f"the environment variable {variable} {fault}",
        where="generator.options.api_key_env",
        fix=f"export {variable}=... before you start",
    )


@dataclass(frozen=True)
class Local:
    """A generator of this process."""

    name: str = "vllm"
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Options(ChatOptions):
    """Where to send what."""

    endpoints: list[Annotated[str, AfterValidator(complete_address)]] = field(default_factory=list)
    """Base addresses such as http://node1:8000/v1, all serving the same model."""
    serves: str = ""
    """The path of the model that the endpoints serve.

    Any other model, such as a policy that the run has trained, is sampled by `local`. If empty,
    every model is sampled by the endpoints.
    """
    model: str = ""
    """The name the servers use for it; empty: the model's path, as `vllm serve <path>` does."""
    local: Local = Local()
    """The generator, `{name, options}`, for the models that the servers do not hold."""
    api_key_env: str = ""
    """Name of the environment variable that holds the key; empty sends none."""
    timeout: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 600.0
    """Seconds an answer may take, from the request to its last byte."""
    max_retries: NonNegativeInt = 5
    """Further attempts for a request that a server fails on.

    Also the failures in a row after which an endpoint is asked a short question: it is dead if it
    does not answer that either.
    """
    concurrency: PositiveInt = 64
    """Requests in flight at each endpoint."""
    backoff: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.5
    """Seconds before a failed endpoint is tried again.

    Doubled with each failure in a row, up to 30 seconds.
    """
    direct: bool = False
    """Connect without the proxies that the environment names."""
    extensions: bool = True
    """The servers are vLLM's and accept its further fields."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Further fields for every request."""
