"""Encrypts Temporal payloads and failures; every payload names its key, so that keys can be rotated."""

import base64
import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path

import orjson
from cryptography.exceptions import InvalidTag
from temporalio.api.common.v1 import Payload
from temporalio.contrib.pydantic import PydanticPayloadConverter
from temporalio.converter import (
    CompositePayloadConverter,
    DataConverter,
    DefaultFailureConverterWithEncodedAttributes,
    PayloadCodec,
)

from services.kit import crypto
from services.kit.secret_files import read_secret

ENCODING = b"binary/encrypted"


class CodecError(Exception):
    """A payload cannot be opened: its key is missing, or it was changed."""


@dataclasses.dataclass(frozen=True, slots=True)
class CodecKeys:
    """The keys by id, and the one that encrypts new payloads."""

    current: str
    keys: Mapping[str, bytes]

    @classmethod
    def load(cls, path: Path) -> "CodecKeys":
        """Read ``{"current": id, "keys": {id: base64 of 32 bytes}}``."""
        raw = orjson.loads(read_secret(path))
        return cls(raw["current"], {key: base64.b64decode(value) for key, value in raw["keys"].items()})


class EncryptionCodec(PayloadCodec):
    """AES-256-GCM over the serialised payload; the key id is authenticated with it."""

    def __init__(self, keys: CodecKeys) -> None:
        self._keys = keys

    async def encode(self, payloads: Iterable[Payload]) -> list[Payload]:
        """Encrypt each payload under the current key."""
        current = self._keys.current.encode()
        key = self._keys.keys[self._keys.current]
        return [
            Payload(
                metadata={"encoding": ENCODING, "key-id": current, "cipher": crypto.CIPHER.encode()},
                data=crypto.encrypt(key, payload.SerializeToString(), current),
            )
            for payload in payloads
        ]

    async def decode(self, payloads: Iterable[Payload]) -> list[Payload]:
        """Open each encrypted payload with the key it names. Raises CodecError."""
        return [self._open(payload) for payload in payloads]

    def _open(self, payload: Payload) -> Payload:
        if payload.metadata.get("encoding") != ENCODING:
            return payload
        key_id = payload.metadata["key-id"]
        key = self._keys.keys.get(key_id.decode())
        if key is None:
            raise CodecError(f"codec key {key_id.decode()!r} is missing")
        try:
            return Payload.FromString(crypto.decrypt(key, payload.data, key_id))
        except (InvalidTag, ValueError):
            raise CodecError("a payload was changed after it was encrypted") from None


_CONVERTERS = tuple(PydanticPayloadConverter().converters.values())


class SharedPydanticConverter(CompositePayloadConverter):
    """Pydantic JSON whose type adapters all workflows share.

    Temporal makes a converter for each workflow instance; the stock one would build its adapters anew every
    time, about 100 KiB and a millisecond of them per open case.
    """

    def __init__(self) -> None:
        super().__init__(*_CONVERTERS)


_PLAIN = DataConverter(payload_converter_class=SharedPydanticConverter)


def data_converter(keys: CodecKeys | None) -> DataConverter:
    """Return the one converter of the house: pydantic JSON inside the encryption codec."""
    if keys is None:
        return _PLAIN
    return dataclasses.replace(
        _PLAIN,
        payload_codec=EncryptionCodec(keys),
        failure_converter_class=DefaultFailureConverterWithEncodedAttributes,
    )
