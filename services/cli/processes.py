"""Process commands: up, down, status, serve, worker, migrate, token."""

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Annotated

import orjson
import psutil
import typer
import uvloop

from infra.demo import run as demo_run
from infra.embedded.postgres_leftovers import find_orphans, remove_orphans
from infra.embedded.process import DirectoryLock
from infra.embedded.stack import Stack, StackConfig, StackError, running_environment
from services.cli.connection import issue_token, take_data_dir, use_running_stack
from services.cli.demo import DemoProgress, figure_rows
from services.cli.output import Exit, err, fail, leave, out, print_json, print_table
from services.cli.status import show_status
from services.cli.verbs import AsJson
from services.cli.words import say, worded
from services.directory.bootstrap import bootstrap
from services.kit import migrate as migrations
from services.kit import serve as hosting
from services.kit.contexts import CONTEXTS
from services.kit.failures import Failure
from services.kit.settings import settings
from workflows import worker as worker_process

DOWN_SECONDS = 60.0
DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", help=say("数据目录（默认 build/stack）", "data directory (default build/stack)")),
]


def register(app: typer.Typer) -> None:
    """Add the process commands."""
    app.command(help=say("启动整套嵌入式系统", "start the whole embedded stack"))(up)
    app.command(help=say("在嵌入式系统上完整演示一座城市的百日行动", "live through a city's campaign, embedded"))(demo)
    app.command(help=say("停止正在运行的嵌入式系统", "stop the running embedded stack"))(down)
    app.command(help=say("查看嵌入式系统状态", "show the embedded stack's state"))(status)
    app.command(
        help=say("列出或删除数据目录已不存在的数据库集簇", "list or remove clusters of deleted data directories")
    )(clean)
    app.command(help=say("单独运行若干服务", "serve some services on their own"))(serve)
    app.command(help=say("单独运行流程执行器", "run the workflow worker on its own"))(worker)
    app.command(help=say("升级数据库结构", "bring the database schema up to date"))(migrate)
    app.command(help=say("签发开发用访问令牌", "issue a development access token"))(token)


def up(
    data: DataDir = None,
    port: Annotated[int, typer.Option(help=say("gRPC 端口", "gRPC port"))] = 7400,
    temporal_port: Annotated[int, typer.Option(help=say("Temporal 端口", "Temporal port"))] = 7233,
    ui_port: Annotated[
        int, typer.Option(help=say("Temporal 界面端口，0 为不启用", "Temporal UI port, 0 for none"))
    ] = 8233,
    with_demo: Annotated[
        bool,
        typer.Option("--demo", help=say("启动后放入演示城市（虚拟时间）", "put the demo's city in (virtual time)")),
    ] = False,
    scale: Annotated[int, typer.Option(min=1, max=10, help=say("演示规模除数", "divides the demo"))] = 1,
    virtual_time: Annotated[
        bool, typer.Option("--virtual-time", help=say("启用虚拟时间（演示、测试）", "virtual time (demos, tests)"))
    ] = False,
) -> None:
    """Start everything, print where it is, and run until Ctrl-C."""
    directory = take_data_dir(data)
    config = StackConfig(
        data_dir=directory,
        grpc_port=port,
        temporal_port=temporal_port,
        ui_port=ui_port or None,
        virtual_time=virtual_time or with_demo,
    )

    async def main() -> None:
        stack = Stack(config)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stack.ask_to_stop)
        told = None
        if with_demo and not DirectoryLock.is_held(directory / "lock"):
            told = demo_run.told_before(directory)
        try:
            await stack.start()
            out.print(say(f"dutyloop 已启动：gRPC {stack.grpc_address}", f"dutyloop is up: gRPC {stack.grpc_address}"))
            if stack.virtual_time:
                out.print(say("此数据目录使用虚拟时间", "this data directory lives in virtual time"))
            if told is not None:
                out.print(say("演示城市已在此数据目录中", "the demo's city is in this data directory already"))
                _show(told)
            elif with_demo and not await _put_the_city_in(stack, scale):
                return
            if stack.temporal_ui_url:
                out.print(say(f"流程界面：{stack.temporal_ui_url}", f"workflow UI: {stack.temporal_ui_url}"))
            out.print(say("按 Ctrl-C 停止", "Ctrl-C stops it"))
            await stack.wait()
        finally:
            await stack.stop()

    try:
        asyncio.run(main())
    except StackError as error:
        fail(worded(error))
    leave(Exit.OK)


