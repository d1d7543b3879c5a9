"""Stubs for the other services: a channel per address, own service token, a deadline on every call."""

import time
from collections.abc import Sequence
from typing import Any, TypeVar

import grpc

from dutyloop.accountability.v1.accountability_pb2_grpc import AccountabilityServiceStub
from dutyloop.audit.v1.audit_pb2_grpc import AuditServiceStub
from dutyloop.directory.v1.directory_pb2_grpc import DirectoryServiceStub
from dutyloop.duty.v1.duty_pb2_grpc import DutyServiceStub
from dutyloop.hazard.v1.hazard_pb2_grpc import HazardServiceStub
from dutyloop.inspection.v1.inspection_pb2_grpc import InspectionServiceStub
from dutyloop.plan.v1.plan_pb2_grpc import PlanServiceStub
from services.kit.errors import from_rpc_error
from services.kit.settings import Settings, required
from services.kit.tls import channel_credentials
from services.kit.tokens import SERVICE_ISSUER, SERVICE_TOKEN_SECONDS, TokenSigner

CALL_SECONDS = 10.0
MAX_MESSAGE_BYTES = 4 * 1024 * 1024
CHANNEL_OPTIONS: Sequence[tuple[str, int]] = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.keepalive_time_ms", 300_000),
)
R = TypeVar("R")


def channel_to(settings: Settings, address: str) -> grpc.aio.Channel:
    """Return a channel to services. Raises SettingsError where tokens would travel in clear text."""
    tls = channel_credentials(settings, address)
    if tls is None:
        return grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS)
    return grpc.aio.secure_channel(address, tls, options=CHANNEL_OPTIONS)


class Clients:
    """The house's services as this process reaches them, together or apart, with its own identity.

    Calls are written ``await clients.call(clients.directory.GetUnit, request)``.
    """

    def __init__(self, settings: Settings, service: str) -> None:
        key_file = required(settings.service_key_file, "service_key_file")
        self._signer = TokenSigner(key_file, SERVICE_ISSUER, settings.audience)
        self._subject = f"services/{service}"
        self._token = ""
        self._token_expires = 0.0
        self._settings = settings
        self._channels: dict[str, grpc.aio.Channel] = {}
        self.directory = DirectoryServiceStub(self._channel("directory"))
        self.duty = DutyServiceStub(self._channel("duty"))
        self.plan = PlanServiceStub(self._channel("plan"))
        self.inspection = InspectionServiceStub(self._channel("inspection"))
        self.hazard = HazardServiceStub(self._channel("hazard"))
        self.accountability = AccountabilityServiceStub(self._channel("accountability"))
        self.audit = AuditServiceStub(self._channel("audit"))

    def _channel(self, service: str) -> grpc.aio.Channel:
        """Return the channel to a service; services at one address share it."""
        address = self._settings.api_addresses.get(service, self._settings.api_address)
        if address not in self._channels:
            self._channels[address] = channel_to(self._settings, address)
        return self._channels[address]

    async def call(self, method: Any, request: Any, timeout: float = CALL_SECONDS) -> Any:
        """Call ``method``; raises the DomainError that the other service answered with."""
        try:
            return await method(request, timeout=timeout, metadata=self.metadata())
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Return the call metadata that proves this process's identity."""
        now = time.time()
        if now > self._token_expires - SERVICE_TOKEN_SECONDS / 2:
            self._token = self._signer.sign(self._subject, SERVICE_TOKEN_SECONDS)
            self._token_expires = now + SERVICE_TOKEN_SECONDS
        return (("authorization", f"Bearer {self._token}"),)

    async def close(self) -> None:
        """Close the channels."""
        for channel in self._channels.values():
            await channel.close(grace=None)
