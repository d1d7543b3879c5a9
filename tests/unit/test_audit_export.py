"""What leaves the house as a history is readable without its keys."""

import orjson
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client
from temporalio.converter import DataConverter
from temporalio.exceptions import ApplicationError

from services.audit.histories import Histories
from services.kit.codec import CodecKeys, data_converter

KEYS = CodecKeys("k1", {"k1": bytes(32)})


class OfConverter(Client):
    """A client that has nothing but a data converter."""

    def __init__(self, converter: DataConverter) -> None:
        self._converter = converter

    @property
    def data_converter(self) -> DataConverter:
        """The converter it was given."""
        return self._converter


async def test_payloads_and_failures_are_opened() -> None:
    """An auditor would hold a history that nobody outside the house can read or replay."""
    sealed, plain = data_converter(KEYS), data_converter(None)
    event = HistoryEvent()
    marker = event.marker_recorded_event_attributes
    marker.details["data"].CopyFrom(Payloads(payloads=await sealed.encode([{"leader": "甲"}])))
    inner = Failure()
    await sealed.encode_failure(ApplicationError("the inner reason", "detail"), inner)
    await sealed.encode_failure(ApplicationError("the outer reason"), marker.failure)
    marker.failure.cause.CopyFrom(inner)
    assert b"reason" not in event.SerializeToString()

    await Histories(OfConverter(sealed))._decrypt(event)

    assert orjson.loads(marker.details["data"].payloads[0].data) == {"leader": "甲"}
    assert (marker.failure.message, marker.failure.cause.message) == ("the outer reason", "the inner reason")
    told = await plain.decode_failure(marker.failure.cause)
    assert isinstance(told, ApplicationError)
    assert (told.message, list(told.details)) == ("the inner reason", ["detail"])


async def test_what_cannot_be_opened_stays_as_it_is() -> None:
    """One payload under a lost key would keep the whole history from being exported."""
    lost = data_converter(CodecKeys("k0", {"k0": bytes(32)}))
    [payload] = await lost.encode(["secret"])
    event = HistoryEvent()
    event.marker_recorded_event_attributes.details["data"].payloads.append(payload)
    failure = event.marker_recorded_event_attributes.failure
    await lost.encode_failure(ApplicationError("the reason"), failure)
    before = HistoryEvent.FromString(event.SerializeToString())
    await Histories(OfConverter(data_converter(KEYS)))._decrypt(event)
    assert event == before
    assert isinstance(payload, Payload)
