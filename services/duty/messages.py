"""Rows of the duty schema as protobuf messages."""

from dutyloop.duty.v1 import duty_pb2
from services.duty.rules import Version
from services.kit.dates import set_day
from services.kit.db import Row
from services.kit.names import name_of


def list_message(row: Row) -> duty_pb2.ResponsibilityList:
    """Return the message for a row of ``responsibility_list`` with its counts."""
    message = duty_pb2.ResponsibilityList()
    message.name = name_of("responsibilityLists", row["id"])
    message.etag = str(row["revision"])
    message.kind = duty_pb2.ListKind.Value("LIST_KIND_" + row["kind"])
    message.display_name = row["display_name"]
    message.unit = row["unit"]
    message.post = row["post"]
    set_day(message.effective_date, row["effective_date"])
    message.predecessor = name_of("responsibilityLists", row["predecessor_id"])
    message.version = row["version"]
    message.state = duty_pb2.ListState.Value("LIST_STATE_" + row["state"])
    message.region = name_of("regions", row["region_code"])
    message.editor = row["editor"]
    message.submitter = row["submitter"]
    message.approver = row["approver"]
    message.return_reason = row["return_reason"]
    if row["publish_time"] is not None:
        message.publish_time.FromDatetime(row["publish_time"])
    if row["supersede_time"] is not None:
        message.supersede_time.FromDatetime(row["supersede_time"])
    message.successor = name_of("responsibilityLists", row["successor_id"])
    message.item_count = row["item_count"]
    message.acknowledgement_count = row["acknowledgement_count"]
    return message


def version_of(row: Row) -> Version:
    """Return what the rules must know of a list."""
    return Version(
        name=name_of("responsibilityLists", row["id"]),
        kind=row["kind"],
        unit=row["unit"],
        post=row["post"],
        state=row["state"],
        effective_date=row["effective_date"],
        predecessor=name_of("responsibilityLists", row["predecessor_id"]),
        editors=row["editors"],
        submitter=row["submitter"],
        item_count=row["item_count"],
    )


def item_message(row: Row) -> duty_pb2.DutyItem:
    """Return the message for a row of ``duty_item``."""
    message = duty_pb2.DutyItem()
    message.name = name_of("dutyItems", row["id"])
    message.responsibility_list = name_of("responsibilityLists", row["list_id"])
    message.number = row["number"]
    message.text = row["text"]
    message.law = row["law"]
    message.article = row["article"]
    message.type = duty_pb2.DutyType.Value("DUTY_TYPE_" + row["type"])
    message.sector = row["sector"]
    message.function = row["function"]
    message.area = row["area"]
    message.involvement = duty_pb2.Involvement.Value("INVOLVEMENT_" + row["involvement"])
    message.recurrence = row["recurrence"]
    message.expected_evidence.extend(
        duty_pb2.EvidenceType.Value("EVIDENCE_TYPE_" + each) for each in row["expected_evidence"]
    )
    message.term_days = row["term_days"]
    return message


def acknowledgement_message(row: Row) -> duty_pb2.Acknowledgement:
    """Return the message for a row of ``acknowledgement``."""
    message = duty_pb2.Acknowledgement()
    message.name = name_of("acknowledgements", row["id"])
    message.responsibility_list = name_of("responsibilityLists", row["list_id"])
    message.version = row["version"]
    message.person = row["person"]
    message.acknowledge_time.FromDatetime(row["acknowledge_time"])
    return message
