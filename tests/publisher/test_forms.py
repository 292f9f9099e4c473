from __future__ import annotations

import base64
import json
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from glidepost.publisher.store import S3Store
from glidepost.schema.errors import ConfigError
from glidepost.schema.publisher_config import StoreSettings


@pytest.fixture
def write_keys(tmp_path, monkeypatch):
    """Writes a credentials file of a name, and returns its path."""
    monkeypatch.delenv("AWS_PROFILE", raising=False)

    def write(name: str) -> Path:
        path = tmp_path / f"{name}.ini"
        path.touch(mode=0o600)
        path.write_text(f"[default]\naws_access_key_id = key-of-{name}\naws_secret_access_key = s3cret-of-{name}\n")
        return path

    return write


@pytest.fixture
def store(write_keys):
    """Returns a store at an address where nothing listens: forms are signed without asking it."""

    def make(**settings) -> S3Store:
        whole = {"bucket": "b", "public_url": "https://cdn.example.org", "endpoint": "http://127.0.0.1:1", **settings}
        return S3Store.from_settings(StoreSettings(**{"credentials": str(write_keys("publisher")), **whole}))

    return make


def test_forms_are_signed_by_their_own_key(store, write_keys):
    forms = store(forms_credentials=str(write_keys("forms"))).forms
    for form in (forms.heartbeat("north", life_s=60), forms.log("north", life_s=60)):
        assert form.fields["x-amz-credential"].startswith("key-of-forms/")


def test_without_one_the_publishers_key_signs_them(store):
    assert store().forms.heartbeat("north", life_s=60).fields["x-amz-credential"].startswith("key-of-publisher/")


@pytest.mark.parametrize("life_s", [1, 172800])
def test_an_address_to_put_to_fixes_key_type_and_life(store, write_keys, life_s):
    forms = store(uploads="put", prefix="p/", forms_credentials=str(write_keys("forms"))).forms
    form = forms.heartbeat("north", life_s=life_s)
    query = {name: values[0] for name, values in parse_qs(urlsplit(form.url).query).items()}
    assert urlsplit(form.url).path == "/b/p/v1/heartbeats/north.json"
    assert query["X-Amz-SignedHeaders"] == "content-type;host"
    assert query["X-Amz-Expires"] == str(life_s)
    assert query["X-Amz-Credential"].startswith("key-of-forms/")
    assert form.headers == {"Content-Type": "application/json"}
    assert "s3cret" not in form.url


def test_a_post_ends_when_it_says(store):
    policy = json.loads(base64.b64decode(store().forms.heartbeat("north", life_s=60).fields["policy"]))
    assert policy["expiration"].endswith("Z")


def test_where_a_form_leads_can_be_said_without_its_signature(store):
    put = store(uploads="put").forms.heartbeat("north", life_s=60)
    assert put.place == "http://127.0.0.1:1/b/v1/heartbeats/north.json"
    assert "X-Amz" in put.url


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda path: path.unlink(), "is missing"),
        (lambda path: path.chmod(0o640), "can be read by others"),
        (lambda path: path.write_text("[other]\nx = y\n"), "has no keys of profile default"),
    ],
)
def test_what_is_wrong_with_the_forms_credentials_is_said_by_their_name(store, write_keys, damage, says):
    path = write_keys("forms")
    damage(path)
    made = store(forms_credentials=str(path))  # who only reads the store need not have them
    with pytest.raises(ConfigError, match=rf"\[store\] forms_credentials: .*{says}"):
        made.forms.heartbeat("north", life_s=60)


def test_settings_that_forms_depend_on_change_their_digest(store, write_keys):
    digests = {
        store().forms.digest(),
        store().forms.digest("token settings"),
        store(forms_credentials=str(write_keys("forms"))).forms.digest(),
        store(uploads="put").forms.digest(),
        store(logs=False).forms.digest(),
    }
    assert len(digests) == 5
    assert store().forms.digest() in digests
