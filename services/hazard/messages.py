"""Rows of the hazard ledger as protobuf messages."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from dutyloop.hazard.v1 import hazard_pb2
from dutyloop.kit.v1 import kit_pb2
from services.kit.dates import day_of, optional_time, set_day
from services.kit.db import Row
from services.kit.lights import light
from services.kit.names import name_of
from services.kit.words_of import Words

DISPOSITION = Words(hazard_pb2.Disposition)
HAZARD_GRADE = Words(hazard_pb2.HazardGrade)
HAZARD_STATE = Words(hazard_pb2.HazardState)
LEDGER_STATUS = Words(hazard_pb2.LedgerStatus)
SITE_ORDER_KIND = Words(hazard_pb2.SiteOrderKind)
WRITE_OFF_REASON = Words(hazard_pb2.WriteOffReason)
VERDICT = Words(kit_pb2.Verdict)


def transition_columns(request: hazard_pb2.RecordHazardTransitionRequest, before: Row) -> dict[str, Any]:
    """Return the columns of a hazard as a transition leaves them; what its case does not know stays as it was."""
    after = request.hazard
    return {
        "revision": before["revision"] + 1,
        "state": HAZARD_STATE.of(after.state),
        "grade": HAZARD_GRADE.of(after.grade),
        "unit": after.unit,
        "unit_path": request.unit_path or before["unit_path"],
        "rectifier": after.rectifier,
        "reinspector": after.reinspector,
        "look_backer": after.look_backer,
        "plan": plan_columns(after.plan) if after.HasField("plan") else None,
        "extension": extension_columns(after.extension) if after.HasField("extension") else None,
        "evidence": list(after.evidence),
        "due_time": optional_time(after, "due_time"),
        "awaited_notice": _awaited_notice(request, before),
        "write_off_time": optional_time(after, "write_off_time"),
        "write_off_reason": WRITE_OFF_REASON.given(after.write_off_reason),
        "reopen_count": after.reopen_count,
        "site_order": after.site_order.removeprefix("siteOrders/") or before["site_order"],
    }


def _awaited_notice(request: hazard_pb2.RecordHazardTransitionRequest, before: Row) -> int | None:
    """Return the notice that the due time awaits: as counted in this step, or as before where the term runs on."""
    if request.HasField("awaited_notice"):
        return request.awaited_notice or None
    runs_on = (
        HAZARD_STATE.of(request.hazard.state) == before["state"]
        and optional_time(request.hazard, "due_time") == before["due_time"]
    )
    return before["awaited_notice"] if runs_on else None


def hazard_message(row: Row | Mapping[str, Any], now: datetime) -> hazard_pb2.Hazard:
    """Fill a message from a row of ``hazard``; the light is derived for ``now``."""
    message = hazard_pb2.Hazard()
    message.name = name_of("hazards", row["id"])
    message.etag = str(row["revision"])
    message.site = row["site"]
    message.visit = row["visit"]
    message.grade = HAZARD_GRADE.number(row["grade"])
    message.disposition = DISPOSITION.number(row["disposition"])
    message.description = row["description"]
    message.remedy = row["remedy"]
    message.basis = row["basis"]
    message.state = HAZARD_STATE.number(row["state"])
    message.unit = row["unit"]
    message.reporter = row["reporter"]
    message.rectifier = row["rectifier"]
    message.reinspector = row["reinspector"]
    message.look_backer = row["look_backer"]
    message.evidence.extend(row["evidence"])
    message.open_time.FromDatetime(row["open_time"])
    if row["due_time"] is not None:
        message.due_time.FromDatetime(row["due_time"])
        message.due_provisional = row["awaited_notice"] is not None and row["due_time"] > now
    if row["write_off_time"] is not None:
        message.write_off_time.FromDatetime(row["write_off_time"])
        message.write_off_reason = WRITE_OFF_REASON.number(row["write_off_reason"])
    message.reopen_count = row["reopen_count"]
    message.legacy_id = row["legacy_id"] or ""
    message.source_region = name_of("regions", row["source_region_code"])
    message.region = name_of("regions", row["region_code"])
    message.site_order = name_of("siteOrders", row["site_order"])
    message.light = light(row["due_time"], now, ended=row["write_off_time"] is not None)
    if row["plan"] is not None:
        _fill_plan(message.plan, row["plan"])
    if row["extension"] is not None:
        _fill_extension(message.extension, row["extension"])
    return message


def listed_message(row: Row, now: datetime, as_of: datetime | None) -> hazard_pb2.Hazard:
    """Fill a message of a list; as of an earlier time, what came later is left out."""
    message = hazard_message(row, now)
    if as_of is None:
        return message
    written_off = row["write_off_time"] is not None and row["write_off_time"] < as_of
    if row["earlier_write_off_time"] is not None:
        message.write_off_time.FromDatetime(row["earlier_write_off_time"])
        message.write_off_reason = hazard_pb2.WRITE_OFF_REASON_REINSPECTED
        message.state = hazard_pb2.HAZARD_STATE_WRITTEN_OFF
    elif not written_off:
        for later in ("write_off_time", "write_off_reason", "state", "due_time", "due_provisional", "light"):
            message.ClearField(later)
    return message


def plan_columns(plan: hazard_pb2.RectificationPlan) -> dict[str, Any]:
    """Return the plan as it is stored."""
    return {
        "responsible": plan.responsible,
        "measures": plan.measures,
        "funds_fen": plan.funds_fen,
        "finish_date": day_of(plan.finish_date).isoformat(),
        "contingency": plan.contingency,
    }


def extension_columns(extension: hazard_pb2.Extension) -> dict[str, Any]:
    """Return the extension as it is stored."""
    return {
        "finish_date": day_of(extension.finish_date).isoformat(),
        "reason": extension.reason,
        "requester": extension.requester,
        "verdict": VERDICT.of(extension.verdict),
        "decider": extension.decider,
    }


def _fill_plan(message: hazard_pb2.RectificationPlan, stored: Mapping[str, Any]) -> None:
    message.responsible = stored["responsible"]
    message.measures = stored["measures"]
    message.funds_fen = stored["funds_fen"]
    set_day(message.finish_date, date.fromisoformat(stored["finish_date"]))
    message.contingency = stored["contingency"]


def _fill_extension(message: hazard_pb2.Extension, stored: Mapping[str, Any]) -> None:
    set_day(message.finish_date, date.fromisoformat(stored["finish_date"]))
    message.reason = stored["reason"]
    message.requester = stored["requester"]
    message.verdict = VERDICT.number(stored["verdict"])
    message.decider = stored["decider"]


def order_message(row: Row) -> hazard_pb2.SiteOrder:
    """Return the message for a row of ``site_order``."""
    message = hazard_pb2.SiteOrder(
        name=name_of("siteOrders", row["id"]),
        site=row["site"],
        kind=SITE_ORDER_KIND.number(row["kind"]),
        unit=row["unit"],
        instrument_number=row["instrument_number"],
        hazard=name_of("hazards", row["hazard_id"]),
        orderer=row["orderer"],
        resumer=row["resumer"],
        etag=str(row["revision"]),
    )
    message.order_time.FromDatetime(row["order_time"])
    if row["resume_time"] is not None:
        message.resume_time.FromDatetime(row["resume_time"])
    return message
