"""What every case workflow shares: business time, retry policies, and refusals that people understand."""

from datetime import UTC, datetime, timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

SERVICE_CALL = RetryPolicy(
    initial_interval=timedelta(milliseconds=200), backoff_coefficient=2, maximum_interval=timedelta(seconds=30)
)
"""For activities that call our services: infrastructure trouble is retried until it passes."""
SERVICE_CALL_TIMEOUT = timedelta(seconds=20)
FOREVER = timedelta(days=3_650)
"""A bound for waits that only an action ends; the wait is then simply renewed."""


class CaseClock:
    """Business time of one case: the time at which it opened, plus the workflow time since."""

    def __init__(self, opened: datetime) -> None:
        self._opened = opened
        self._started = workflow.info().start_time

    def now(self) -> datetime:
        """Return business time (aware, UTC)."""
        return (self._opened + (workflow.now() - self._started)).astimezone(UTC)


class Steps:
    """Names the steps of one run: a step done over, because the worker died in it, has the name it had.

    Within an update the name is the update's: a plain count would depend on which of several came first,
    and their order is not fixed until the worker has answered.
    """

    def __init__(self) -> None:
        self._count = 0

    def next(self) -> str:
        """Return the name of the step that begins now; an update has one."""
        info, update = workflow.info(), workflow.current_update_info()
        if update is None:
            self._count += 1
        return f"{info.workflow_id}:{info.run_id}:{update.id if update else self._count}"


def refuse(reason: str, **metadata: str) -> ApplicationError:
    """Return the failure that the caller is answered with: a catalogued reason, never retried."""
    return ApplicationError(reason, metadata, type=reason, non_retryable=True)


def wrong_state(state: str, action: str) -> ApplicationError:
    """Refuse an action that the state does not allow."""
    return refuse("WRONG_STATE", state=state, action=action)


def same_person(person: str, first: str, second: str) -> ApplicationError:
    """Refuse a second step by the person who did the first."""
    return refuse("SEPARATION_OF_DUTIES", person=person, first=first, second=second)
