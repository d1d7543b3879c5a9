"""Rows and envelopes → proto messages."""

import orjson

from dutyloop.audit.v1 import audit_pb2
from services.kit.db import Row
from services.kit.names import name_of


def entry_message(row: Row, message: audit_pb2.LedgerEntry) -> audit_pb2.LedgerEntry:
    """Fill in an entry: what it says comes from the envelope, which the proofs cover."""
    said = orjson.loads(row["envelope"])
    message.name = name_of("ledgerEntries", row["id"])
    if row["position"] is not None:
        message.position = row["position"]
    message.type = said["type"]
    message.actor = said["actor"]
    message.on_behalf_of = said["on_behalf_of"]
    message.business_time.FromDatetime(row["business_time"])
    message.recorded_time.FromDatetime(row["recorded_time"])
    message.objects.extend(said["objects"])
    message.region = name_of("regions", said["region_code"])
    message.request_id = said["request_id"]
    message.workflow_id = said["workflow_id"]
    message.policy_version = said["policy_version"]
    message.envelope = row["envelope"]
    if row["payload"] is not None:
        message.payload_json = row["payload"].decode()
        message.payload_salt = row["salt"]
    message.payload_commitment = bytes.fromhex(said["payload_commitment"])
    message.leaf_hash = row["leaf_hash"]
    return message


def checkpoint_message(row: Row) -> audit_pb2.Checkpoint:
    """Return a checkpoint."""
    message = audit_pb2.Checkpoint(note=row["note"], tree_size=row["tree_size"], root_hash=row["root_hash"])
    message.sign_time.FromDatetime(row["sign_time"])
    return message
