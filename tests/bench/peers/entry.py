"""The audit row of the peers: composed and hashed as ours is, in the few lines that a peer would give it."""

import hashlib
import json
import os
import time
import uuid
from datetime import UTC, datetime
from typing import Any

ACTOR = "people/peer"


def login() -> tuple[str, str, str]:
    """Return database, socket folder and password, from the same settings as ours."""
    url = os.environ["DUTYLOOP_DATABASE_URL"]
    with open(os.path.join(os.environ["DUTYLOOP_DATABASE_SECRETS"], "plan")) as file:
        password = file.read().strip()
    return url.removeprefix("postgresql:///").split("?")[0], url.split("host=")[1], password


def light_of(state: str, due: float) -> tuple[str, bool]:
    """Derive light and overdue, as ours does."""
    overdue = state != "DONE" and due <= time.time()
    if state == "DONE":
        return "", False
    return "RED" if overdue else "YELLOW" if due - time.time() <= 5 * 86_400 else "GREEN", overdue


def entry_of(
    kind: str, objects: list[str], payload: dict[str, Any], region: str, path: str, request: str
) -> dict[str, Any]:
    """Return the columns of an entry."""
    now, salt = datetime.now(UTC), os.urandom(16)
    sealed = json.dumps(payload, sort_keys=True, separators=(",", ":")).encode()
    known = {
        "id": uuid.uuid4().hex,
        "type": kind,
        "actor": ACTOR,
        "objects": objects,
        "region_code": region,
        "unit_path": path,
        "request_id": request,
        "workflow_id": "",
        "on_behalf_of": "",
        "method": "report_progress",
        "policy_version": "",
    }
    said = {**known, "business_time": now.isoformat(), "payload_commitment": hashlib.sha256(salt + sealed).hexdigest()}
    envelope = json.dumps(said, sort_keys=True, separators=(",", ":")).encode()
    leaf = hashlib.sha256(b"\x00" + envelope).digest()
    times = {"business_time": now, "recorded_time": now}
    return {**known, **times, "envelope": envelope, "salt": salt, "payload": sealed, "leaf_hash": leaf}
