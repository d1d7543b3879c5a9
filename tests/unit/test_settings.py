"""Where a process gets its settings and secrets from, and what it refuses to start with."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from services.kit.codec import CodecKeys
from services.kit.crypto import load_signing_key
from services.kit.db import role_password
from services.kit.secret_files import read_secret
from services.kit.settings import Settings, SettingsError, adopt, settings, settings_of
from services.kit.tokens import load_trusted_keys


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """No DUTYLOOP_* variable but the test's own."""
    for name in [each for each in os.environ if each.startswith("DUTYLOOP_")]:
        monkeypatch.delenv(name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "environ", os.environ.copy())
        settings.cache_clear()
        yield patch
    settings.cache_clear()


def secret(path: Path, text: str, mode: int = 0o600) -> Path:
    """Write a secret file."""
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o602, 0o601, 0o666])
def test_a_secret_open_to_all_is_refused_by_name(tmp_path: Path, mode: int) -> None:
    """Any user of the machine could read a password, and nobody would notice."""
    file = secret(tmp_path / "hazard", "word", mode)
    with pytest.raises(SettingsError, match=rf"^{file} holds a secret but is open to every user: chmod o= {file}$"):
        read_secret(file)


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o440, 0o640])
def test_secrets_mounted_by_systemd_and_kubernetes_are_read(tmp_path: Path, mode: int) -> None:
    """Kubernetes mounts a link to a file that the pod's group may read: a stricter check would refuse it."""
    (tmp_path / "..data").mkdir()
    secret(tmp_path / "..data" / "hazard", "word\n", mode)
    (tmp_path / "hazard").symlink_to("..data/hazard")
    assert role_password(Settings(database_secrets=tmp_path), "hazard") == "word"


def test_a_service_reads_no_password_but_its_own(tmp_path: Path) -> None:
    """Each process would have to be given every password of the database."""
    secret(tmp_path / "hazard", "word")
    secret(tmp_path / "directory", "other", 0o644)
    given = Settings(database_secrets=tmp_path)
    assert role_password(given, "hazard") == "word"
    missing = tmp_path / "audit"
    with pytest.raises(SettingsError, match=rf"^{missing} cannot be read: No such file or directory$"):
        role_password(given, "audit")
    with pytest.raises(SettingsError, match=r"^DUTYLOOP_DATABASE_SECRETS is not set$"):
        role_password(Settings(), "hazard")


def test_what_a_running_stack_says_gives_way_to_the_environment(environment: pytest.MonkeyPatch) -> None:
    """A person's own token or address would be lost to that of a stack that happens to run here."""
    environment.setitem(os.environ, "DUTYLOOP_API_ADDRESS", "mine:1")
    adopt({"DUTYLOOP_API_ADDRESS": "stack:2", "DUTYLOOP_TEMPORAL_ADDRESS": "stack:3"})
    assert (settings().api_address, settings().temporal_address) == ("mine:1", "stack:3")
    adopt({"DUTYLOOP_API_ADDRESS": "chosen:4"}, over=True)
    assert settings().api_address == "chosen:4"
    assert settings_of({"DUTYLOOP_API_ADDRESS": "given:5"}).api_address == "given:5"


def test_an_empty_variable_is_one_that_is_not_set(environment: pytest.MonkeyPatch) -> None:
    """A template that leaves a variable empty would make the current directory the data directory."""
    environment.setitem(os.environ, "DUTYLOOP_DATA_DIR", "")
    environment.setitem(os.environ, "DUTYLOOP_TOKEN", "")
    assert (settings().data_dir, settings().token) == (Path("build/stack"), None)


def test_a_malformed_variable_is_named(environment: pytest.MonkeyPatch) -> None:
    """The operator would get a page of validation errors, or a default in its place."""
    environment.setitem(os.environ, "DUTYLOOP_POOL_SIZE", "many")
    with pytest.raises(SettingsError, match=r"^DUTYLOOP_POOL_SIZE: "):
        settings()


def test_a_token_is_not_printed(environment: pytest.MonkeyPatch) -> None:
    """Settings in a log or an error would hand out a person's access."""
    environment.setitem(os.environ, "DUTYLOOP_TOKEN", "eyJhbGciOi")
    assert "eyJhbGciOi" not in repr(settings())


@pytest.mark.parametrize(
    ("read", "code"),
    [(load_signing_key, "not_a_private_key"), (CodecKeys.load, "not_codec_keys"), (load_trusted_keys, "not_a_key_set")],
)
@pytest.mark.parametrize(
    "content", ["", "{}", "[]", "null", '{"keys": [1], "current": 1}', "-----BEGIN PRIVATE KEY-----"]
)
def test_a_file_that_holds_no_keys_is_told(
    read: Callable[[Path], object], code: str, content: str, tmp_path: Path
) -> None:
    """Whoever mounts the wrong file would read a traceback of a library for keys."""
    file = tmp_path / "keys"
    file.write_text(content)
    file.chmod(0o600)
    with pytest.raises(SettingsError) as told:
        read(file)
    assert told.value.code == code
    assert str(file) in told.value.worded("zh-CN")


def test_a_key_of_another_kind_is_told(tmp_path: Path) -> None:
    """A key for another algorithm would be told as a fault of the program."""
    file = tmp_path / "other.key"
    pem = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(ec.generate_private_key(ec.SECP256R1()).private_bytes(*pem))
    file.chmod(0o600)
    with pytest.raises(SettingsError, match=r"is not an Ed25519 key$"):
        load_signing_key(file)
