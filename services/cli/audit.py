"""Verbs of the ledger: reading it, and checking it without trusting any service."""

import asyncio
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
import uvloop
from rich.progress import Progress
from temporalio.service import RPCError

from dutyloop.audit.v1 import audit_pb2
from dutyloop.audit.v1.audit_pb2_grpc import AuditServiceStub
from services.audit.checkpoints import parse_verifier_key, verifier_key
from services.audit.verify import Verification
from services.audit.verify import verify as verify_ledger
from services.cli.connection import Connection, nothing_runs, running_stack_file, take_data_dir, use_running_stack
from services.cli.follow import follow
from services.cli.output import Exit, err, fail, leave, out, print_json, print_table
from services.cli.processes import DataDir
from services.cli.verbs import AsJson, Person, Timeout, Verb, sub_app
from services.cli.words import say, worded
from services.kit import temporal
from services.kit.crypto import load_signing_key
from services.kit.db import NOT_LET_IN, UNREACHABLE
from services.kit.failures import Failure
from services.kit.settings import SettingsError, required, settings
from workflows import replay as replaying

EXPORT_SECONDS = 300.0
CHECK_SECONDS = 3_600.0


PROBLEMS: Mapping[str, tuple[str, str]] = {
    "missing_entry": ("记录缺失", "entries are missing"),
    "repeated_position": ("序号重复", "a position is taken twice"),
    "edited_envelope": ("记录信封被改动", "an envelope was edited"),
    "edited_payload": ("记录内容被改动", "a payload was edited"),
    "edited_column": ("记录列被改动", "a column was edited"),
    "wrong_node": ("哈希树节点不符", "a node of the hash tree is wrong"),
    "rewritten_log": ("已签署的记录被改写", "what was signed was rewritten"),
    "two_views": ("为同一台账签署了两个不同的版本", "two different logs were signed for one"),
    "truncated_tail": ("已签署的末尾记录缺失", "the signed tail was cut off"),
    "older_restore": ("数据库恢复到了更早的状态", "the database is an older state"),
    "bad_checkpoint": ("检查点无效", "a checkpoint is not valid"),
    "missing_checkpoint_file": ("检查点文件缺失", "the checkpoint file is missing"),
    "missing_receipt": ("已回执的记录缺失", "an acknowledged entry is missing"),
}
"""The kinds of what verification finds; beside each its own detail stands as it found it, in English."""


class ServerGone(Failure):
    """Temporal did not answer."""


def _show_checkpoint(answer: audit_pb2.Checkpoint) -> None:
    out.print(answer.note, highlight=False, markup=False)


VERBS = (
    Verb(
        "entries",
        "audit.ListLedgerEntries",
        columns=("position", "business_time", "type", "actor", "objects", "name"),
    ),
    Verb("show", "audit.GetLedgerEntry"),
    Verb("checkpoint", "audit.GetCheckpoint", show=_show_checkpoint),
    Verb("prove", "audit.GetInclusionProof"),
    Verb(
        "timeline",
        "audit.GetCaseTimeline",
        places=("case_name",),
        columns=("business_time", "actor", say("text_zh", "text_en")),
    ),
)


def register(app: typer.Typer) -> None:
    """Add ``dutyloop audit``."""
    added = sub_app(app, "audit", ("台账审计", "the ledger and its verification"), VERBS)
    added.command("verify", help=say("离线校验全部台账", "verify the whole ledger, offline"))(verify)
    added.command("replay", help=say("重放全部已结束的流程", "replay every closed workflow against the code"))(replay)
    added.command("verifier-key", help=say("检查点公钥", "the public key of the checkpoints"))(show_verifier_key)
    added.command(
        "follow", help=say("跟随台账新增记录（Ctrl-C 停止）", "follow the ledger as it grows; Ctrl-C stops it")
    )(follow)
    added.command("export", help=say("导出流程历史", "export a workflow's history"))(export)


@contextmanager
def _failing_clearly() -> Iterator[None]:
    """Turn what can go wrong with settings and servers into one line and an exit code."""
    try:
        yield
    except SettingsError as error:
        fail(worded(error) if running_stack_file().exists() else f"{worded(error)}\n{nothing_runs()}")
    except TimeoutError:
        fail(say("超时", "the time given was over"), Exit.UNAVAILABLE)
    except ServerGone as error:
        fail(worded(error), Exit.UNAVAILABLE)
    except NOT_LET_IN as error:
        fail(worded(Failure("database_refuses", error=error)))
    except UNREACHABLE as error:
        fail(worded(Failure("database_unreachable", error=error)), Exit.UNAVAILABLE)


def verify(
    key: Annotated[
        list[str] | None,
        typer.Option(
            metavar="VKEY",
            help=say(
                "检查点公钥（C2SP vkey 文本，可重复），默认取 DUTYLOOP_CHECKPOINT_VKEY_FILE",
                "public key of the checkpoints (C2SP vkey, may be repeated); default: DUTYLOOP_CHECKPOINT_VKEY_FILE",
            ),
        ),
    ] = None,
    data: DataDir = None,
    as_json: AsJson = False,
    timeout: Timeout = CHECK_SECONDS,
) -> None:
    """Recompute the ledger from the database as its reader; exit 6 when anything is wrong."""
    take_data_dir(data)
    use_running_stack()
    with _failing_clearly(), Progress(console=err, disable=not err.is_terminal) as shown:
        task = shown.add_task(say("校验", "verifying"), total=None)
        keys = [parse_verifier_key(each) for each in key or ()]

        def progress(done: int, total: int) -> None:
            shown.update(task, completed=done, total=total)

        async def check() -> Verification:
            async with asyncio.timeout(timeout):
                return await verify_ledger(settings(), keys=keys, progress=progress)

        found = uvloop.run(check())
    _report(found, as_json=as_json)
    if not found.ok:
        leave(Exit.MISMATCH)


