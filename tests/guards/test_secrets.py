"""Which names and values are secret, and that no spelling of one passes a mask."""

import json
import os
import string
import time
import urllib.parse
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stages.guards import secrets
from stages.guards.console import as_shown
from stages.guards.secrets import (
    _WORDS_ONLY,
    MASK,
    find_secrets,
    is_secret_name,
    mask,
    mask_identity,
    mask_known,
    mask_values,
    remember_secrets,
    restore_secrets,
    separate_secrets,
)

SECRET = (
    "apiKey X-Api-Key x-goog-api-key api_keys WANDB_API_KEY AWS_SECRET_ACCESS_KEY token hubToken "
    "HUGGING_FACE_HUB_TOKEN SLACK_WEBHOOK SLACK_WEBHOOK_URL APIKEY openaiapikey OPENAI_API_KEY_2 "
    "client_secret hub_token Authorization MYSQL_PWD Ocp-Apim-Subscription-Key GITHUB_TOKEN cookie "
    "private_key Proxy-Authorization x-amz-security-token db.password SENTRY_DSN pushToHubToken"
)
PLAIN = (
    "pad_token max_tokens tokenizer key author authors api_key_env keys sort_key tokens path "
    "eos_token_id tokenize token_ids HF_TOKEN_PATH bypass monkey keyboard stop_token compass "
    "keys_per_row secretary token_budget 1 _ - reword opposite"
)


@pytest.mark.parametrize("name", SECRET.split())
def test_names_of_secrets(name):
    assert is_secret_name(name)


@pytest.mark.parametrize("name", PLAIN.split())
def test_names_of_other_things(name):
    assert not is_secret_name(name)


SPELLINGS = {
    "plain": str,
    "upper": str.upper,
    "JSON": lambda text: json.dumps(text)[1:-1],
    "JSON in JSON": lambda text: json.dumps(json.dumps(text))[3:-3],
    "JSON in letters": lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    "repr": lambda text: repr(text)[1:-1],
    "repr of bytes": lambda text: repr(text.encode(errors="surrogateescape"))[2:-1],
    "address": lambda text: urllib.parse.quote(os.fsencode(text), safe=""),
    "address with +": lambda text: urllib.parse.quote_plus(os.fsencode(text)),
    "words joined": lambda text: " ".join(text.split()),
}
LETTERS = st.characters(
    codec="utf-8", exclude_characters="\0", exclude_categories=["Cs", "Lu", "Lt"]
)
KEYS = st.text(LETTERS, min_size=6, max_size=40) | st.text(string.printable, min_size=6)


@pytest.mark.parametrize("spelling", SPELLINGS)
@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(key=KEYS, name=st.sampled_from(["HF_TOKEN", "OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY"]))
def test_no_spelling_of_a_key_passes(spelling, key, name):
    lines = [line.strip() for line in key.splitlines() if len(line.strip()) >= 6]
    if spelling == "upper":  # of letters with another length in upper case, none is a key
        lines = [line for line in lines if line.isascii()]
    with mock.patch.dict(os.environ, {name: key}):
        for line in lines:
            spelt = SPELLINGS[spelling](line)
            hides = (mask,) if _WORDS_ONLY.fullmatch(line) else (mask, mask_known)
            for hide in hides:
                assert spelt not in hide(f"the server said: <{spelt}>."), line
            assert MASK in as_shown(f"the server said: <{spelt}>.")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://user:password@h/v1", "http://***@h/v1"),
        ("http://user%3Apw@h/", "http://***@h/"),
        ("HTTPS://u:p/a@ss@h/v1", "HTTPS://***@h/v1"),
        ("postgresql://ada:pw@h/calls", "postgresql://***@h/calls"),
        ("postgresql://ada:p@w@h/calls", "postgresql://***@h/calls"),
        ("postgresql://p%40w:x/y@h/calls", "postgresql://***@h/calls"),
        (
            "postgresql://h/calls?user=ada&password=abc",
            "postgresql://h/calls?user=ada&password=***",
        ),
        ("http://ada@h/v1", "http://***@h/v1"),
        ("http://h/v1?api_key=abc&n=1", "http://h/v1?api_key=***&n=1"),
        ("http://h/v1?n=1&sig=abc", "http://h/v1?n=1&sig=***"),
        ("Authorization: Bearer abc", "Authorization: Bearer ***"),
        ("{'api_key': 'abc', 'n': 3}", "{'api_key': '***', 'n': 3}"),
        ('{\\"apiKey\\": \\"abc\\"}', '{\\"apiKey\\": \\"***\\"}'),
        ("+x.args.hub_token=abc", "+x.args.hub_token=***"),
        ("key sk-proj-1234567890abcdef", "key ***"),
        ("hf_1234567890abcdefGH", "***"),
        ("https://hooks.slack.com/services/T0/B0/x1", "https://hooks.slack.com/services/***"),
    ],
)
def test_what_is_spelt_like_a_secret(text, shown):
    assert mask(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "basic questions about authors, cookies and passwords",
        "Basic knowledge-of-everything-in-this-world",
        "the token: a word; max_tokens=300, pad_token=<pad>",
        "postgresql://ada@h:5432/calls and postgresql://ada.b-c@h",
        "https://github.com/a/b@v1 and http://h:8000/model@revision",
        "hf:owner/name@main, sk-learn-compatible-models, task-sk-1",
        "option 'generator.options.api_key_env': Input should be a string",
        "write ${oc.env:NAME} here",
        "",
    ],
)
def test_ordinary_text_stays(text, monkeypatch):
    monkeypatch.setenv("SORT_KEY", "models")  # too short for a key of an unknown kind
    monkeypatch.setenv("PWD", os.getcwd())
    assert mask(text) == text
    assert mask(os.getcwd()) == os.getcwd()


