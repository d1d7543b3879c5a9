"""The door to the Temporal server: one lazy client per process, payloads encrypted."""

from temporalio.client import Client
from temporalio.service import GrpcCompression, KeepAliveConfig, RetryConfig

from services.kit.codec import CodecKeys, data_converter
from services.kit.settings import Settings, required

COMPRESSION = GrpcCompression.NONE
"""Encrypted payloads do not get smaller: compressing them only costs both ends their time."""
RETRY = RetryConfig(initial_interval_millis=50, max_interval_millis=1_000, max_elapsed_time_millis=3_000, max_retries=5)


async def connect(settings: Settings, *, lazy: bool = True) -> Client:
    """Return a client; a lazy one connects at its first call, so services start while Temporal is down."""
    keys = CodecKeys.load(required(settings.codec_keys_file, "codec_keys_file"))
    return await Client.connect(
        settings.temporal_address,
        namespace=settings.temporal_namespace,
        data_converter=data_converter(keys),
        retry_config=RETRY,
        grpc_compression=COMPRESSION,
        keep_alive_config=KeepAliveConfig(interval_millis=30_000, timeout_millis=15_000),
        lazy=lazy,
    )
