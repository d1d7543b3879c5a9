"""Method policies and field rules, on protos compiled for the purpose: what is not annotated does not run."""

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import google.api.annotations_pb2
import grpc_tools
import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_tools import protoc

from dutyloop.directory.v1 import directory_pb2
from dutyloop.hazard.v1 import hazard_pb2
from services.kit.contexts import CONTEXTS
from services.kit.errors import InvalidFields
from services.kit.policy import (
    PolicyError,
    is_sensitive,
    method_rules,
    redacted,
    resource_patterns,
    validate,
    violations_of,
)

compile_protos: Any = protoc.main
PROTOS = Path(__file__).resolve().parents[2] / "protos"
GOOGLE = Path(google.api.annotations_pb2.__file__).resolve().parents[2]

SAMPLE = """
syntax = "proto3";
package sample.v1;
import "dutyloop/policy/v1/policy.proto";
import "google/api/field_behavior.proto";
import "google/api/resource.proto";
import "google/protobuf/field_mask.proto";
import "google/protobuf/timestamp.proto";
import "google/type/date.proto";

service Good {
  rpc Read(Request) returns (Request) { option (dutyloop.policy.v1.method) = { kind: METHOD_KIND_READ }; }
  rpc Command(Request) returns (Request) {
    option (dutyloop.policy.v1.method) = { kind: METHOD_KIND_COMMAND roles: ROLE_OPERATOR scope_field: "name" };
  }
  rpc Shared(Request) returns (Request) {
    option (dutyloop.policy.v1.method) = { kind: METHOD_KIND_CASE_ACTION roles: ROLE_LEADER worker: true };
  }
  rpc Import(stream Nested) returns (Request) {
    option (dutyloop.policy.v1.method) = { kind: METHOD_KIND_IMPORT roles: ROLE_OPERATOR };
  }
  rpc Record(Request) returns (stream Request) {
    option (dutyloop.policy.v1.method) = { kind: METHOD_KIND_WORKER };
  }
  rpc Resolve(Nested) returns (Request) { option (dutyloop.policy.v1.method) = { kind: METHOD_KIND_SERVICE }; }
}
service Unannotated { rpc Read(Request) returns (Request); }
service Kindless {
  rpc Read(Request) returns (Request) { option (dutyloop.policy.v1.method) = { roles: ROLE_OPERATOR }; }
}
service Roleless {
  rpc Command(Request) returns (Request) { option (dutyloop.policy.v1.method) = { kind: METHOD_KIND_COMMAND }; }
}
service PeopleAsWorkers {
  rpc Record(Request) returns (Request) {
    option (dutyloop.policy.v1.method) = { kind: METHOD_KIND_WORKER roles: ROLE_OPERATOR };
  }
}
service Scopeless {
  rpc Read(Request) returns (Request) {
    option (dutyloop.policy.v1.method) = { kind: METHOD_KIND_READ scope_field: "nested.gone" };
  }
}
service Unscoped {
  rpc Read(Request) returns (Request) {
    option (dutyloop.policy.v1.method) = { kind: METHOD_KIND_READ scope_field: "colour" };
  }
}
service Unrepeatable {
  rpc Command(Nested) returns (Request) {
    option (dutyloop.policy.v1.method) = { kind: METHOD_KIND_COMMAND roles: ROLE_OPERATOR };
  }
}

enum Colour { COLOUR_UNSPECIFIED = 0; COLOUR_RED = 1; }

message Request {
  string request_id = 1 [(google.api.field_behavior) = REQUIRED, (dutyloop.policy.v1.field).max_length = 5];
  string name = 2 [(google.api.resource_reference).type = "dutyloop/Unit"];
  string any = 3 [(google.api.resource_reference).type = "*"];
  string line = 4;
  string text = 5 [(dutyloop.policy.v1.field) = { multiline: true max_length: 20 sensitive: true }];
  Colour colour = 6;
  repeated Colour colours = 7;
  repeated string words = 8 [(dutyloop.policy.v1.field).max_length = 3];
  repeated string names = 9 [(google.api.resource_reference).type = "dutyloop/Unit"];
  google.type.Date day = 10;
  repeated google.type.Date days = 11;
  google.protobuf.Timestamp time = 12;
  Nested nested = 13;
  repeated Nested list = 14;
  bytes hash = 15 [(dutyloop.policy.v1.field).max_length = 4];
  string answered = 16 [(google.api.field_behavior) = OUTPUT_ONLY];
  google.protobuf.FieldMask mask = 17;
  string number = 18 [(dutyloop.policy.v1.field) = { exact: true }];
}
message Nested {
  string inner = 1 [(google.api.field_behavior) = REQUIRED];
  google.type.Date day = 2 [(google.api.field_behavior) = REQUIRED];
}
"""


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ServiceDescriptor]:
    """The services of the sample, by name."""
    folder = tmp_path_factory.mktemp("protos")
    (folder / "sample.proto").write_text(SAMPLE)
    includes = [f"-I{path}" for path in (folder, PROTOS, GOOGLE, files(grpc_tools) / "_proto")]
    assert compile_protos(["protoc", *includes, f"--descriptor_set_out={folder / 'set'}", "sample.proto"]) == 0
    (file,) = FileDescriptorSet.FromString((folder / "set").read_bytes()).file
    pool: Any = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    found: dict[str, ServiceDescriptor] = pool.FindFileByName("sample.proto").services_by_name
    return found


