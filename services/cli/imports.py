"""``dutyloop import``: legacy tables brought in through the API's client streams, in chunks that can be repeated.

Each chunk has a request id made from the file's content, the options and the chunk's number. So running the
same import again, after a cut or by mistake, gets the stored answer for every chunk that was done.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from hashlib import sha256
from itertools import count, islice
from pathlib import Path
from threading import Event
from typing import Annotated, Any, Protocol

import orjson
import typer
from google.protobuf.message import Message
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from dutyloop.duty.v1 import duty_pb2
from dutyloop.hazard.v1 import hazard_pb2
from dutyloop.kit.v1 import kit_pb2
from services.cli.bodies import ValueProblem
from services.cli.connection import Connection
from services.cli.duty_items import DUTY_ITEMS
from services.cli.fields import enum_word, enum_words, message_class, put_value
from services.cli.frame import FramedTyper
from services.cli.layouts import (
    HAZARDS,
    REGIONS,
    RESULTS,
    SITES,
    VISITS,
    Faults,
    Layout,
    Phase,
    Place,
    column_shown,
    qualified,
)
from services.cli.output import Exit, err, fail, leave, out, print_json, print_table
from services.cli.sheets import AS_FOUND, Format, Row, SheetError, columns_of, opened, rows_of, sha256_of, write_errors
from services.cli.verbs import AsJson, Person, find_method, new_request_id
from services.cli.words import label, say, worded
from services.kit.errors import DomainError
from services.kit.failures import Failure

CHUNK_ROWS = 10_000
"""Rows of one request; as many as a report tells errors of, so that none is lost."""
MESSAGE_ROWS = 1_000
MESSAGE_BYTES = 3_000_000
"""Under the 4 MiB that the services take."""
STREAM_SECONDS = 3_600.0
NOWHERE: Mapping[str, str] = {}
DERIVATION = 2
"""Raised whenever a layout comes to mean other rows, so that old answers are not taken for new ones."""


class HazardLayout(StrEnum):
    """The layouts of hazard tables."""

    OWN = "own"
    INSPECTION_RESULTS = "inspection-results"


File = Annotated[
    Path,
    typer.Argument(
        exists=True,
        dir_okay=False,
        metavar=say("文件", "FILE"),
        help=say("CSV（可为 .gz）或 XLSX 文件", "CSV (plain or .gz) or XLSX file"),
    ),
]
Mapped = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar=say("字段=列名", "FIELD=COLUMN"),
        help=say("字段对应的列名，可多次使用", "which column a field stands in; repeatable"),
    ),
]
Region = Annotated[
    str,
    typer.Option(
        "--region",
        metavar=say("代码", "CODE"),
        help=say("未注明区划的对象所在区划", "region of sites whose rows name none"),
    ),
]
Unit = Annotated[
    str,
    typer.Option(
        "--unit", metavar="units/…", help=say("未注明单位的对象的责任单位", "unit of sites whose rows name none")
    ),
]
SourceRegion = Annotated[
    str,
    typer.Option(
        "--source-region",
        metavar=say("代码", "CODE"),
        help=say(
            "旧编号所属台账的区划；编号只在该区划的台账内唯一（默认为您岗位所在区划，全国岗位为全国台账）",
            "region whose register the legacy ids come from; they are unique within it"
            " (default: the region of your post; the nationwide register for a nationwide post)",
        ),
    ),
]
NoSites = Annotated[
    bool,
    typer.Option(
        "--no-sites",
        help=say("检查对象已另行导入，不再创建或更新", "the sites are there already: neither create nor update them"),
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help=say("只检查，不保存", "check everything, keep nothing"))]
Errors = Annotated[
    Path | None,
    typer.Option(
        "--errors",
        help=say(
            "被拒绝的行写入该文件（默认为当前目录下的 文件名.errors.csv）",
            "refused rows go here (default: FILE.errors.csv in this directory)",
        ),
    ),
]
Encoding = Annotated[
    str,
    typer.Option(
        "--encoding",
        help=say(
            "CSV 编码，默认自动识别（UTF-8、UTF-16、GB 18030）",
            "encoding of a CSV file; UTF-8, UTF-16 and GB 18030 are recognised by themselves",
        ),
    ),
]
Delimiter = Annotated[
    str,
    typer.Option(
        "--delimiter",
        help=say(
            "CSV 分隔符（一个字符，或 tab），默认自动识别（逗号、制表符、分号、竖线）",
            "delimiter of a CSV file, one character or tab; comma, tab, semicolon and bar are recognised by themselves",
        ),
    ),
]
Sheet = Annotated[
    str, typer.Option("--sheet", help=say("工作表名，默认第一张", "sheet of a workbook, the first by default"))
]


def register(app: typer.Typer) -> None:
    """Add ``dutyloop import``."""
    added = FramedTyper(help=say("导入旧系统数据；中断后重新运行即可继续", "legacy data; after a cut, run it again"))
    added.command("regions", help=say("导入行政区划（上级在前）", "regions, parents before children"))(regions)
    added.command("sites", help=say("导入检查对象", "sites"))(sites)
    added.command("visits", help=say("导入检查记录", "visits"))(visits)
    added.command("hazards", help=say("导入隐患台账或检查结果", "a hazard ledger, or inspection results"))(hazards)
    app.add_typer(added, name="import")


def regions(
    file: File,
    columns: Mapped = None,
    encoding: Encoding = "",
    delimiter: Delimiter = "",
    sheet: Sheet = "",
    dry_run: DryRun = False,
    errors: Errors = None,
    person: Person = None,
    as_json: AsJson = False,
) -> None:
    """Import regions."""
    source = Source(file, REGIONS, _chosen(columns), _format(encoding, delimiter, sheet))
    _run(ImportRun("regions", source, Place(), dry_run, errors, person, as_json))


def sites(
    file: File,
    columns: Mapped = None,
    region: Region = "",
    unit: Unit = "",
    source_region: SourceRegion = "",
    encoding: Encoding = "",
    delimiter: Delimiter = "",
    sheet: Sheet = "",
    dry_run: DryRun = False,
    errors: Errors = None,
    person: Person = None,
    as_json: AsJson = False,
) -> None:
    """Import sites."""
    source = Source(file, SITES, _chosen(columns), _format(encoding, delimiter, sheet))
    _run(ImportRun("sites", source, Place(region, unit), dry_run, errors, person, as_json, source_region=source_region))


def visits(
    file: File,
    columns: Mapped = None,
    region: Region = "",
    unit: Unit = "",
    source_region: SourceRegion = "",
    no_sites: NoSites = False,
    encoding: Encoding = "",
    delimiter: Delimiter = "",
    sheet: Sheet = "",
    dry_run: DryRun = False,
    errors: Errors = None,
    person: Person = None,
    as_json: AsJson = False,
) -> None:
    """Import visits and, unless they are there already, their sites."""
    source = Source(file, VISITS, _chosen(columns), _format(encoding, delimiter, sheet))
    place = Place(region, unit)
    _run(ImportRun("visits", source, place, dry_run, errors, person, as_json, no_sites, source_region))


def hazards(
    file: File,
    layout: Annotated[
        HazardLayout,
        typer.Option(help=say("表格布局：自有布局，或检查结果", "our own layout, or a ledger of inspection results")),
    ] = HazardLayout.OWN,
    columns: Mapped = None,
    region: Region = "",
    unit: Unit = "",
    source_region: SourceRegion = "",
    no_sites: NoSites = False,
    encoding: Encoding = "",
    delimiter: Delimiter = "",
    sheet: Sheet = "",
    dry_run: DryRun = False,
    errors: Errors = None,
    person: Person = None,
    as_json: AsJson = False,
) -> None:
    """Import hazards; of inspection results the visits too."""
    chosen = RESULTS if layout is HazardLayout.INSPECTION_RESULTS else HAZARDS
    source = Source(file, chosen, _chosen(columns), _format(encoding, delimiter, sheet))
    kind, place = f"hazards/{layout}", Place(region, unit)
    _run(ImportRun(kind, source, place, dry_run, errors, person, as_json, no_sites, source_region))


def items(
    responsibility_list: Annotated[
        str, typer.Argument(metavar="responsibilityLists/…", help=say("责任清单草稿", "the draft that takes the items"))
    ],
    file: File,
    columns: Mapped = None,
    encoding: Encoding = "",
    delimiter: Delimiter = "",
    sheet: Sheet = "",
    dry_run: DryRun = False,
    errors: Errors = None,
    person: Person = None,
    as_json: AsJson = False,
) -> None:
    """Import duty items into a draft; ``dutyloop lists import-items``.

    Items are merged by number, so that running it again does no harm. It is another import each time: a stored
    answer would keep a table from being taken in again after another had changed the draft.
    """
    draft = _draft(responsibility_list)
    source = Source(file, DUTY_ITEMS, _chosen(columns), _format(encoding, delimiter, sheet))
    run = ImportRun(f"items/{draft}/{new_request_id()}", source, Place(), dry_run, errors, person, as_json)
    _run(run, responsibility_list=draft)


def _draft(text: str) -> str:
    request = duty_pb2.ImportDutyItemsRequest()
    try:
        put_value(request, request.DESCRIPTOR.fields_by_name["responsibility_list"], text)
    except ValueProblem as problem:
        raise typer.BadParameter(f"{label('responsibility_list')}: {problem}") from problem
    return request.responsibility_list


def _chosen(columns: Sequence[str] | None) -> Mapping[str, str]:
    chosen = {}
    for text in columns or ():
        name, equals, column = text.partition("=")
        if not equals or not name or not column:
            raise typer.BadParameter(say("应为 字段=列名", "must be FIELD=COLUMN"), param_hint="--map")
        chosen[name.strip()] = column.strip()
    return chosen


def _format(encoding: str, delimiter: str, sheet: str) -> Format:
    one = "\t" if delimiter.lower() in ("tab", "\\t") else delimiter
    if len(one) > 1:
        raise typer.BadParameter(say("应为一个字符或 tab", "must be one character or tab"), param_hint="--delimiter")
    return Format(encoding, one, sheet)


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


def _run(run: ImportRun, **into: str) -> None:
    source = run.source
    try:
        columns = source.columns()
        content = sha256_of(source.path)
        total = source.count()
        send = sender(Connection(run.person), into)
        with _progress(total) as advance, _told_how_to_resume(run):
            outcome = carry_out(run, columns, run.key(content), send, advance)
        figures = source.layout.figures
        counted = asdict(figures(source.rows)) if figures else None
    except SheetError as error:
        fail(str(error), Exit.USAGE)
    _report(run, content, outcome, counted)
    if outcome.rejected:
        leave(Exit.MISMATCH)


@contextmanager
def _progress(total: int) -> Iterator[Callable[[str, int], None]]:
    shown = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=err,
        disable=not err.is_terminal,
    )
    tasks: dict[str, TaskID] = {}

    def advance(phase: str, rows: int) -> None:
        if phase not in tasks:
            for task in tasks.values():
                shown.stop_task(task)
            tasks[phase] = shown.add_task(label(phase), total=total)
        shown.advance(tasks[phase], rows)

    with shown:
        yield advance


@contextmanager
def _told_how_to_resume(run: ImportRun) -> Iterator[None]:
    try:
        yield
    except (DomainError, KeyboardInterrupt):
        if not run.dry_run:
            err.print(
                say(
                    "导入中断；用同样的参数重新运行即可继续，已完成的部分不会重复",
                    "the import was cut; run the same command again to go on: what is done is not done twice",
                )
            )
        raise


def _report(run: ImportRun, content: str, outcome: Outcome, figures: Mapping[str, Any] | None) -> None:
    path = run.errors_path()
    if outcome.faults or path.exists():
        try:
            write_errors(path, outcome.faults)
        except OSError as error:
            fail(worded(Failure("unwritable", path=path, reason=error)))
    if run.as_json:
        print_json(
            {
                "file": str(run.source.path),
                "sha256": content,
                "dry_run": run.dry_run,
                "phases": {name: asdict(tally) for name, tally in outcome.tallies.items()},
                "rejected": outcome.rejected,
                "errors_file": str(path) if outcome.faults else None,
                "derived": _text_keys(figures),
            }
        )
        return
    title = say("导入（试运行，未保存）", "import (dry run, nothing kept)") if run.dry_run else say("导入", "import")
    headings = [
        "",
        say("行", "rows"),
        say("新建", "created"),
        say("更新", "updated"),
        say("未变", "unchanged"),
        say("拒绝", "rejected"),
    ]
    if run.dry_run:
        headings.append(say("未检查", "unchecked"))
    counts = ((label(name), *asdict(tally).values()) for name, tally in outcome.tallies.items())
    print_table(title, headings, (row[: len(headings)] for row in counts))
    for name, value in (_text_keys(figures) or {}).items():
        out.print(f"{label(name)}: {_figure(value)}", highlight=False, markup=False)
    if not any(tally.rows for tally in outcome.tallies.values()):
        err.print(say("文件中列名之下没有数据", "the file has no rows below its headings"))
    if outcome.faults:
        err.print(say(f"被拒绝的行见 {path}", f"the refused rows are in {path}"), highlight=False, markup=False)
    if not run.dry_run:
        out.print(say("可放心重复运行：同一文件不会重复导入", "safe to run again: the same file is not taken in twice"))


WORDS: Mapping[str, str] = {
    word: enum_word(enum, number)
    for enum in (hazard_pb2.HazardGrade.DESCRIPTOR, hazard_pb2.Disposition.DESCRIPTOR)
    for word, number in enum_words(enum).items()
}


def _figure(value: Any) -> str:
    """Write a figure, or one for each year or kind, for people."""
    if not isinstance(value, Mapping):
        return str(value)
    return ", ".join(f"{WORDS.get(key, label(key))} {count}" for key, count in value.items())


def _text_keys(figures: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    if figures is None:
        return None
    return {
        name: {str(key): each for key, each in value.items()} if isinstance(value, Mapping) else value
        for name, value in figures.items()
    }
