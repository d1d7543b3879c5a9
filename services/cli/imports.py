"""``dutyloop import``: legacy tables brought in, what the commands take and what they tell of a run."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from dutyloop.duty.v1 import duty_pb2
from dutyloop.hazard.v1 import hazard_pb2
from services.cli.bodies import ValueProblem
from services.cli.connection import Connection
from services.cli.duty_items import DUTY_ITEMS
from services.cli.fields import enum_word, enum_words, put_value
from services.cli.frame import FramedTyper
from services.cli.import_runs import ImportRun, Outcome, Source, carry_out, sender
from services.cli.layouts import (
    HAZARDS,
    REGIONS,
    RESULTS,
    SITES,
    VISITS,
    Place,
)
from services.cli.output import Exit, err, fail, leave, out, print_json, print_table
from services.cli.sheets import Format, SheetError, sha256_of, write_errors
from services.cli.verbs import AsJson, Person, new_request_id
from services.cli.words import label, say, worded
from services.kit.errors import DomainError
from services.kit.failures import Failure


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