@pytest.fixture
def request_of(services: dict[str, ServiceDescriptor]) -> Callable[..., Any]:
    """Makes a request that is right but for the fields given."""
    cls = GetMessageClass(services["Good"].methods_by_name["Read"].input_type)
    return lambda **fields: cls(**{"request_id": "r", **fields})


def problems(message: Message) -> list[tuple[str, str]]:
    """Return what is wrong with a message."""
    return [(violation.field, violation.problem) for violation in violations_of(message)]


# Methods


def test_rules_are_read_from_the_annotations(services: dict[str, ServiceDescriptor]) -> None:
    """A method would run under other rules than its contract states."""
    rules = {rule.name: rule for rule in method_rules(services["Good"])}
    assert rules["Command"].path == "/sample.v1.Good/Command"
    assert ({1}, "name", False) == (set(rules["Command"].roles), rules["Command"].scope_field, rules["Command"].worker)
    assert {name: rule.worker for name, rule in rules.items()} == {
        "Read": False,
        "Command": False,
        "Shared": True,
        "Import": False,
        "Record": True,
        "Resolve": True,
    }
    assert {"Command", "Shared", "Import", "Record"} == {name for name, rule in rules.items() if rule.changes_state}
    assert rules["Import"].client_streaming and rules["Record"].server_streaming


@pytest.mark.parametrize(
    ("service", "complaint"),
    [
        ("Unannotated", "/sample.v1.Unannotated/Read has no policy"),
        ("Kindless", "/sample.v1.Kindless/Read has no policy"),
        ("Roleless", "people's methods name roles"),
        ("PeopleAsWorkers", "people's methods name roles"),
        ("Unrepeatable", "a state change needs a request_id"),
        ("Scopeless", "the request has no nested.gone to decide the scope by"),
        ("Unscoped", "the request has no colour to decide the scope by"),
    ],
)
def test_a_method_without_its_policy_is_refused(
    services: dict[str, ServiceDescriptor], service: str, complaint: str
) -> None:
    """A forgotten annotation would open a method to everybody."""
    with pytest.raises(PolicyError, match=complaint):
        list(method_rules(services[service]))


def test_every_method_of_the_house_has_a_policy() -> None:
    """The house would not start."""
    for service in (each.service for each in CONTEXTS.values()):
        assert len(list(method_rules(service))) == len(service.methods)


def test_every_reference_names_a_resource_of_the_house() -> None:
    """A reference to a misspelt type would be answered with an internal error."""
    for context in CONTEXTS.values():
        for message in context.file.message_types_by_name.values():
            assert violations_of(GetMessageClass(message)()) is not None
    assert resource_patterns()["dutyloop/Unit"].fullmatch("units/7")


# Fields

FORBIDDEN = {
    "NUL": "\0",
    "bell": "\a",
    "escape": "\x1b",
    "delete": "\x7f",
    "C1": "\x85",
    "zero width space": "\u200b",
    "zero width joiner": "\u200d",
    "right-to-left mark": "\u200f",
    "Arabic letter mark": "\u061c",
    "right-to-left override": "\u202e",
    "isolate": "\u2066",
    "word joiner": "\u2060",
    "byte order mark": "\ufeff",
    "soft hyphen": "\u00ad",
    "Mongolian vowel separator": "\u180e",
    "interlinear annotation": "\ufff9",
    "tag": "\U000e0041",
}


@pytest.mark.parametrize("character", FORBIDDEN.values(), ids=FORBIDDEN.keys())
@pytest.mark.parametrize("field", ["line", "text", "request_id"])
def test_characters_that_hide_text_are_refused(request_of: Callable[..., Any], field: str, character: str) -> None:
    """Who approves would read another text than the one stored, and PostgreSQL would refuse NUL on its own terms."""
    assert [(field, "bad_character")] == problems(request_of(**{field: f"a{character}b"}))
    assert problems(request_of(words=["a", character])) == [("words[1]", "bad_character")]


