"""Encryption of Temporal payloads: rotation, missing keys, tampering."""

import base64
from pathlib import Path

import orjson
import pytest
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.exceptions import ApplicationError

from infra.embedded.process import write_private
from services.kit.codec import CodecError, CodecKeys, EncryptionCodec, data_converter

OLD, NEW = bytes(range(32)), bytes(range(32, 64))
SECRET = "reporter is people/12"


def codec(current: str, **keys: bytes) -> EncryptionCodec:
    """Return a codec with these keys."""
    return EncryptionCodec(CodecKeys(current, keys))


async def sealed(by: EncryptionCodec) -> Payload:
    """Return the secret, encrypted."""
    (payload,) = await by.encode([Payload(metadata={"encoding": b"json/plain"}, data=SECRET.encode())])
    return payload


async def test_only_ciphertext_leaves_the_process() -> None:
    """Whoever reads Temporal's database or UI would read what was reported, and by whom."""
    payload = await sealed(codec("a", a=OLD))
    assert SECRET.encode() not in payload.SerializeToString()
    assert b"json/plain" not in payload.SerializeToString()
    (opened,) = await codec("a", a=OLD).decode([payload])
    assert SECRET.encode() == opened.data


async def test_the_same_payload_never_looks_the_same() -> None:
    """Equal payloads could be told by their ciphertext; a repeated nonce would break the cipher."""
    by = codec("a", a=OLD)
    assert len({(await sealed(by)).data for _ in range(50)}) == 50


async def test_a_rotated_key_still_opens_what_it_sealed() -> None:
    """After the first rotation every running case would be stuck for good."""
    before = await sealed(codec("a", a=OLD))
    rotated = codec("b", a=OLD, b=NEW)
    (opened,) = await rotated.decode([before])
    assert SECRET.encode() == opened.data
    assert (await sealed(rotated)).metadata["key-id"] == b"b"


async def test_a_missing_key_is_named() -> None:
    """An operator who forgot to deploy a key would search in the dark."""
    with pytest.raises(CodecError, match="codec key 'a' is missing"):
        await codec("b", b=NEW).decode([await sealed(codec("a", a=OLD))])


async def test_a_changed_payload_is_refused() -> None:
    """Whoever writes to Temporal's database could change what a case believes."""
    by = codec("a", a=OLD, b=OLD)
    payload = await sealed(by)
    for changed in (
        Payload(metadata=payload.metadata, data=payload.data[:-1] + bytes([payload.data[-1] ^ 1])),
        Payload(metadata=payload.metadata, data=payload.data[:20]),
        Payload(metadata={**payload.metadata, "key-id": b"b"}, data=payload.data),
    ):
        with pytest.raises(CodecError, match="changed"):
            await by.decode([changed])


@pytest.mark.parametrize("data", [b"", b"short", bytes(12)])
async def test_a_payload_cut_to_nothing_is_refused(data: bytes) -> None:
    """A truncated payload would surface as another library's error, which the worker cannot name."""
    by = codec("a", a=OLD)
    payload = await sealed(by)
    with pytest.raises(CodecError):
        await by.decode([Payload(metadata=payload.metadata, data=data)])


@pytest.mark.parametrize(
    "payload",
    [
        Payload(metadata={"encoding": b"json/plain"}, data=b'"decided"'),
        Payload(metadata={"encoding": b"binary/null"}),
        Payload(metadata={"encoding": b"binary/plain", "key-id": b"a"}, data=b"decided"),
        Payload(data=b"decided"),
        Payload(),
    ],
)
async def test_a_payload_in_clear_is_refused_where_it_is_read(payload: Payload) -> None:
    """Whoever reaches Temporal could act in a case without the key; failing earlier would stop the case for good."""
    converter = data_converter(CodecKeys("a", {"a": OLD}))
    [sealed_one] = await converter.encode([SECRET])
    assert await converter.decode([sealed_one], [str]) == [SECRET]
    expected: tuple[list[type] | None, ...] = ([str], [dict], None)
    for hints in expected:
        with pytest.raises(CodecError, match="in clear"):
            await converter.decode([payload], hints)
    (opened,) = await codec("a", a=OLD).decode([payload])
    assert not opened.data


async def test_failures_are_encrypted_too() -> None:
    """The text of a failed activity would stand in the clear in every history."""
    converter = data_converter(CodecKeys("a", {"a": OLD}))
    failure = Failure()
    await converter.encode_failure(ApplicationError(SECRET, type="WRONG_STATE"), failure)
    assert SECRET.encode() not in failure.SerializeToString()
    assert SECRET in str(await converter.decode_failure(failure))


def test_keys_are_read_from_their_file(tmp_path: Path) -> None:
    """A process would encrypt under a key that no other process has."""
    file = tmp_path / "codec_keys.json"
    write_private(file, orjson.dumps({"current": "a", "keys": {"a": base64.b64encode(OLD).decode()}}))
    assert CodecKeys("a", {"a": OLD}) == CodecKeys.load(file)
