"""The demo's figures: what they are recomputed from, and what its data promise."""

from datetime import date, timedelta

from infra.demo import city, lists, run
from infra.demo.figures import Account
from services.kit.recurrence import occurrences


def test_a_list_is_finished_with_its_last_task() -> None:
    """The demo would not notice that the supervision of a finished list never ended, nor replay it."""
    account, annual_list = Account(), "annualTaskLists/l"
    account.read("plan.list.generated", "people/editor", [annual_list, "responsibilityLists/r"], {"tasks": 2})
    for task, finished in (("tasks/1", []), ("tasks/2", [annual_list])):
        account.read("plan.task.confirmed", "people/supervisor", [task, annual_list, "dutyItems/d"], {})
        assert account.finished_lists == finished
    assert account.ended_cases == {"task_supervision/l"}
    assert account.figures()["task_lists_finished"] == 1


def test_the_special_list_ends_with_the_campaign() -> None:
    """Its tasks would run on until the end of the year, and no list of the demo would ever be finished."""
    for year in (2026, 2027, 2028):
        start = date(year, 1, 5)
        due = {
            (day - start).days + duty.term_days
            for duty in city.duties()[city.CAMPAIGN_GROUP]
            for day in occurrences(duty.recurrence, year)
        }
        assert min(due) > 0
        assert max(due) < max(lists.CAMPAIGN_TASK_DAYS) + city.STEP_DAYS < run.LAST_DAY
        assert start + timedelta(days=max(due)) < date(year, 5, 1)
