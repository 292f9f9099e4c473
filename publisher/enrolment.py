"""Enrolled sites: a readable TOML file, name to public key, that an admin may keep under version control."""

from __future__ import annotations

import re
from pathlib import Path

from nacl.exceptions import CryptoError

from glidepost.schema.errors import ConfigError
from glidepost.schema.files import write_atomic
from glidepost.schema.keys import PublicKey
from glidepost.schema.sealing import seal
from glidepost.schema.sites import load_sites


def enroll(line: str, path: Path) -> str:
    """Adds the site in a line such as ``glidepost-site north ed25519:...`` and returns its name.

    A site that is there already gets the new key.

    Raises:
        ConfigError: when the line is not one that a site's `glidepost keys` printed.
    """
    words = line.split()
    if len(words) != 3 or words[0] != "glidepost-site" or not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,31}", words[1]):
        raise ConfigError(
            f"not an enrolment line: {line[:100]!r}",
            hint="the site prints it: glidepost keys show SITE.key --site NAME",
        )
    known = {name: site.public_key for name, site in load_sites(path).items()}
    sites = {**known, words[1]: _key(words[2])}
    text = "# Sites of this pool, written by `glidepost publisher enroll`.\n"
    for name, key in sorted(sites.items()):
        text += f'\n[{name}]\npublic_key = "{key}"\n'
    write_atomic(path, text.encode())
    return words[1]


def _key(text: str) -> PublicKey:
    key = PublicKey.parse(text)
    try:
        seal(b"", key)
    except CryptoError as error:
        raise ConfigError(
            f"{text} is not a public key of a site, though it has the right length",
            hint="was a letter lost on the way? The site prints it: glidepost keys show SITE.key --site NAME",
        ) from error
    return key
