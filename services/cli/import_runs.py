"""One run of an import: a file's rows sent through the API's client streams, in chunks that can be repeated.

Each chunk has a request id made from the file's content, the options and the chunk's number. So running the
same import again, after a cut or by mistake, gets the stored answer for every chunk that was done.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from itertools import count, islice
from pathlib import Path
from threading import Event
from typing import Any, Protocol

import orjson
from google.protobuf.message import Message

from dutyloop.kit.v1 import kit_pb2
from services.cli.connection import Connection
from services.cli.fields import message_class
from services.cli.layouts import (
    Faults,
    Layout,
    Phase,
    Place,
    column_shown,
    qualified,
)
from services.cli.sheets import AS_FOUND, Format, Row, SheetError, columns_of, opened, rows_of
from services.cli.verbs import find_method
from services.cli.words import label, say

CHUNK_ROWS = 10_000
"""Rows of one request; as many as a report tells errors of, so that none is lost."""
MESSAGE_ROWS = 1_000
MESSAGE_BYTES = 3_000_000
"""Under the 4 MiB that the services take."""
STREAM_SECONDS = 3_600.0
NOWHERE: Mapping[str, str] = {}
DERIVATION = 2
"""Raised whenever a layout comes to mean other rows, so that old answers are not taken for new ones."""


@dataclass(frozen=True, slots=True)
class Source:
    """The file and how it is read."""

    path: Path
    layout: Layout
    chosen: Mapping[str, str] = field(default_factory=dict)
    how: Format = AS_FOUND

    def columns(self) -> Mapping[str, str]:
        """Map our fields to the file's columns. Raises SheetError, naming every column that is missing."""
        with opened(self.path, self.how) as table:
            columns = columns_of(table.headings, self.layout.fields, self.chosen)
        missing = [name for name in self.layout.required if name not in columns]
        if missing:
            there = "、".join(heading for heading in table.headings if heading)
            found = say(f"文件的列：{there}", f"columns of the file: {there.replace('、', ', ')}")
            raise SheetError("\n".join([*(self._missing(name) for name in missing), found]))
        return columns

    def _missing(self, name: str) -> str:
        known = "/".join(self.layout.fields[name])
        return say(
            f"缺少“{label(name)}”列（可识别的列名：{known}；或用 --map {name}=列名）",
            f"no column for {name} (known headings: {known}; or give --map {name}=COLUMN)",
        )

    def rows(self) -> Iterator[Row]:
        """Read the file from its beginning."""
        with opened(self.path, self.how) as table:
            yield from rows_of(table, columns_of(table.headings, self.layout.fields, self.chosen))

    def count(self) -> int:
        """Count the data rows, and find out whether the file can be read to its end. Raises SheetError."""
        with opened(self.path, self.how) as table:
            return sum(1 for cells in table.below if any(cells))


@dataclass(frozen=True, slots=True)
class ImportRun:
    """One run of an import."""

    kind: str
    source: Source
    place: Place
    dry_run: bool = False
    errors: Path | None = None
    person: str | None = None
    as_json: bool = False
    no_sites: bool = False
    source_region: str = ""
    """Code of the region whose register the legacy ids come from; empty for the one the services choose."""

    def phases(self) -> Sequence[Phase]:
        """Return the imports that the file becomes, in order."""
        found = self.source.layout.phases(self.source.rows, self.place)
        return [phase for phase in found if not (self.no_sites and phase.name == "sites" and len(found) > 1)]

    def key(self, content_sha256: str) -> str:
        """Return what tells this import from every other: content and all that changes what is sent."""
        options = {
            "kind": self.kind,
            "derivation": DERIVATION,
            "map": dict(sorted(self.source.chosen.items())),
            **asdict(self.source.how),
            "place": asdict(self.place),
            "source_region": self.source_region,
            "chunk_rows": CHUNK_ROWS,
        }
        return sha256(content_sha256.encode() + orjson.dumps(options, option=orjson.OPT_SORT_KEYS)).hexdigest()

    def errors_path(self) -> Path:
        """Return where refused rows are written."""
        return self.errors or Path(self.source.path.name + ".errors.csv")


def chunk_id(key: str, phase: str, number: int) -> str:
    """Return the request id of a chunk: always the same for the same import."""
    return "import-" + sha256(f"{key}\x1f{phase}\x1f{number}".encode()).hexdigest()[:48]


@dataclass(slots=True)
class Tally:
    """What a phase came to. Every row is in one of the counts after ``rows``."""

    rows: int = 0
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    rejected: int = 0
    unchecked: int = 0
    """In a dry run: rows whose site would have been created, which the services therefore could not look up."""

    def add(self, report: kit_pb2.ImportReport, unchecked: int) -> None:
        """Count a chunk."""
        self.rows += report.rows
        self.created += report.created
        self.updated += report.updated
        self.unchanged += report.unchanged
        self.rejected += report.rejected - unchecked
        self.unchecked += unchecked


@dataclass(slots=True)
class Outcome:
    """What a run came to."""

    tallies: dict[str, Tally] = field(default_factory=dict)
    faults: list[tuple[int, str, str]] = field(default_factory=list)

    @property
    def rejected(self) -> int:
        """Count the refused rows of all phases."""
        return sum(tally.rejected for tally in self.tallies.values())


