"""The same three calls as FastAPI and SQLAlchemy's asyncio ORM would serve them; no authentication, no policy.

Run by uvicorn as ``tests.bench.peers.fastapi_app:app``.
"""

from datetime import date, datetime, timedelta, timezone
from typing import Any

from fastapi import Depends, FastAPI, HTTPException
from pydantic import BaseModel, ConfigDict
from sqlalchemy import ARRAY, URL, Date, ForeignKey, LargeBinary, Text, func, insert, select
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from tests.bench.peers.entry import ACTOR, entry_of, light_of, login

BEIJING = timezone(timedelta(hours=8))


class Base(DeclarativeBase):
    type_annotation_map = {  # noqa: RUF012 (SQLAlchemy's own form)
        str: Text,
        list[str]: ARRAY(Text),
        bytes: LargeBinary,
        list[bytes]: ARRAY(LargeBinary),
        datetime: TIMESTAMP(timezone=True),
        date: Date,
    }


class AnnualList(Base):
    __tablename__ = "annual_task_list"
    id: Mapped[str] = mapped_column(primary_key=True)
    task_count: Mapped[int]


class Task(Base):
    __tablename__ = "task"
    id: Mapped[str] = mapped_column(primary_key=True)
    revision: Mapped[int]
    annual_task_list_id: Mapped[str] = mapped_column(ForeignKey("annual_task_list.id"))
    duty_item: Mapped[str]
    title: Mapped[str]
    unit: Mapped[str]
    post: Mapped[str]
    region_code: Mapped[str]
    unit_path: Mapped[str]
    scheduled_date: Mapped[date]
    due_date: Mapped[date]
    expected_evidence: Mapped[list[str]]
    state: Mapped[str]
    progress_percent: Mapped[int]
    remark: Mapped[str]
    evidence_types: Mapped[list[str]]
    evidence_references: Mapped[list[str]]
    submitter: Mapped[str]
    submit_time: Mapped[datetime | None]
    confirmer: Mapped[str]
    done_time: Mapped[datetime | None]
    reject_reason: Mapped[str]
    supervision_case: Mapped[str]

    @property
    def due_time(self) -> datetime:
        """Return the first instant after the term."""
        return datetime.combine(self.due_date + timedelta(days=1), datetime.min.time(), BEIJING)

    @property
    def light(self) -> str:
        return light_of(self.state, self.due_time.timestamp())[0]

    @property
    def overdue(self) -> bool:
        return light_of(self.state, self.due_time.timestamp())[1]


class Command(Base):
    __tablename__ = "command"
    principal: Mapped[str] = mapped_column(primary_key=True)
    method: Mapped[str] = mapped_column(primary_key=True)
    request_id: Mapped[str] = mapped_column(primary_key=True)
    body_hash: Mapped[bytes]
    answer: Mapped[bytes]
    receipts: Mapped[list[bytes]]


class Entry(Base):
    __tablename__ = "entry"
    __table_args__ = {"schema": "ledger"}  # noqa: RUF012 (SQLAlchemy's own form)
    id: Mapped[str] = mapped_column(primary_key=True)
    type: Mapped[str]
    actor: Mapped[str]
    business_time: Mapped[datetime]
    recorded_time: Mapped[datetime]
    objects: Mapped[list[str]]
    region_code: Mapped[str]
    unit_path: Mapped[str]
    request_id: Mapped[str]
    workflow_id: Mapped[str]
    on_behalf_of: Mapped[str]
    method: Mapped[str]
    policy_version: Mapped[str]
    envelope: Mapped[bytes]
    salt: Mapped[bytes]
    payload: Mapped[bytes]
    leaf_hash: Mapped[bytes]


class TaskOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    id: str
    revision: int
    annual_task_list_id: str
    duty_item: str
    title: str
    unit: str
    post: str
    region_code: str
    scheduled_date: date
    due_date: date
    due_time: datetime
    expected_evidence: list[str]
    state: str
    progress_percent: int
    remark: str
    evidence_types: list[str]
    evidence_references: list[str]
    submitter: str
    submit_time: datetime | None
    confirmer: str
    done_time: datetime | None
    reject_reason: str
    supervision_case: str
    light: str
    overdue: bool


class TasksOut(BaseModel):
    tasks: list[TaskOut]
    next_page_token: str
    total_size: int


class ProgressIn(BaseModel):
    request_id: str
    task: str
    progress_percent: int
    remark: str = ""


name, folder, password = login()
engine = create_async_engine(
    URL.create("postgresql+asyncpg", "plan", password, database=name, query={"host": folder}),
    pool_size=5,
    max_overflow=0,
    connect_args={"server_settings": {"search_path": "plan"}},
)
sessions = async_sessionmaker(engine, expire_on_commit=False)
app = FastAPI()


async def session_of() -> Any:
    """Give each request a session."""
    async with sessions() as session:
        yield session


@app.get("/tasks/{task_id}", response_model=TaskOut)
async def get_task(task_id: str, session: AsyncSession = Depends(session_of)) -> Any:  # noqa: B008 (FastAPI's form)
    """Read one task."""
    task = await session.get(Task, task_id)
    if task is None:
        raise HTTPException(404)
    return task


@app.get("/tasks", response_model=TasksOut)
async def list_tasks(annual_list: str, page_size: int = 100, session: AsyncSession = Depends(session_of)) -> Any:  # noqa: B008
    """Read a page of tasks, first due first."""
    wanted = select(Task).where(Task.annual_task_list_id == annual_list)
    tasks = (await session.scalars(wanted.order_by(Task.due_date, Task.id).limit(page_size + 1))).all()
    counted = select(func.sum(AnnualList.task_count)).where(AnnualList.id == annual_list)
    total = await session.scalar(counted)
    token = tasks[page_size - 1].id if len(tasks) > page_size else ""
    return {"tasks": tasks[:page_size], "next_page_token": token, "total_size": total}


@app.post("/progress", response_model=TaskOut)
async def report_progress(given: ProgressIn, session: AsyncSession = Depends(session_of)) -> Any:  # noqa: B008
    """Note progress: the row, an audit row and the stored answer, in one transaction."""
    async with session.begin():
        task = await session.scalar(select(Task).where(Task.id == given.task, Task.state == "OPEN").with_for_update())
        if task is None:
            raise HTTPException(409)
        task.progress_percent, task.remark, task.revision = given.progress_percent, given.remark, task.revision + 1
        objects = [task.id, task.annual_task_list_id, task.duty_item, task.post]
        payload = {"progress_percent": given.progress_percent, "remark": given.remark, "overdue": task.overdue}
        entry = entry_of("progressed", objects, payload, task.region_code, task.unit_path, given.request_id)
        answer = TaskOut.model_validate(task)
        await session.execute(insert(Entry).values(**entry))
        stored = upsert(Command).values(
            principal=ACTOR,
            method="fastapi",
            request_id=given.request_id,
            body_hash=bytes(32),
            answer=answer.model_dump_json().encode(),
            receipts=[entry["leaf_hash"]],
        )
        if (await session.execute(stored.on_conflict_do_nothing().returning(Command.request_id))).first() is None:
            raise HTTPException(409)
    return answer
