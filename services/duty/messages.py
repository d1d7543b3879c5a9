"""Rows of the duty schema as protobuf messages."""

from dutyloop.duty.v1 import duty_pb2
from services.duty.rules import Version
from services.kit.dates import set_day
from services.kit.db import Row
from services.kit.names import name_of
from services.kit.words_of import Words

DUTY_TYPE = Words(duty_pb2.DutyType)
EVIDENCE_TYPE = Words(duty_pb2.EvidenceType)
INVOLVEMENT = Words(duty_pb2.Involvement)
LIST_KIND = Words(duty_pb2.ListKind)
LIST_STATE = Words(duty_pb2.ListState)


def list_message(row: Row) -> duty_pb2.ResponsibilityList:
    """Return the message for a row of ``responsibility_list`` with its counts."""
    message = duty_pb2.ResponsibilityList()
    message.name = name_of("responsibilityLists", row["id"])
    message.etag = str(row["revision"])
    message.kind = LIST_KIND.number(row["kind"])
    message.display_name = row["display_name"]
    message.unit = row["unit"]
    message.post = row["post"]
    set_day(message.effective_date, row["effective_date"])
    message.predecessor = name_of("responsibilityLists", row["predecessor_id"])
    message.version = row["version"]
    message.state = LIST_STATE.number(row["state"])
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
    message.type = DUTY_TYPE.number(row["type"])
    message.sector = row["sector"]
    message.function = row["function"]
    message.area = row["area"]
    message.involvement = INVOLVEMENT.number(row["involvement"])
    message.recurrence = row["recurrence"]
    message.expected_evidence.extend(EVIDENCE_TYPE.number(each) for each in row["expected_evidence"])
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