@pytest.mark.parametrize("twin", ["7 ", "\u30007", "7\u3164", "e\u0301", "\uf900"])
def test_a_number_has_no_twin_that_looks_the_same(request_of: Callable[..., Any], twin: str) -> None:
    """An instrument's number would be used twice: the second time with a blank that nobody sees."""
    assert problems(request_of(number=twin)) == [("number", "not_exact")]
    assert problems(request_of(number="安监〔2026〕7号 é", line=twin)) == []


@pytest.mark.parametrize("filler", ["\u2800", "\u3164", "\ufe0f", " \u3000"])
def test_what_shows_nothing_says_nothing(request_of: Callable[..., Any], filler: str) -> None:
    """A required field would be filled with what nobody can see."""
    assert ("request_id", "required") in problems(request_of(request_id=filler))


@pytest.mark.parametrize("character", ["\n", "\r", "\t", "\u2028", "\u2029"])
def test_line_breaks_are_for_fields_that_have_lines(request_of: Callable[..., Any], character: str) -> None:
    """A title could carry a second line into logs and letters, or a report lose its paragraphs."""
    assert problems(request_of(line=f"a{character}b")) == [("line", "bad_character")]
    assert problems(request_of(text=f"a{character}b")) == []


@pytest.mark.parametrize(
    "text", ["责任清单 ① “已整改”", "𠮷野家", "=1+1", "a'; DROP TABLE", "<b>", "🚒", "ＡＢＣ", "é"]
)
def test_ordinary_text_passes(request_of: Callable[..., Any], text: str) -> None:
    """An inspector could not write down what he saw."""
    assert problems(request_of(line=text, text=text)) == []


def test_lengths_count_characters(request_of: Callable[..., Any]) -> None:
    """A Chinese text would be refused at a third of its length, or a megabyte of one line be stored."""
    assert problems(request_of(request_id="一二三四五", line="字" * 1_000, text="𠮷" * 20, hash=b"1234")) == []
    too_long = request_of(request_id="123456", line="a" * 1_001, text="a" * 21, hash=b"12345", words=["a" * 1_001])
    assert {(field, "too_long") for field in ("request_id", "line", "text", "hash", "words[0]")} == set(
        problems(too_long)
    )


def test_lists_are_capped(request_of: Callable[..., Any]) -> None:
    """One request could make a handler loop for minutes."""
    assert problems(request_of(words=["a"] * 3)) == []
    assert problems(request_of(words=["a"] * 4)) == [("words", "too_many")]
    assert problems(request_of(names=["units/1"] * 1_001)) == [("names", "too_many")]


def test_required_fields_are_named_with_their_path(request_of: Callable[..., Any]) -> None:
    """A form could not mark what is missing."""
    message = request_of(
        request_id="", nested={}, list=[{"inner": "a", "day": {"year": 2026, "month": 1, "day": 1}}, {}]
    )
    assert problems(message) == [
        ("request_id", "required"),
        ("nested.inner", "required"),
        ("nested.day", "required"),
        ("list[1].inner", "required"),
        ("list[1].day", "required"),
    ]
    with pytest.raises(InvalidFields) as refusal:
        validate(message)
    assert len(refusal.value.violations) == 5


def test_elements_of_a_list_are_never_empty(request_of: Callable[..., Any]) -> None:
    """Evidence that consists of one empty line would count as evidence."""
    assert problems(request_of(words=["a", ""])) == [("words[1]", "required")]
    assert problems(request_of(names=[""])) == [("names[0]", "malformed")]
    assert problems(request_of(colours=[1, 0])) == [("colours[1]", "unknown_value")]


def test_unknown_enum_values_are_refused(request_of: Callable[..., Any]) -> None:
    """A value of the future would be stored under a number that nobody can read."""
    for unknown in (2, -1, 2**31 - 1, -(2**31)):
        assert problems(request_of(colour=unknown)) == [("colour", "unknown_value")]
        assert problems(request_of(colours=[1, unknown])) == [("colours[1]", "unknown_value")]
    assert problems(request_of(colour=0, colours=[1])) == []


MALFORMED = [
    "units",
    "units/",
    "people/1",
    "units/a/b",
    "units/..",
    "units/%",
    "units/a b",
    "units/a\n",
    "units/" + "a" * 65,
]


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_names_are_refused(request_of: Callable[..., Any], name: str) -> None:
    """A name of another collection would be looked up in this one."""
    assert problems(request_of(name=name)) == [("name", "malformed")]
    assert problems(request_of(names=[name])) == [("names[0]", "malformed")]


