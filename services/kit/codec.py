"""Encrypts Temporal payloads and failures; every payload names its key, so that keys can be rotated.

Where keys are configured nothing that arrives in clear is believed. What Temporal and its SDK themselves write
in clear never comes this way: the markers of local activities (their results are encrypted), search
attributes, headers, the reasons of terminations and the server's own failures. Memos are encrypted.
"""

import base64
import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import orjson
from cryptography.exceptions import InvalidTag
from temporalio.api.common.v1 import Payload
from temporalio.contrib.pydantic import PydanticPayloadConverter
from temporalio.converter import (
    CompositePayloadConverter,
    DataConverter,
    DefaultFailureConverterWithEncodedAttributes,
    EncodingPayloadConverter,
    PayloadCodec,
)

from services.kit import crypto
from services.kit.secret_files import read_secret
from services.kit.settings import SettingsError

ENCODING = b"binary/encrypted"
REFUSED = "dutyloop/refused"
"""Encoding of what came in clear, put in its place; it converts to nothing but an error."""


class CodecError(Exception):
    """A payload cannot be opened: its key is missing, it was changed, or it came in clear."""


@dataclasses.dataclass(frozen=True, slots=True)
class CodecKeys:
    """The keys by id, and the one that encrypts new payloads."""

    current: str
    keys: Mapping[str, bytes]

    @classmethod
    def load(cls, path: Path) -> "CodecKeys":
        """Read ``{"current": id, "keys": {id: base64 of 32 bytes}}``. Raises SettingsError."""
        try:
            raw = orjson.loads(read_secret(path))
            return cls(raw["current"], {key: base64.b64decode(value) for key, value in raw["keys"].items()})
        except (ValueError, KeyError, TypeError, AttributeError):
            raise SettingsError("not_codec_keys", path=path) from None


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
        """Open each encrypted payload with the key it names; put a refusal in the place of one in clear.

        Raises CodecError, which stops a case until its key is there again. A payload in clear must not be able
        to stop one: its refusal is an error where the value is asked for, so that an update is rejected, a
        signal dropped, a query answered with an error, and the case goes on.
        """
        return [self._open(payload) if is_encrypted(payload) else _refusal() for payload in payloads]

    def _open(self, payload: Payload) -> Payload:
        key_id = payload.metadata["key-id"]
        key = self._keys.keys.get(key_id.decode())
        if key is None:
            raise CodecError(f"codec key {key_id.decode()!r} is missing")
        try:
            return Payload.FromString(crypto.decrypt(key, payload.data, key_id))
        except (InvalidTag, ValueError):
            raise CodecError("a payload was changed after it was encrypted") from None


def is_encrypted(payload: Payload) -> bool:
    """Tell what the codec wrote from what came in clear."""
    return payload.metadata.get("encoding") == ENCODING


def _refusal() -> Payload:
    return Payload(metadata={"encoding": REFUSED.encode()})


class _RefusalConverter(EncodingPayloadConverter):
    """Fails on what the codec refused."""

    @property
    def encoding(self) -> str:
        """Return the encoding of refused payloads."""
        return REFUSED

    def to_payload(self, value: Any) -> Payload | None:
        """Leave every value to the other converters."""
        return None

    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        """Raise CodecError."""
        raise CodecError("a payload came in clear where payloads are encrypted")


_CONVERTERS = (*PydanticPayloadConverter().converters.values(), _RefusalConverter())


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
