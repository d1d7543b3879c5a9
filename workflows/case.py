"""What every case workflow shares: business time, retry policies, and refusals that people understand."""

from datetime import UTC, datetime, timedelta
from typing import Protocol

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from workflows.payloads import Asked, Outer

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


def step(*what: str) -> str:
    """Name the step that begins now, for whoever records it: a step done over has the name it had.

    Within an update it is the update's name; else it says ``what`` is done, once in the case's life. A count would
    not do, nor the run's id: after a crash the order of what comes side by side may be another, and the run, too.
    """
    info, update = workflow.info(), workflow.current_update_info()
    return f"{info.workflow_id}:{update.id if update else '.'.join(what)}"


class Acted(Protocol):
    """What a person asks of a case: the argument of one of its updates."""

    @property
    def outer(self) -> Outer:
        """Return the person's command."""


def asked(action: Acted | None) -> Asked | None:
    """Return what the update under way was asked, for its recording; None for what no person asked for."""
    update = workflow.current_update_info()
    return None if action is None or update is None else Asked(update.name, action)


def refuse(reason: str, **metadata: str) -> ApplicationError:
    """Return the failure that the caller is answered with: a catalogued reason, never retried."""
    return ApplicationError(reason, metadata, type=reason, non_retryable=True)


def wrong_state(state: str, action: str) -> ApplicationError:
    """Refuse an action that the state does not allow."""
    return refuse("WRONG_STATE", state=state, action=action)


def changed(resource: str) -> ApplicationError:
    """Refuse an action on what is no longer as it was when the service let the person act."""
    return refuse("STALE_ETAG", resource=resource)


def same_person(person: str, first: str, second: str) -> ApplicationError:
    """Refuse a second step by the person who did the first."""
    return refuse("SEPARATION_OF_DUTIES", person=person, first=first, second=second)
