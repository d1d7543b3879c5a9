"""The 100-day campaign: sites visited, hazards found, and every hazard taken through its loop.

The story is a timetable: on each campaign day the acts of that day are done, as the people who do them.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from dutyloop.hazard.v1 import hazard_pb2
from dutyloop.kit.v1 import kit_pb2
from infra.demo import city
from infra.demo.actors import Actor, in_turn_of
from infra.demo.cast import Cast
from infra.demo.lists import EXEMPTED_LEADER
from infra.demo.tour import record_visit
from services.kit.dates import day_message

AT_ONCE = 24
RECTIFIED_AFTER, REINSPECTED_AFTER, LOOKED_BACK_AFTER = 8, 12, 20
EXTENDED_EVERY = 40
"""Every so many time-limited hazards one asks for more time and gets it."""
REOPENED = 0
"""The first time-limited hazard that is not part of another story is found relapsed at its look-back."""
LATE_RECTIFIED_ON = {1: 24, 2: 28, 3: 36, 4: 48, 5: 80, 6: 80}
"""Late hazards by their number and the day on which they are rectified at last: each later one lets the ladder
climb one rung further; the last two reach the inquiry."""
DECIDED, EXEMPTED = 5, 6
CONTESTED = 7
"""On this hazard a person tries to verify his own work."""
ACTS = Callable[[], Awaitable[object]]


@dataclass(slots=True)
class Timetable:
    """What happens on which campaign day."""

    acts: dict[int, list[ACTS]] = field(default_factory=lambda: defaultdict(list))

    def on(self, campaign_day: int, act: ACTS) -> None:
        """Add an act."""
        self.acts[campaign_day].append(act)

    async def live_through(self, cast: Cast, report: Callable[[int], None]) -> None:
        """Do every act on its day, moving business time on in between; acts may add later ones."""
        while self.acts:
            today = min(self.acts)
            await cast.advance(today)
            while acts := self.acts.pop(today, []):
                await in_turn_of(AT_ONCE, [act() for act in acts])
            report(today)


@dataclass(slots=True)
class Campaign:
    """The running campaign and what later chapters need to know of it."""

    cast: Cast
    timetable: Timetable
    sites: dict[int, str]
    time_limited_seen: int = 0
    late: dict[int, str] = field(default_factory=dict)
    held_to_account: str = ""
    contested: str = ""
    contested_day: int = 0
    """Before the hazard's own unit would rectify it: two people must not race for the same step."""

    def schedule(self, plans: Sequence[city.SitePlan]) -> None:
        """Put every site's visit on the timetable; its hazards follow from the visit."""
        for plan in plans:
            first = self.time_limited_seen
            self.time_limited_seen += plan.time_limited
            if first <= CONTESTED < self.time_limited_seen:
                self.contested_day = plan.visit_day + RECTIFIED_AFTER - city.STEP_DAYS
            self.timetable.on(plan.visit_day, lambda plan=plan, first=first: self._visit(plan, first))  # type: ignore[misc]

    async def _visit(self, plan: city.SitePlan, first: int) -> None:
        cast, site = self.cast, self.sites[plan.number]
        pair = [cast.enforcers[(plan.number + step) % len(cast.enforcers)] for step in (0, 1)]
        visit = await record_visit(cast, pair[0], site, [each.name for each in pair], enforcement_unit=cast.enforcement)
        for index in range(plan.on_the_spot):
            await pair[0].do(
                "hazard.ReportHazard",
                key=f"{site}:spot:{index}",
                hazard=hazard_pb2.Hazard(
                    site=site,
                    visit=visit,
                    grade=hazard_pb2.HAZARD_GRADE_GENERAL,
                    disposition=hazard_pb2.DISPOSITION_ON_THE_SPOT,
                    description="灭火器压力不足",
                    remedy="当场更换",
                    basis="安全生产法第三十六条",
                ),
            )
        hazards: list[str] = []
        for index in range(plan.time_limited):
            hazards.append(await self._find(plan, pair[0], visit, first + index))  # noqa: PERF401 (one after the other)
        if plan.order:
            await self._order(plan, site, hazards[0])

    async def _find(self, plan: city.SitePlan, inspector: Actor, visit: str, number: int) -> str:
        """Report a time-limited hazard, have it assigned and planned, and put the rest on the timetable."""
        cast, zone = self.cast, self.cast.zones[plan.region_code]
        head = cast.zone_heads[plan.region_code]
        reported = await inspector.do(
            "hazard.ReportHazard",
            key=f"{visit}:limited:{number}",
            hazard=hazard_pb2.Hazard(
                site=self.sites[plan.number],
                visit=visit,
                grade=hazard_pb2.HAZARD_GRADE_MAJOR if number % 10 == 9 else hazard_pb2.HAZARD_GRADE_GENERAL,
                disposition=hazard_pb2.DISPOSITION_TIME_LIMITED,
                description="安全设施未经检测，通道被占用",
                basis="安全生产法第四十一条",
            ),
        )
        name = str(reported.name)
        late = number if number in LATE_RECTIFIED_ON and not plan.order else 0
        responsible = cast.leaders[EXEMPTED_LEADER] if late == EXEMPTED else head
        if late == DECIDED:
            self.held_to_account = head.name
        finish = plan.visit_day + city.ROUGH_TERM_DAYS
        await cast.supervisor.do("hazard.AssignHazard", name=name, unit=zone)
        await head.do(
            "hazard.SubmitRectificationPlan",
            key=name,
            name=name,
            plan=hazard_pb2.RectificationPlan(
                responsible=responsible.name,
                measures="清理通道，委托检测并更换设施",
                funds_fen=2_000_000,
                finish_date=day_message(cast.date(finish)),
                contingency="整改期间专人值守，备足灭火器材",
            ),
        )
        if number == CONTESTED:
            self.contested = name
        if plan.order == "CLOSE_DOWN":
            return name
        if late:
            self.late[late] = name
            self._follow(name, head, LATE_RECTIFIED_ON[late], number)
            return name
        if number % EXTENDED_EVERY == EXTENDED_EVERY - 1:
            self.timetable.on(plan.visit_day + 4, lambda: self._extend(name, head, finish + 4))
        self._follow(name, head, plan.visit_day + RECTIFIED_AFTER, number)
        return name

    def _follow(self, name: str, head: Actor, rectified_day: int, number: int) -> None:
        """Put rectification, reinspection and look-back on the timetable."""
        reinspected_day = rectified_day + REINSPECTED_AFTER - RECTIFIED_AFTER
        look_back_day = reinspected_day + LOOKED_BACK_AFTER - REINSPECTED_AFTER
        checker = self.cast.enforcers[number % len(self.cast.enforcers)]
        self.timetable.on(rectified_day, lambda: self._rectify(name, head))
        self.timetable.on(reinspected_day, lambda: self._reinspect(name, checker))
        self.timetable.on(look_back_day, lambda: self._look_back(name, head, checker, number))

    async def _order(self, plan: city.SitePlan, site: str, hazard: str) -> None:
        """Order the site suspended, or closed down, for one of its time-limited hazards."""
        suspend = plan.order == "SUSPEND"
        method = "hazard.SuspendSite" if suspend else "hazard.CloseDownSite"
        word = "停产" if suspend else "关闭"
        order = await self.cast.supervisor.do(
            method, site=site, hazard=hazard, instrument_number=f"{word}〔{plan.number:03d}〕号"
        )
        if suspend:
            resumed_day = plan.visit_day + REINSPECTED_AFTER + city.STEP_DAYS
            self.timetable.on(resumed_day, lambda: self._resume(str(order.name)))

    async def _resume(self, order: str) -> None:
        await self.cast.second_supervisor.do("hazard.ResumeSite", name=order)

    async def _extend(self, name: str, head: Actor, new_finish: int) -> None:
        extension = hazard_pb2.Extension(finish_date=day_message(self.cast.date(new_finish)), reason="设备到货推迟")
        await head.do("hazard.RequestExtension", key=name, name=name, extension=extension)
        await self.cast.supervisor.do("hazard.DecideExtension", name=name, verdict=kit_pb2.VERDICT_PASS)

    async def _rectify(self, name: str, head: Actor) -> None:
        hazard = await head.do("hazard.GetHazard", name=name)
        if hazard.state == hazard_pb2.HAZARD_STATE_PLANNED:  # a closed-down site's hazards are written off already
            key = f"{name}:{hazard.reopen_count}"
            await head.do("hazard.SubmitRectification", key=key, name=name, evidence=[f"photo-{name[-8:]}"])

    async def _reinspect(self, name: str, checker: Actor) -> None:
        hazard = await checker.do("hazard.GetHazard", name=name)
        if hazard.state == hazard_pb2.HAZARD_STATE_RECTIFIED:
            key = f"{name}:{hazard.reopen_count}"
            await checker.do("hazard.Reinspect", key=key, name=name, verdict=kit_pb2.VERDICT_PASS)

    async def _look_back(self, name: str, head: Actor, checker: Actor, number: int) -> None:
        hazard = await checker.do("hazard.GetHazard", name=name)
        if hazard.state != hazard_pb2.HAZARD_STATE_WRITTEN_OFF:
            return
        relapsed = number == REOPENED and not hazard.reopen_count
        verdict = kit_pb2.VERDICT_FAIL if relapsed else kit_pb2.VERDICT_PASS
        await checker.do("hazard.LookBack", key=f"{name}:{hazard.reopen_count}", name=name, verdict=verdict)
        if relapsed:
            plan = hazard.plan
            plan.finish_date.CopyFrom(day_message(self.cast.date(self.cast.today + city.ROUGH_TERM_DAYS)))
            await head.do("hazard.SubmitRectificationPlan", key=f"{name}:again", name=name, plan=plan)
            self._follow(name, head, self.cast.today + RECTIFIED_AFTER, number)
