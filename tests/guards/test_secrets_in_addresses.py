"""A key inside an address of the environment is a secret as well: a server may repeat it."""

import json
import urllib.parse

import pytest

from stages.guards import secrets


@pytest.mark.parametrize(
    "address",
    ["http://user:{}@h/v1", "http://{}@h/v1", "http://h/v1?api_key={}", "http://h/v1#token={}"],
)
@pytest.mark.parametrize("key", ["Zx81aaPq0", "a%2Fb%3Dc%20dd9"])
def test_a_key_in_an_address_is_masked_wherever_it_stands(monkeypatch, address, key):
    monkeypatch.setattr(secrets, "_used", {})
    config = {"endpoints": ["${oc.env:WHERE}"]}
    secrets.remember_secrets(config, {"endpoints": [address.format(key)]})
    words = f"the key {key} is good, {secrets.unquote(key)} too"
    assert secrets.mask_known(words) == "the key *** is good, *** too"


@pytest.mark.parametrize("key", ["abc\"\\d'e%f>x y", "päßЖ漢-0", "a\\\\b\\u1"])
def test_a_key_that_is_quoted_several_times_is_masked(monkeypatch, key):
    monkeypatch.setattr(secrets, "_used", {key: None})
    for quote in (json.dumps, urllib.parse.quote, repr, ascii):
        for again in (json.dumps, urllib.parse.quote, repr):
            shown = secrets.mask_known(f"the key {again(quote(key))} is")
            assert "***" in shown and len(shown) < 30, shown
