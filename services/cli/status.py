"""What ``dutyloop status`` tells people: which parts run, whether they answer, where, since when and on what data."""

import importlib.metadata
import socket
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import psutil
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.cli.cells import instant_text, yes_or_no
from services.cli.output import print_table
from services.cli.tables import print_fields
from services.cli.words import say
from services.kit.settings import settings
from services.kit.tls import channel_credentials

ANSWER_SECONDS = 3.0
Rows = Iterator[tuple[str, str, str, str]]


def show_status(found: Mapping[str, Any], data_dir: Path) -> None:
    """Print the parts of a running stack, and what it is."""
    headings = (say("部件", "part"), say("状态", "state"), say("地址", "address"), say("进程号", "process id"))
    print_table(say("部件", "parts"), headings, part_rows(found))
    print_fields(facts(found, data_dir, datetime.now(UTC)))


def part_rows(found: Mapping[str, Any]) -> Rows:
    """Yield each part: what it is called, how it is, where it listens and which process it is."""
    pids: Mapping[str, int] = found["pids"]
    own = say("自备服务器", "your own server")
    database = say("数据库（PostgreSQL）", "database (PostgreSQL)")
    if found["external_database"]:
        yield database, say("未检查", "not checked"), own, ""
    else:
        yield database, _state(pids["postgres"]), say("仅限本机套接字", "a local socket only"), str(pids["postgres"])
    for part, words, address, answers in (
        ("temporal", ("流程引擎（Temporal）", "workflow engine (Temporal)"), found["temporal_address"], _is_listening),
        ("services", ("服务（gRPC）", "services (gRPC)"), found["grpc_address"], _is_serving),
    ):
        where = f"{address} ({own})" if part not in pids else address
        yield say(*words), _state(pids.get(part), answers(address)), where, str(pids.get(part, ""))
    if "worker" in pids:
        yield say("流程执行器", "workflow worker"), _state(pids["worker"]), "", str(pids["worker"])


def facts(found: Mapping[str, Any], data_dir: Path, now: datetime) -> Iterator[tuple[str, str]]:
    """Yield what there is to say of the whole."""
    started = datetime.fromisoformat(found["started_at"])
    yield say("版本", "version"), importlib.metadata.version("dutyloop")
    yield say("启动于", "running since"), f"{instant_text(started)} ({_lasting(now - started)})"
    yield say("数据目录", "data directory"), str(data_dir)
    yield say("虚拟时间", "virtual time"), yes_or_no(found["virtual_time"])
    yield say("流程界面", "workflow UI"), found["temporal_ui_url"] or say("未启用", "none")
    yield say("主进程号", "process id"), str(found["pid"])


def _state(pid: int | None, answers: bool | None = None) -> str:
    """Word how a part is; one that listens nowhere is known by its process alone."""
    if pid is not None and not psutil.pid_exists(pid):
        return say("已停止", "gone")
    if answers is None:
        return say("运行中", "running")
    return say("正常", "answers") if answers else say("无应答", "does not answer")


def _is_listening(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), ANSWER_SECONDS):
            return True
    except (OSError, ValueError):
        return False


def _is_serving(address: str) -> bool:
    tls = channel_credentials(settings(), address)
    with grpc.secure_channel(address, tls) if tls else grpc.insecure_channel(address) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(service=""), timeout=ANSWER_SECONDS
            )
        except grpc.RpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def _lasting(duration: timedelta) -> str:
    """Write how long something lasts, in days, hours and minutes."""
    minutes = max(0, int(duration.total_seconds())) // 60
    days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
    units = ((days, "天", "d"), (hours, "小时", "h"), (minutes, "分钟", "min"))
    shown = [say(f"{count} {zh}", f"{count} {en}") for count, zh, en in units if count]
    return say("已运行 ", "for ") + (" ".join(shown) or say("不到 1 分钟", "less than a minute"))