def show_verifier_key(data: DataDir = None, as_json: AsJson = False) -> None:
    """Print the public half of the sequencer's key, for auditors and witnesses; needs the private key file."""
    take_data_dir(data)
    use_running_stack()
    with _failing_clearly():
        file = required(settings().checkpoint_key_file, "checkpoint_key_file")
        key = verifier_key(load_signing_key(file).public_key())
    if as_json:
        print_json({"verifier_key": key})
    else:
        out.print(key, highlight=False, markup=False)


def _report(found: Verification, *, as_json: bool) -> None:
    if as_json:
        print_json({**asdict(found), "root_hash": found.root_hash.hex(), "ok": found.ok})
        return
    if not found.ok:
        print_table(
            say("问题", "problems"),
            (say("序号", "position"), say("种类", "kind"), say("说明", "detail")),
            (
                ("-" if each.position is None else each.position, say(*PROBLEMS[each.kind]), each.detail)
                for each in found.problems
            ),
        )
    counted = {
        say("已定序记录", "entries"): found.entries,
        say("待定序", "not yet sequenced"): found.unsequenced,
        say("检查点", "checkpoints"): found.checkpoints,
        say("回执", "receipts"): found.receipts,
        say("秒", "seconds"): f"{found.seconds:.1f}",
    }
    counts = ", ".join(f"{name} {count}" for name, count in counted.items())
    verdict = say("台账完好", "the ledger is sound") if found.ok else say("台账有问题", "the ledger is NOT sound")
    out.print(f"{verdict}: {counts}", highlight=False)


def replay(data: DataDir = None, as_json: AsJson = False, timeout: Timeout = CHECK_SECONDS) -> None:
    """Replay every closed history against the present code; exit 6 when one does not come out the same."""
    take_data_dir(data)
    use_running_stack()
    with _failing_clearly(), Progress(console=err, disable=not err.is_terminal) as shown:
        task = shown.add_task(say("重放", "replaying"), total=None)

        def progress(done: int) -> None:
            shown.update(task, completed=done)

        found = uvloop.run(_replay(timeout, progress))
    if as_json:
        told = asdict(found)
        del told["workflow_ids"]
        print_json({**told, "ok": found.ok})
    else:
        for failure in found.failures:
            err.print(f"{failure.workflow} {failure.workflow_id}: {failure.cause}", highlight=False, markup=False)
        print_table(
            say("已重放", "replayed"), (say("流程", "workflow"), say("数量", "histories")), found.by_workflow.items()
        )
        counts = f"{found.replayed} ({found.events}), {len(found.failures)}, {found.seconds:.1f} s"
        out.print(
            say(f"历史（事件）、失败、用时：{counts}", f"histories (events), failures, time: {counts}"), highlight=False
        )
    if not found.ok:
        leave(Exit.MISMATCH)


async def _replay(timeout: float, progress: replaying.Progress) -> replaying.ReplayReport:
    async with asyncio.timeout(timeout):
        try:
            client = await temporal.connect(settings(), lazy=False)
        except RuntimeError as error:  # what Temporal's client raises when nobody answers
            raise ServerGone("temporal_unreachable", address=settings().temporal_address) from error
        try:
            return await replaying.replay_closed(client, progress=progress)
        except* RPCError as errors:
            raise ServerGone("temporal_refuses", error=errors.exceptions[0]) from errors


def export(
    workflow_id: Annotated[str, typer.Argument(metavar="WORKFLOW_ID", help=say("流程编号", "workflow id"))],
    target: Annotated[Path, typer.Option("--out", dir_okay=False, help=say("写入的文件", "file to write"))],
    run_id: Annotated[
        str, typer.Option("--run-id", help=say("运行编号，默认最近一次", "run id, the latest by default"))
    ] = "",
    person: Person = None,
    as_json: AsJson = False,
    timeout: Timeout = EXPORT_SECONDS,
) -> None:
    """Write a history as JSON; the file appears only when its hash is right."""
    connection = Connection(person)
    stub = connection.stub(AuditServiceStub)
    request = audit_pb2.ExportHistoryRequest(workflow_id=workflow_id, run_id=run_id)
    unfinished = target.with_name(target.name + ".part")
    digest = hashlib.sha256()
    written: dict[str, Any] = {"workflow_id": workflow_id, "file": str(target)}
    try:
        with unfinished.open("wb") as file:
            expected = b""
            for message in connection.stream(stub.ExportHistory, request, timeout):
                file.write(message.chunk)
                digest.update(message.chunk)
                written |= {
                    name.name: value for name, value in message.ListFields() if name.name not in ("chunk", "sha256")
                }
                expected = message.sha256 or expected
        if digest.digest() != expected:
            unfinished.unlink()
            fail(say("导出内容与其哈希不符", "what arrived does not match its hash"), Exit.MISMATCH)
        unfinished.replace(target)
    except BaseException as error:
        with suppress(OSError):
            unfinished.unlink()
        if isinstance(error, OSError):
            fail(worded(Failure("unwritable", path=target, reason=error)))
        raise
    written["sha256"] = digest.hexdigest()
    if as_json:
        print_json(written)
    else:
        print_table(say("导出", "exported"), ("", ""), written.items())
