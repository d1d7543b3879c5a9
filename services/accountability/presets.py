"""The escalation policies the product brings along: for every region, editable by making a regional one.

No national text fixes the rungs of a ladder or their waits; each preset says so in its source.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from workflows.payloads import Term
from workflows.payloads.supervision import Rung

EVERY_REGION = ""
PRESET_TIME = datetime(2020, 1, 1, tzinfo=UTC)
"""Before any case: a preset is never newer than a policy that people made."""


@dataclass(frozen=True, slots=True)
class Preset:
    """One version of a preset. A version never changes: to change a preset, add its next version."""

    id: str
    code: str
    version: int
    display_name: str
    rungs: tuple[Rung, ...]
    source: str


PRESETS = (
    Preset(
        "preset-five-rungs-1",
        "five_rungs",
        1,
        "五级递进：提醒、督办、约谈、通报、问责",
        (
            Rung("REMINDER", "HOLDER", None, "提醒"),
            Rung("SUPERVISION_NOTICE", "UNIT", Term(3, "WORKING_DAYS"), "督办"),
            Rung("TALK", "SUPERIOR", Term(5, "WORKING_DAYS"), "约谈"),
            Rung("CIRCULAR", "UNIT", Term(5, "WORKING_DAYS"), "通报"),
            Rung("INQUIRY", "HOLDER", Term(10, "WORKING_DAYS"), "问责"),
        ),
        "督办、约谈参照《政府督查工作条例》第12条第7项、第14条；五级次序为通行做法，等待工作日为系统默认值（非法定）"
        " / practice after the Regulations on Government Supervision Work §§12(7), 14; default waits, not statutory",
    ),
    Preset(
        "preset-three-notices-1",
        "three_notices",
        1,
        "三色督办单：蓝、橙、红",
        (
            Rung("SUPERVISION_NOTICE", "HOLDER", None, "蓝色督办单"),
            Rung("SUPERVISION_NOTICE", "UNIT", Term(5, "WORKING_DAYS"), "橙色督办单"),
            Rung("SUPERVISION_NOTICE", "SUPERIOR", Term(5, "WORKING_DAYS"), "红色督办单"),
        ),
        "地方做法示例：逾期发蓝、橙、红三色督办单；非国家规定，等待工作日为系统默认值（非法定）"
        " / local example, not national law; waits are defaults, not statutory",
    ),
)
"""Where several policies of a region are equally new the first by code serves: the five rungs."""
