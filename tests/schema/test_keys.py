import pytest

from glidepost.schema.errors import ConfigError
from glidepost.schema.keys import PublicKey, SigningKey


def test_a_key_file_is_private_and_read_back(tmp_path):
    key = SigningKey.generate()
    key.save(tmp_path / "new" / "pool.key")
    assert (tmp_path / "new" / "pool.key").stat().st_mode & 0o777 == 0o600
    assert SigningKey.load(tmp_path / "new" / "pool.key") == key


def test_a_key_is_never_overwritten(tmp_path):
    SigningKey.generate().save(tmp_path / "pool.key")
    before = (tmp_path / "pool.key").read_bytes()
    with pytest.raises(ConfigError, match="exists"):
        SigningKey.generate().save(tmp_path / "pool.key")
    assert (tmp_path / "pool.key").read_bytes() == before


def test_a_key_that_others_can_read_is_refused(tmp_path):
    SigningKey.generate().save(tmp_path / "pool.key")
    (tmp_path / "pool.key").chmod(0o640)
    with pytest.raises(ConfigError, match="read by others") as caught:
        SigningKey.load(tmp_path / "pool.key")
    assert caught.value.hint == f"chmod 600 {tmp_path / 'pool.key'}"


@pytest.mark.parametrize(
    "text", ["", "ed25519-secret:", "ed25519-secret:AAAA", "ed25519-secret:%%%", "ssh-ed25519 AAAA"]
)
def test_a_file_that_holds_no_key_is_refused(tmp_path, text):
    (tmp_path / "k").write_text(text)
    (tmp_path / "k").chmod(0o600)
    with pytest.raises(ConfigError, match="the key in"):
        SigningKey.load(tmp_path / "k")


def test_a_public_key_survives_being_written_and_read(pool_key):
    assert PublicKey.parse(str(pool_key.public)) == pool_key.public


def test_a_key_never_shows_its_seed(pool_key):
    assert str(list(pool_key.seed)) not in repr(pool_key)
    assert "\\x01\\x02" not in repr(pool_key)