async def _put_the_city_in(stack: Stack, scale: int) -> bool:
    """Play the demo's story on a running stack; False when it was stopped on the way."""
    with DemoProgress() as progress:
        outcome = await demo_run.tell(stack, scale, progress.show)
    if outcome is None:
        words = ("演示被中断，请使用空的数据目录", "the demo was interrupted: use an empty data directory")
        err.print(say(*words))
        return False
    _show(outcome)
    return True


def _show(outcome: demo_run.Outcome, *, as_json: bool = False) -> None:
    """Print the demo's figures, what of them does not match, and a note when the run took longer than it should."""
    if as_json:
        print_json({**outcome.figures, "ok": not outcome.mismatches})
    else:
        print_table(say("演示结果", "demo"), ("", ""), figure_rows(outcome.figures))
    seconds, limit = outcome.figures["wall_seconds"], outcome.figures["wall_seconds_limit"]
    if seconds > limit:
        words = (f"用时 {seconds} 秒，超过 {limit} 秒", f"note: it took {seconds} s, more than {limit} s")
        err.print(say(*words), highlight=False)
    if outcome.mismatches:
        count = len(outcome.mismatches)
        err.print(say(f"演示结果有 {count} 处不符：", f"the demo does not match in {count} places:"), style="red")
    for mismatch in outcome.mismatches:
        # Not as markup: a list among the figures would vanish.
        err.print(say(*mismatch), style="red", highlight=False, markup=False)


def down(data: DataDir = None, as_json: AsJson = False) -> None:
    """Ask the running stack to stop and wait until it has."""
    directory = take_data_dir(data)
    pid = _running_pid(directory)

    def told(words: str) -> None:
        if as_json:
            print_json({"stopped": pid})
        else:
            out.print(words)

    if pid is None:
        told(say("没有正在运行的系统", "nothing is running"))
        return
    os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + DOWN_SECONDS
    while time.monotonic() < end:
        if not psutil.pid_exists(pid):
            told(say("已停止", "stopped"))
            return
        time.sleep(0.2)
    fail(say(f"进程 {pid} 未能停止", f"process {pid} did not stop"), Exit.UNAVAILABLE)


def demo(
    scale: Annotated[
        int, typer.Option(min=1, max=10, help=say("规模除数（10 为十分之一）", "divides the campaign"))
    ] = 1,
    report: Annotated[Path, typer.Option(help=say("结果文件", "report file"))] = Path("build/demo.json"),
    as_json: AsJson = False,
) -> None:
    """Run the main job on an embedded stack of its own; the last line says DEMO OK, or what does not match."""
    with DemoProgress() as progress:
        try:
            outcome = asyncio.run(demo_run.demo(Path("build/demo").absolute(), scale, progress.show))
        except StackError as error:
            fail(worded(error))
    demo_run.write_report(outcome, scale, report)
    _show(outcome, as_json=as_json)
    if outcome.mismatches:
        fail(say("演示结果不符", "the demo does not match"), Exit.MISMATCH)
    if not as_json:
        out.print("DEMO OK")
    leave(Exit.OK)


def _running_pid(directory: Path) -> int | None:
    try:
        running_environment(directory)
        pid: int = orjson.loads((directory / "status.json").read_bytes())["pid"]
    except (StackError, OSError, KeyError, ValueError):
        return None
    return pid


