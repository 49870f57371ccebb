"""Connections to servers: how they are opened, and how the bytes of an answer are read."""

import math
import os
import re
import ssl
import zlib
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from stages.generators.servers.answers import Unreadable

MOST_BYTES = 4 * 2**20  # of an answer
MOST_HEADER_BYTES = 2**16  # of one header; some gateways send long ones
LONGEST_REQUESTED_PAUSE = 300.0  # seconds
OPENING_SECONDS = 30.0
IDLE_SECONDS = 4.0
"""An idle connection is closed after this; vLLM's servers close theirs after 5."""
DNS_SECONDS = 60


class Http:
    """A client's connections to its endpoints.

    Nothing limits their number, which `Pool` does, and none is tied to another: the cost of a call
    is the same with any number in flight. Redirects are not followed, so a key goes nowhere else;
    there are no cookies. Proxies and certificates are those of the environment.

    Args:
        key: sent as a bearer token if not empty.
        timeout: seconds of a call, which the caller limits; to connect takes `OPENING_SECONDS` at
            most.
        addresses: of the endpoints.
        direct: use no proxy.

    Raises:
        ValueError, OSError: the environment names a proxy or certificates that cannot be used.
    """

    def __init__(self, key: str, timeout: float, addresses: Sequence[str], direct: bool = False):
        import aiohttp

        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._proxies = {name: None if direct else proxy_of(name) for name in addresses}
        connector = aiohttp.TCPConnector(
            limit=0,
            ssl=trusted_certificates(),
            keepalive_timeout=IDLE_SECONDS,
            ttl_dns_cache=DNS_SECONDS,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            # Compressed bodies can be a thousand times as large as what is sent.
            headers=headers | {"Accept-Encoding": "identity"},
            timeout=aiohttp.ClientTimeout(None, sock_connect=min(OPENING_SECONDS, timeout)),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            max_line_size=MOST_HEADER_BYTES,
            max_field_size=MOST_HEADER_BYTES,
        )

    def get(self, address: str, path: str) -> AbstractAsyncContextManager[Any]:
        """Get a path of an endpoint; the response as a context manager."""
        url = url_of(address, path)
        proxy = self._proxies[address]
        return self._session.get(url, allow_redirects=False, proxy=proxy)

    def post(self, address: str, path: str, body: bytes) -> AbstractAsyncContextManager[Any]:
        """Send JSON to a path of an endpoint; the response as a context manager."""
        return self._session.post(
            url_of(address, path),
            data=body,
            headers={"Content-Type": "application/json"},
            allow_redirects=False,
            proxy=self._proxies[address],
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()


def proxy_of(address: str) -> str | None:
    """Return the proxy that the environment names for an address, or None.

    Raises:
        ValueError: it is none that speaks HTTP.
    """
    parts = urlsplit(address)
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or proxy_bypass(parts.netloc):
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    if not re.match("https?://[^/]", proxy):
        raise ValueError(f"{proxy.partition(':')[0]!r} is not the scheme of an HTTP proxy")
    return proxy


def trusted_certificates() -> ssl.SSLContext:
    """Return those that the environment names, else certifi's.

    Raises:
        OSError: they cannot be read.
    """
    import certifi

    file = os.environ.get("SSL_CERT_FILE")
    folder = os.environ.get("SSL_CERT_DIR")
    if folder and not file:
        return ssl.create_default_context(capath=folder)
    return ssl.create_default_context(cafile=file or certifi.where())


async def read_body(response: Any) -> bytes:
    """Return the bytes of a response; of an error's, those that can be had.

    Raises:
        Unreadable: the body ends early, is too large, or is not what its headers say.
    """
    import aiohttp

    raw = bytearray()
    try:
        async for chunk in response.content.iter_any():
            raw += chunk
            refuse_large(raw)
        return inflate(bytes(raw), response.headers.get("Content-Encoding", ""))
    except (aiohttp.ClientPayloadError, Unreadable) as error:
        if "ConnectionResetError" in str(error):  # the server's trouble, not the answer's
            raise
        if is_success(response):
            name = "" if isinstance(error, Unreadable) else f"{type(error).__name__}: "
            raise Unreadable(f"{name}{error}") from error
    return bytes(raw[:MOST_BYTES])


def is_success(response: Any) -> bool:
    """Whether its status is one of 200 to 299."""
    return bool(200 <= response.status < 300)


def inflate(raw: bytes, encoding: str) -> bytes:
    """Return what a compressed body holds, as far as that is not too large.

    Raises:
        Unreadable: it is too large, or compressed in another way than was allowed.
    """
    if encoding.strip().lower() in ("", "identity"):
        return raw
    if encoding.strip().lower() not in ("gzip", "x-gzip", "deflate"):
        raise Unreadable(f"a body in the encoding {encoding[:40]!r}, which was not allowed")
    try:
        content = zlib.decompressobj(wbits=47).decompress(raw, MOST_BYTES + 1)
    except zlib.error as error:
        raise Unreadable(f"a body that is no {encoding.strip()}: {error}") from None
    refuse_large(content)
    return content


def refuse_large(content: bytes | bytearray) -> None:
    """Refuse a body of too many bytes."""
    if len(content) > MOST_BYTES:
        raise Unreadable(f"a body of more than {MOST_BYTES // 2**20} MiB")


def url_of(address: str, path: str) -> str:
    """Return the address of a path; `../` leaves the endpoint's `/v1`."""
    if path.startswith("../"):
        return address.removesuffix("/v1") + path[2:]
    return f"{address}/{path}"


def retry_after(response: Any) -> float:
    """Return the seconds of a Retry-After header; 0 without one, or for a date or nonsense."""
    try:
        seconds = float(response.headers.get("Retry-After", 0))
    except ValueError:
        return 0.0
    return min(seconds, LONGEST_REQUESTED_PAUSE) if 0 < seconds < math.inf else 0.0