def test_a_reference_to_anything_takes_any_resource_but_no_other_text(request_of: Callable[..., Any]) -> None:
    """A tour could not visit both units and sites, or would visit nonsense."""
    for name in ("units/1", "sites/1", "hazards/a-b.c_d"):
        assert problems(request_of(any=name)) == []
    for name in ("1", "things/1", "units/"):
        assert problems(request_of(any=name)) == [("any", "malformed")]
    assert problems(request_of(any="units/" + "a" * 200)) == [("any", "too_long")]


DAYS = {
    (2026, 2, 28): True,
    (2024, 2, 29): True,
    (2000, 2, 29): True,
    (1900, 1, 1): True,
    (9998, 12, 31): True,
    (2026, 2, 29): False,
    (1900, 2, 29): False,
    (2026, 4, 31): False,
    (2026, 13, 1): False,
    (2026, 0, 1): False,
    (2026, 1, 0): False,
    (0, 1, 1): False,
    (1899, 12, 31): False,
    (9999, 1, 1): False,
    (-1, 1, 1): False,
    (2**31 - 1, 1, 1): False,
}


@pytest.mark.parametrize(("parts", "exists"), DAYS.items(), ids=str)
def test_days_that_do_not_exist_are_refused(
    request_of: Callable[..., Any], parts: tuple[int, int, int], exists: bool
) -> None:
    """The 30th of February or the year 0 would be answered with an internal error."""
    day = dict(zip(("year", "month", "day"), parts, strict=True))
    expected = [] if exists else ["day", "days[0]", "nested.day"]
    message = request_of(day=day, days=[day], nested={"inner": "a", "day": day})
    assert [(field, "out_of_range") for field in expected] == problems(message)


@pytest.mark.parametrize(
    ("seconds", "nanos", "exists"),
    [
        (0, 0, True),
        (-2_208_988_800, 0, True),
        (-2_208_988_801, 0, False),
        (253_370_764_799, 999_999_999, True),
        (253_370_764_800, 0, False),
        (2**63 - 1, 0, False),
        (-(2**63), 0, False),
        (0, -1, False),
        (0, 1_000_000_000, False),
    ],
)
def test_times_out_of_range_are_refused(request_of: Callable[..., Any], seconds: int, nanos: int, exists: bool) -> None:
    """A time that Python or PostgreSQL cannot hold would be answered with an internal error."""
    expected = [] if exists else [("time", "out_of_range")]
    assert expected == problems(request_of(time={"seconds": seconds, "nanos": nanos}))


def test_what_the_server_sets_is_not_checked(request_of: Callable[..., Any]) -> None:
    """A client that sends back what it read would be refused."""
    assert problems(request_of(answered="\0" * 5_000)) == []


def test_a_changed_resource_needs_its_name_only() -> None:
    """An update of one field would have to repeat every other, or a creation could leave them out."""
    empty = directory_pb2.UpdateUnitRequest(request_id="r", unit=directory_pb2.Unit())
    assert problems(empty) == [("unit.name", "required")]
    named = directory_pb2.UpdateUnitRequest(request_id="r", unit=directory_pb2.Unit(name="units/1", kind=99))  # type: ignore[arg-type]
    assert problems(named) == [("unit.kind", "unknown_value")]
    created = directory_pb2.CreateUnitRequest(request_id="r", unit=directory_pb2.Unit(name="units/1"))
    assert {"unit.display_name", "unit.region", "unit.kind"} == {field for field, _ in problems(created)}
    recorded = hazard_pb2.RecordHazardTransitionRequest(request_id="r", name="hazards/1", transition="assigned")
    recorded.business_time.seconds = 1
    recorded.hazard.name = "hazards/1"
    assert problems(recorded) == []


def test_sensitive_fields_are_known(services: dict[str, ServiceDescriptor]) -> None:
    """What an inspector writes about people would stand in the log."""
    fields = services["Good"].methods_by_name["Read"].input_type.fields_by_name
    assert (is_sensitive(fields["text"]), is_sensitive(fields["line"])) == (True, False)


def test_sensitive_fields_stay_out_of_logs() -> None:
    """Whoever reads the debug log would read what was found at every site, and who is who."""
    request = hazard_pb2.ReportHazardRequest(
        request_id="1", hazard=hazard_pb2.Hazard(site="sites/a", description="通道被占用", evidence=["x"])
    )
    assert redacted(request) == {
        "request_id": "1",
        "hazard": {"site": "sites/a", "description": "…", "evidence": ["x"]},
    }