def status(data: DataDir = None, as_json: AsJson = False) -> None:
    """Show what runs and where; exit 5 when nothing does."""
    directory = take_data_dir(data)
    tell_of_orphans()
    if _running_pid(directory) is None:
        err.print(say("没有正在运行的系统", "nothing is running"))
        leave(Exit.UNAVAILABLE)
    found = orjson.loads((directory / "status.json").read_bytes())
    if as_json:
        print_json(found)
    else:
        use_running_stack()
        show_status(found, directory)


def tell_of_orphans() -> None:
    """Mention clusters whose data directory is gone, when there are any."""
    orphans = len(find_orphans())
    if orphans:
        words = (
            f"有 {orphans} 个数据库集簇的数据目录已不存在：dutyloop clean",
            f"{orphans} clusters have lost their data directory: dutyloop clean",
        )
        err.print(say(*words), highlight=False)


def clean(
    remove: Annotated[
        bool, typer.Option("--remove", help=say("删除所列集簇，无法恢复", "delete what is listed, for good"))
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the clusters that root's stacks have left where the data directory is gone; delete them when told to."""
    try:
        found = find_orphans()
        removed = remove_orphans(found) if remove else []
    except (StackError, OSError) as error:
        fail(worded(error))
    if as_json:
        print_json(
            [
                {"cluster": str(each.home), "data_dir": str(each.data_dir), "bytes": each.size_bytes}
                | {"removed": each in removed}
                for each in found
            ]
        )
        return
    columns = (say("集簇", "cluster"), say("原数据目录", "data directory it had"), "MiB")
    rows = [(each.home, each.data_dir, each.size_bytes >> 20) for each in found]
    print_table(say("数据目录已不存在的集簇", "clusters of deleted data directories"), columns, rows)
    if remove:
        out.print(say(f"已删除 {len(removed)} 个", f"{len(removed)} deleted"))
    elif found:
        words = (
            "若数据目录只是被移动或未挂载，请勿删除。确认后运行 dutyloop clean --remove",
            "a data directory that was only moved, or is not mounted, still needs its cluster;"
            " when you are sure: dutyloop clean --remove",
        )
        out.print(say(*words), highlight=False)


def serve(
    names: Annotated[list[str] | None, typer.Argument(help=say("服务名", "service names"))] = None,
    everything: Annotated[bool, typer.Option("--all", help=say("全部服务", "every service"))] = False,
) -> None:
    """Serve the named services, or all, in this process."""
    chosen = list(CONTEXTS) if everything else list(names or [])
    unknown = sorted(set(chosen) - set(CONTEXTS))
    if not chosen or unknown:
        known = ", ".join(CONTEXTS)
        fail(say(f"请给出服务名（{known}）", f"name services out of {known}"), Exit.USAGE)
    hosting.run(chosen)
    leave(Exit.OK)


def worker() -> None:
    """Run the workflow worker."""
    try:
        worker_process.run()
    except RuntimeError:  # what Temporal's client raises when nobody answers
        fail(worded(Failure("temporal_unreachable", address=settings().temporal_address)))
    leave(Exit.OK)


def migrate(as_json: AsJson = False) -> None:
    """Apply what migrations are missing, then create the first operator where there is none."""

    async def main() -> list[str]:
        applied = await migrations.migrate(settings())
        await bootstrap(settings())
        return applied

    use_running_stack()
    applied = uvloop.run(main())
    if as_json:
        print_json({"applied": applied})
        return
    for name in applied:
        out.print(name, highlight=False)
    out.print(say(f"已应用 {len(applied)} 项", f"{len(applied)} applied"))


def token(
    person: Annotated[str, typer.Option(help=say("人员，如 people/operator", "the person, such as people/operator"))],
    hours: Annotated[float, typer.Option(min=0.01, max=720, help=say("有效小时数", "hours of validity"))] = 1.0,
    data: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Print an access token of the development issuer."""
    take_data_dir(data)
    use_running_stack()
    issued = issue_token(person, int(hours * 3600))
    if as_json:
        print_json({"person": person, "token": issued})
    else:
        out.print(issued, highlight=False)