class Sending(Protocol):
    """A chunk on its way."""

    def result(self) -> kit_pb2.ImportReport:
        """Wait for the report."""

    def cancel(self) -> bool:
        """Give the chunk up."""


Send = Callable[[str, Iterator[Message]], Sending]
"""Begins to send one chunk's messages to a method."""


def carry_out(
    run: ImportRun, columns: Mapping[str, str], key: str, send: Send, advance: Callable[[str, int], None]
) -> Outcome:
    """Send every phase, chunk by chunk; ``advance`` hears of the rows done."""
    outcome = Outcome()
    new_sites: set[str] = set()
    for phase in run.phases():
        tally = outcome.tallies.setdefault(phase.name, Tally())
        faults = Faults()
        for chunk, report in _reports(run, phase, phase.rows(faults), key, send):
            unchecked = _of_new_sites(report, chunk, new_sites)
            tally.add(report, len(unchecked))
            for error in report.errors:
                if error.row not in unchecked:
                    faults.add(error.row, phase.names.get(error.column, error.column), error.description)
            if run.dry_run and phase.name == "sites":
                refused = {error.row for error in report.errors}
                new_sites.update(row.site.legacy_id for row in chunk if row.row not in refused)
            advance(phase.name, len(chunk))
        _add_local(tally, faults)
        outcome.faults.extend((row, column_shown(columns, at), reason) for row, at, reason in faults.rows)
    outcome.faults.sort(key=lambda fault: fault[0])  # in the order of the sheet, whatever phase met them
    return outcome


def _reports(
    run: ImportRun, phase: Phase, rows: Iterator[Message], key: str, send: Send
) -> Iterator[tuple[Sequence[Any], kit_pb2.ImportReport]]:
    """Yield the chunks and what became of them, in order.

    A chunk is read, and checked by the service, while the one before it is merged: it is complete, and may be
    merged, only once the other has been answered. Where that one fails, this one has changed nothing.
    """
    region = qualified("regions", run.source_region)
    before: tuple[Sequence[Any], Sending] | None = None
    for number in count():
        chunk, answered = list(islice(rows, CHUNK_ROWS)), Event()
        sending = None
        if chunk:
            header = kit_pb2.ImportHeader(
                request_id=chunk_id(key, phase.name, number), dry_run=run.dry_run, source_region=region
            )
            sending = send(phase.method, _held(messages_of(phase.method, header, chunk), answered))
        if before is not None:
            try:
                report = before[1].result()
            except BaseException:
                if sending is not None:
                    sending.cancel()
                raise
            finally:
                answered.set()
            yield before[0], report
        answered.set()
        if sending is None:
            return
        before = chunk, sending


def _held(messages: Iterator[Message], until: Event) -> Iterator[Message]:
    """Pass messages on, but do not come to their end before it is time."""
    yield from messages
    until.wait()


def _of_new_sites(report: kit_pb2.ImportReport, chunk: Sequence[Any], new_sites: set[str]) -> set[int]:
    """Return the rows that were refused only because a dry run kept no site."""
    if not new_sites:
        return set()
    refused = {error.row for error in report.errors if error.column == "site_legacy_id"}
    return {row.row for row in chunk if row.row in refused and row.site_legacy_id in new_sites}


def _add_local(tally: Tally, faults: Faults) -> None:
    """Count the rows that were refused without being sent."""
    local = len(faults.rows) - tally.rejected
    tally.rows += local
    tally.rejected += local


def messages_of(method: str, header: kit_pb2.ImportHeader, rows: Sequence[Message]) -> Iterator[Message]:
    """Pack a chunk into messages of at most a thousand rows that the services take; the header goes before them."""
    make: Any = message_class(find_method(method)[0].input_type)
    yield make(header=header)
    for start in range(0, len(rows), MESSAGE_ROWS):
        yield from _small_enough(make, rows[start : start + MESSAGE_ROWS])


def _small_enough(make: Any, rows: Sequence[Message]) -> Iterator[Message]:
    message: Message = make(rows=rows)
    if len(rows) > 1 and message.ByteSize() > MESSAGE_BYTES:
        half = len(rows) // 2
        yield from _small_enough(make, rows[:half])
        yield from _small_enough(make, rows[half:])
    else:
        yield message


def sender(connection: Connection, into: Mapping[str, str] = NOWHERE) -> Send:
    """Return what sends chunks over a connection; ``into`` are fields of a chunk's first message beside the header."""

    def send(method: str, messages: Iterator[Message]) -> Sending:
        found, stub = find_method(method)
        rpc = getattr(connection.stub(stub), found.name)
        begun: Sending = connection.begin(rpc, _opening(messages, into), STREAM_SECONDS)
        return begun

    return send


def _opening(messages: Iterator[Message], into: Mapping[str, str]) -> Iterator[Message]:
    for number, message in enumerate(messages):
        for name, value in into.items() if number == 0 else ():
            setattr(message, name, value)
        yield message