@pytest.mark.parametrize(
    "part", ["a", "\\", "://", "sk-", "=a", "'a':'", "?key", " ", "eyJ", "://a:"]
)
def test_no_text_takes_long(part, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "aab aab")
    started = time.process_time()
    mask(part * (100_000 // len(part)))
    assert time.process_time() - started < 2


PLANTED = {
    "extra": {"api_key": "x"},
    "args": {"hub_token": "y"},
    "endpoints": ["http://user:pw@h/v1", "http://h/v1?token=z"],
    "headers": {"Authorization": "Bearer q", "X-Api-Keys": ["a"]},
    "default": {"token": "${oc.env:KEY,plainly}"},
    "number": {"password": 12345678},
}


def test_secrets_in_plain_are_named_not_shown():
    names = list(find_secrets(PLANTED))
    assert names == [
        "extra.api_key",
        "args.hub_token",
        "endpoints.0",
        "endpoints.1",
        "headers.Authorization",
        "headers.X-Api-Keys.0",
        "default.token",
        "number.password",
    ]


@pytest.mark.parametrize(
    "config",
    [
        {"api_key": "${oc.env:KEY}"},
        {"headers": {"Authorization": "Bearer ${oc.env:KEY}"}},
        {"endpoints": ["http://${oc.env:USER}:${oc.env:PASSWORD}@h/v1?key=${oc.env:KEY}"]},
        {"token": "${oc.env:KEY,EMPTY}", "password": "${oc.env:KEY, null}"},
        {"hub_token": None, "token": True, "api_key": ""},
        {"eos_token": "</s>", "token": "<|end|>", "tokens": "abc"},
        {"weights": {"no-passwords": 0.5, "secrets": 2}},
        {"api_key": "${oc.decode:${oc.env:KEY}}"},
    ],
)
def test_what_only_names_a_secret_is_none(config):
    assert list(find_secrets(config)) == []


@pytest.fixture
def no_secret_used(monkeypatch):
    monkeypatch.setattr(secrets, "_used", {})


def test_identity_does_not_depend_on_a_key(monkeypatch, no_secret_used):
    config = {"extra": {"note": "key ${oc.env:MINE}", "api_key": "${oc.env:MINE}"}, "n": 1}
    identities = []
    for key in ("first-key", "second-key"):
        monkeypatch.setenv("MINE", key)
        resolved = {"extra": {"note": f"key {key}", "api_key": key}, "n": 1}
        remember_secrets(config, resolved)
        identities.append(mask_identity(resolved))
        assert key not in mask(f"{key} was refused")
    assert identities[0] == identities[1]
    monkeypatch.setenv("OTHER_PASSWORD", "harmless")
    assert mask_identity({"text": "harmless"}) == {"text": "harmless"}, "nor on the rest"


PLAIN_DATA = st.recursive(
    st.none() | st.integers() | st.text(max_size=8) | st.sampled_from(["http://u:p@h", "sk"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["api_key", "a", "token", "b"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=50)
@given(PLAIN_DATA)
def test_a_job_is_written_without_secrets_and_read_with_them(job):
    written, removed = separate_secrets(job)
    assert restore_secrets(json.loads(json.dumps(written)), removed) == job
    assert mask_values(written) == mask_values(job) or removed
    for secret in removed:
        if len(secret) > 4:
            assert secret not in json.dumps(written)


@pytest.mark.parametrize(
    "address",
    ["http://user:{}@h/v1", "http://{}@h/v1", "http://h/v1?api_key={}", "http://h/v1#token={}"],
)
@pytest.mark.parametrize("key", ["Zx81aaPq0", "a%2Fb%3Dc%20dd9"])
def test_a_key_in_an_address_is_masked_wherever_it_stands(monkeypatch, address, key):
    """A server may repeat it."""
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


@pytest.mark.parametrize("word", ["helpful", "harm-1", "stages", "no insults", "parquet1234"])
@pytest.mark.parametrize("variable", ["DB_PASSWORD", "USER_TOKEN", "SESSION_SECRET"])
def test_a_password_that_is_a_word_changes_no_data(word, variable, monkeypatch):
    monkeypatch.setenv(variable, word)
    data = {"answer": f"It says {word}.", word: [{f"option-{word}": word}]}
    assert mask_values(data) == data
    assert mask_known(data["answer"]) == data["answer"]
    assert not list(find_secrets(data))
    assert word not in mask(data["answer"])


@given(st.from_regex(r"[a-zA-Z]{20,40}|[a-z]{2,6}[0-9]{5,30}[a-z]+", fullmatch=True))
def test_a_key_of_the_environment_is_masked_in_data(key):
    with mock.patch.dict(os.environ, {"HF_TOKEN": key}):
        assert mask_values({"answer": f"It says {key}."}) == {"answer": f"It says {MASK}."}
