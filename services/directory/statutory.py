"""Clocks with a figure: statutory ones with law and article, and defaults labelled not statutory.

The day type belongs to each clock. Plain 日 counts natural days; working days stand where the text
says so, or where 行政处罚法 §85 (2/3/5/7 日) or 行政复议法 §88 (3/5/7/10 日) make them so.

Rolling is a setting. Only 行政复议法 §88 fixes it here, by reference to civil procedure: its natural
terms move to the next working day. Elsewhere the preset lets a person's right to object, apply or pay
move (no one loses it over a holiday) and keeps a body's duty where it falls.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Literal

from services.kit.calendar import RollRule, Term, Unit
from services.kit.catalogue import Locale


class Bound(StrEnum):
    """What a clock's term says about the act."""

    WITHIN = "within"  # act no later than the term after the start
    AT_LEAST_BEFORE = "at_least_before"  # act no later than the term before the event
    ONLY_WITHIN_BEFORE = "only_within_before"  # the act's window: the last term before the event
    EVERY = "every"  # the act recurs once in every term
    LASTS = "lasts"  # a state holds for the term; there is no act to be late with
    LOOKS_BACK = "looks_back"  # facts of the last term are counted together


@dataclass(frozen=True, slots=True)
class Source:
    """A text or practice that clocks cite, with its full name; the wording is never taken over."""

    zh: str
    en: str
    kind: Literal["law", "local_law", "practice"] = "law"


SOURCES: Final[Mapping[str, Source]] = MappingProxyType(
    {
        "SL": Source("中华人民共和国安全生产法", "Work Safety Law"),
        "493": Source(
            "生产安全事故报告和调查处理条例",
            "Regulations on the Reporting, Investigation and Handling of Work Safety Accidents",
        ),
        "CM": Source("煤矿安全生产条例", "Regulations on Coal Mine Work Safety"),
        "SD": Source("山东省安全生产条例", "Work Safety Regulations of Shandong Province", "local_law"),
        "SE": Source("中华人民共和国特种设备安全法", "Special Equipment Safety Law"),
        "FR": Source("中华人民共和国消防法", "Fire Protection Law"),
        "PN": Source("中华人民共和国行政处罚法", "Administrative Penalty Law"),
        "RC": Source("中华人民共和国行政复议法", "Administrative Reconsideration Law"),
        "SV": Source("政府督查工作条例", "Regulations on Government Supervision Work"),
        "PT": Source("信访工作条例", "Regulations on Petition Work"),
        "DS": Source("中华人民共和国公职人员政务处分法", "Law on Administrative Sanctions for Public Officials"),
        "JC": Source("中华人民共和国监察法", "Supervision Law"),
        "CS": Source("中华人民共和国公务员法", "Civil Servants Law"),
        "PI": Source("中华人民共和国个人信息保护法", "Personal Information Protection Law"),
        "AW2018": Source("安委〔2018〕2号文件", "State Council Work Safety Commission, document 2 of 2018", "practice"),
        "public": Source("公开的部门做法", "Published practice of departments", "practice"),
        "local": Source("地方做法示例，非国家规定", "Local example, not national law", "practice"),
        "qingdao": Source("青岛市挂牌督办做法，非国家规定", "Listing practice of Qingdao, local", "practice"),
        "hubei": Source("湖北省挂牌督办做法，非国家规定", "Listing practice of Hubei, local", "practice"),
        "unverified": Source("通行做法，出处待核实", "Common practice, source unverified", "practice"),
        "house": Source("系统默认值，国家未作规定", "Product default; no national figure exists", "practice"),
    }
)


@dataclass(frozen=True, slots=True)
class StatutoryClock:
    """One clock with its figure and where that is written.

    ``law`` is a key of `SOURCES`; ``article`` is like "86(3)", empty where the source has none.
    ``extension`` is the longest one allowed. Not ``statutory`` means a default. A clock of a local law
    binds only under ``region_code``.
    """

    key: str
    matter_zh: str
    matter_en: str
    term: Term
    law: str
    article: str
    roll: RollRule
    statutory: bool
    bound: Bound = Bound.WITHIN
    extension: Term | None = None
    region_code: str | None = None

    def matter(self, locale: Locale) -> str:
        """Say what the term is for."""
        return self.matter_en if locale == "en" else self.matter_zh

    def introduction(self, locale: Locale) -> str:
        """Say what the clock is and where it stands, so that nobody takes a default for law."""
        if locale == "en":
            label = "statutory" if self.statutory else "not statutory"
            return f"{self.matter_en}: {self.citation(locale)} ({label})"
        return f"{self.matter_zh}：{self.citation(locale)}（{'法定' if self.statutory else '非法定'}）"

    def citation(self, locale: Locale) -> str:
        """Cite source and article: 《中华人民共和国安全生产法》第86条第3款, or Work Safety Law §86(3)."""
        if locale == "en":
            return SOURCES[self.law].en + (f" §{self.article}" if self.article else "")
        if not self.article:
            return SOURCES[self.law].zh
        article, _, paragraph = self.article.rstrip(")").partition("(")
        return f"《{SOURCES[self.law].zh}》第{article}条" + (f"第{paragraph}款" if paragraph else "")


def _d(amount: int) -> Term:
    """Natural days."""
    return Term(amount, Unit.NATURAL_DAYS)


def _wd(amount: int) -> Term:
    """Working days."""
    return Term(amount, Unit.WORKING_DAYS)


def _h(amount: int) -> Term:
    """Hours."""
    return Term(amount, Unit.HOURS)


def _mo(amount: int) -> Term:
    """Months."""
    return Term(amount, Unit.MONTHS)


def _y(amount: int) -> Term:
    """Years."""
    return Term(amount, Unit.YEARS)


def _clock(
    key: str,
    term: Term,
    cited: str,
    bound: Bound = Bound.WITHIN,
    *,
    extension: Term | None = None,
    right: bool = False,
) -> StatutoryClock:
    """Make a clock from a row; ``right`` marks what a person may ask or has to pay."""
    law, _, article = cited.partition(" ")
    kind = SOURCES[law].kind
    rolls = (right or law == "RC") and bound is Bound.WITHIN
    return StatutoryClock(
        key,
        *_WORDS[key],
        term,
        law,
        article,
        roll=RollRule.NEXT_WORKING_DAY if rolls else RollRule.KEEP,
        statutory=kind != "practice",
        bound=bound,
        extension=extension,
        region_code="37" if law == "SD" else None,
    )


_WORDS: Final = {
    "power_cut_notice": ("停止供电前通知企业", "Notice to the enterprise before power is cut"),
    "coal_hazard_report": ("煤矿重大隐患书面报告", "Coal mine: signed report on major hazards"),
    "coal_acceptance": ("收到复产申请后验收煤矿", "Coal mine: acceptance after the application to resume"),
    "coal_shutdown_notice": ("公告停产整顿或关闭煤矿", "Coal mine: announce a shutdown or closure"),
    "coal_resumption_notice": ("公告煤矿恢复生产", "Coal mine: announce the resumption"),
    "coal_design_review": ("受理后审查煤矿安全设施设计", "Coal mine: review of the safety facility design"),
    "coal_closure_record": (
        "煤矿带重大隐患生产的累计期",
        "Coal mine: repeated production with a major hazard",
    ),
    "daily_penalty": ("拒不改正的按日计罚", "Daily penalty while the order is not obeyed"),
    "closure_record_180_days": ("提请关闭：三次处罚的累计期", "Closure: period for three penalties"),
    "closure_record_1_year": ("提请关闭：四次处罚的累计期", "Closure: period for four penalties"),
    "inspection_plan": ("年度监督检查计划", "Annual plan of inspections"),
    "equipment_registration": ("设备投用后办理使用登记", "Equipment: register after entry into use"),
    "equipment_inspection_request": ("检验到期前申请定期检验", "Equipment: ask for inspection before expiry"),
    "equipment_daily_trial": ("索道和大型游乐设施试运行", "Ropeways and large rides: trial run"),
    "fire_opening_check": ("受理后进行营业前消防检查", "Fire check before opening, from acceptance"),
    "fire_facility_test": ("检测建筑消防设施", "Test of the fire facilities of a building"),
    "fire_patrol": ("消防重点单位防火巡查", "Fire patrol of key units"),
    "registered_evidence_decision": ("登记保存证据后作出决定", "Decide on registered evidence"),
    "penalty_decision": ("立案后作出处罚决定", "Penalty decision after the case is filed"),
    "penalty_service": ("向不在场当事人送达处罚决定", "Serve the penalty decision on an absent party"),
    "hearing_request": ("当事人要求听证", "The party asks for a hearing"),
    "hearing_notice": ("听证前通知当事人", "Notify the party before the hearing"),
    "fine_payment": ("收到决定后缴纳罚款", "Pay the fine after receiving the decision"),
    "penalty_limitation": ("处罚追究时效", "Limitation of penalties"),
    "penalty_limitation_harm": (
        "危害健康安全等的处罚时效",
        "Limitation where life, health or finance is harmed",
    ),
    "penalty_publication": ("处罚决定公开曝光", "Publish the penalty decision"),
    "penalty_withdrawal": ("撤回被撤销的处罚信息", "Withdraw an annulled penalty from publication"),
    "incident_unit_report": ("单位负责人报告事故", "Incident: report by the head of the unit"),
    "incident_upward_report": ("事故逐级上报（每级）", "Incident: report upward, each level"),
    "incident_direct_report_sd": (
        "山东：市县政府直报事故",
        "Shandong: direct incident report to the province",
    ),
    "incident_written_report_sd": (
        "山东：较大以上事故书面报告",
        "Shandong: written report, larger accident or above",
    ),
    "casualty_change": ("伤亡人数变化补报", "Report a change in casualties"),
    "casualty_change_traffic_fire": (
        "道路交通、火灾伤亡变化补报",
        "Report a change in casualties, traffic and fire",
    ),
    "investigation_report": ("提交事故调查报告", "Submit the accident investigation report"),
    "investigation_approval": ("批复一般至重大事故调查报告", "Approve the report, below the gravest level"),
    "investigation_approval_gravest": ("批复特别重大事故调查报告", "Approve the report, gravest level"),
    "rectification_evaluation": ("批复后评估事故整改落实", "Evaluate the rectification after approval"),
    "manager_ban": ("主要负责人任职禁止", "Ban on managing an enterprise"),
    "drill_government_sd": ("山东：政府和部门应急演练", "Shandong: drills of governments and departments"),
    "drill_high_risk_sd": (
        "山东：高危和人员密集单位演练",
        "Shandong: drills of high-risk and crowded places",
    ),
    "safety_committee_sd": ("山东：企业安委会会议", "Shandong: meeting of the enterprise safety committee"),
    "supervision_challenge": ("对督查结论申请复核", "Challenge a supervision conclusion"),
    "supervision_challenge_decision": ("对督查结论作出复核决定", "Decide on a challenged conclusion"),
    "sanction_warning": ("警告处分期", "Sanction period: warning"),
    "sanction_demerit": ("记过处分期", "Sanction period: demerit"),
    "sanction_serious_demerit": ("记大过处分期", "Sanction period: serious demerit"),
    "sanction_demotion": ("降级、撤职处分期", "Sanction period: demotion or removal"),
    "sanction_cap": ("数个处分合并的最长期", "Longest period for several sanctions"),
    "sanction_formalities": ("办理降级以上处分的待遇变更", "Change post and pay after demotion or above"),
    "sanction_review_request": ("向原监察机关申请复审", "Ask the deciding organ for a review"),
    "sanction_review_decision": ("作出复审决定", "Decide on the review"),
    "sanction_second_review_request": (
        "向上一级监察机关申请复核",
        "Ask the higher organ for a second review",
    ),
    "sanction_second_review_decision": ("作出复核决定", "Decide on the second review"),
    "servant_review_request": ("公务员向原机关申请复核", "Civil servant asks for a review"),
    "servant_review_decision": ("原处理机关作出复核决定", "Decide on the civil servant's review"),
    "servant_appeal_after_review": ("公务员复核后申诉", "Civil servant appeals after the review"),
    "servant_appeal_direct": ("公务员不经复核直接申诉", "Civil servant appeals without a review"),
    "servant_appeal_decision": ("作出公务员申诉处理决定", "Decide on the civil servant's appeal"),
    "petition_register": ("信访事项登记转送", "Petition: register and transfer"),
    "petition_notify": ("告知信访人接收情况", "Petition: notify the petitioner"),
    "petition_objection": ("对转送事项提出异议", "Petition: the unit objects to a transfer"),
    "petition_conclude": ("办结信访事项", "Petition: conclude"),
    "petition_recheck_request": ("信访人请求复查", "Petition: ask for a recheck"),
    "petition_recheck_opinion": ("提出信访复查意见", "Petition: give the recheck opinion"),
    "petition_final_request": ("信访人请求复核", "Petition: ask for the final review"),
    "petition_final_opinion": (
        "提出信访复核意见（听证另计）",
        "Petition: final opinion, hearing time excluded",
    ),
    "petition_assessment": ("信访工作年度考核", "Petition: yearly assessment"),
    "reconsideration_apply": ("申请行政复议", "Apply for reconsideration"),
    "reconsideration_examine": ("审查是否受理复议申请", "Examine the application"),
    "reconsideration_copy": ("发送申请书副本", "Send the copy to the respondent"),
    "reconsideration_answer": ("被申请人书面答复", "Answer of the respondent"),
    "reconsideration_copy_simplified": ("简易程序发送申请书副本", "Send the copy, simplified procedure"),
    "reconsideration_answer_simplified": ("简易程序书面答复", "Answer, simplified procedure"),
    "reconsideration_decide": ("作出行政复议决定", "Reconsideration decision"),
    "reconsideration_decide_simplified": ("简易程序作出复议决定", "Reconsideration decision, simplified"),
    "reconsideration_correction": ("报送复议意见纠正情况", "Report the correction asked for"),
    "record_retention": ("个人信息影响评估和处理记录保存", "Keep impact assessments and processing records"),
    "tour_on_site": ("巡查现场阶段", "Tour: on site"),
    "tour_reported_matter": ("答复巡查中反映的问题", "Tour: answer matters reported to it"),
    "tour_results_publication": ("公开检查结果", "Tour: publish the results"),
    "rectification_plan": ("报送巡查整改方案", "Tour: rectification plan"),
    "rectification_report": ("报送巡查整改报告", "Tour: rectification report"),
    "order_extension_request": ("限期整改届满前申请延期", "Ask for an extension before the order expires"),
    "order_extension_decision": ("答复整改延期申请", "Decide on an extension of the order"),
    "hazard_recheck_equipment": (
        "收到整改报告后复查特种设备",
        "Equipment: recheck after the rectification report",
    ),
    "hazard_recheck_fire": ("消防解除查封或复查", "Fire: unsealing or recheck"),
    "blocked_exit": ("消除堵塞的疏散通道", "Fire: clear a blocked exit"),
    "listing_acceptance": ("挂牌隐患整改验收", "Listing: acceptance"),
    "listing_file": ("挂牌督办立案", "Listing: open the file"),
    "listing_publication": ("公布挂牌督办", "Listing: publish"),
    "listing_term": ("挂牌督办整改期限上限", "Listing: longest term"),
    "listing_extension_request": ("期满前申请挂牌延期", "Listing: ask for an extension before expiry"),
    "listing_extension_decision": ("决定挂牌延期", "Listing: decide on the extension"),
    "delisting_publication": ("公布摘牌", "Listing: publish the delisting"),
    "talk_trigger_two": (
        "约谈：规定等级事故两起的累计期",
        "Talk: period for two accidents of the named level",
    ),
    "talk_trigger_three": (
        "约谈：规定等级事故三起的累计期",
        "Talk: period for three accidents of the named level",
    ),
    "talk_hold": ("决定后举行约谈", "Talk: hold it after the decision"),
    "talk_reply": ("约谈后书面答复", "Talk: reply"),
    "supervision_documents": ("督办：文件事项", "Supervision: matter from a document"),
    "supervision_minutes": ("督办：会议纪要事项", "Supervision: matter from minutes"),
    "supervision_urgent": ("督办：紧急事项（上限）", "Supervision: urgent matter, at most"),
    "supervision_normal": ("督办：一般事项", "Supervision: normal matter"),
    "supervision_hard": ("督办：疑难事项", "Supervision: hard matter"),
    "report_handling": ("办理群众举报", "Handle a public report"),
    "hotline_handling": ("办理热线工单", "Handle a hotline matter"),
    "hotline_return": ("退回误派的热线工单", "Return a wrongly assigned hotline matter"),
}

_ROWS: Final = (
    # Hazards, inspection and penalties
    _clock("power_cut_notice", _h(24), "SL 70(2)", Bound.AT_LEAST_BEFORE),
    _clock("coal_hazard_report", _mo(3), "CM 35(2)", Bound.EVERY),
    _clock("coal_acceptance", _d(20), "CM 48(2)"),
    _clock("coal_shutdown_notice", _wd(5), "CM 49"),
    _clock("coal_resumption_notice", _wd(5), "CM 49"),
    _clock("coal_design_review", _d(30), "CM 41"),
    _clock("coal_closure_record", _mo(3), "CM 70", Bound.LOOKS_BACK),
    _clock("daily_penalty", _d(1), "SL 112", Bound.EVERY),
    _clock("closure_record_180_days", _d(180), "SL 113", Bound.LOOKS_BACK),
    _clock("closure_record_1_year", _y(1), "SL 113", Bound.LOOKS_BACK),
    _clock("inspection_plan", _y(1), "SL 62(2)", Bound.EVERY),
    _clock("equipment_registration", _d(30), "SE 33"),
    _clock("equipment_inspection_request", _mo(1), "SE 40(1)", Bound.AT_LEAST_BEFORE),
    _clock("equipment_daily_trial", _d(1), "SE 43", Bound.EVERY),
    _clock("fire_opening_check", _wd(10), "FR 15(3)"),
    _clock("fire_facility_test", _y(1), "FR 16", Bound.EVERY),
    _clock("fire_patrol", _d(1), "FR 17", Bound.EVERY),
    _clock("registered_evidence_decision", _wd(7), "PN 56"),
    _clock("penalty_decision", _d(90), "PN 60"),
    _clock("penalty_service", _wd(7), "PN 61"),
    _clock("hearing_request", _wd(5), "PN 64", right=True),
    _clock("hearing_notice", _wd(7), "PN 64", Bound.AT_LEAST_BEFORE),
    _clock("fine_payment", _d(15), "PN 67(3)", right=True),
    _clock("penalty_limitation", _y(2), "PN 36", Bound.LASTS),
    _clock("penalty_limitation_harm", _y(5), "PN 36", Bound.LASTS),
    _clock("penalty_publication", _wd(7), "SL 78(2)"),
    _clock("penalty_withdrawal", _wd(3), "PN 48(2)"),
    # Incidents
    _clock("incident_unit_report", _h(1), "493 9(1)"),
    _clock("incident_upward_report", _h(2), "493 11"),
    _clock("incident_direct_report_sd", Term(30, Unit.MINUTES), "SD 65(2)"),
    _clock("incident_written_report_sd", _h(1), "SD 65(2)"),
    _clock("casualty_change", _d(30), "493 13(2)"),
    _clock("casualty_change_traffic_fire", _d(7), "493 13(2)"),
    _clock("investigation_report", _d(60), "493 29", extension=_d(60)),
    _clock("investigation_approval", _d(15), "493 32(1)"),
    _clock("investigation_approval_gravest", _d(30), "493 32(1)", extension=_d(30)),
    _clock("rectification_evaluation", _y(1), "SL 86(3)"),
    _clock("manager_ban", _y(5), "SL 94(3)", Bound.LASTS),
    _clock("drill_government_sd", _y(1), "SD 63", Bound.EVERY),
    _clock("drill_high_risk_sd", _mo(6), "SD 63", Bound.EVERY),
    _clock("safety_committee_sd", _mo(3), "SD 22", Bound.EVERY),
    # Supervision, sanctions and remedies
    _clock("supervision_challenge", _d(30), "SV 17", right=True),
    _clock("supervision_challenge_decision", _d(30), "SV 17"),
    _clock("sanction_warning", _mo(6), "DS 8", Bound.LASTS),
    _clock("sanction_demerit", _mo(12), "DS 8", Bound.LASTS),
    _clock("sanction_serious_demerit", _mo(18), "DS 8", Bound.LASTS),
    _clock("sanction_demotion", _mo(24), "DS 8", Bound.LASTS),
    _clock("sanction_cap", _mo(48), "DS 15", Bound.LASTS),
    # Six months in all, hence five more.
    _clock("sanction_formalities", _mo(1), "DS 54", extension=_mo(5)),
    _clock("sanction_review_request", _mo(1), "JC 56", right=True),
    _clock("sanction_review_decision", _mo(1), "JC 56"),
    _clock("sanction_second_review_request", _mo(1), "JC 56", right=True),
    _clock("sanction_second_review_decision", _mo(2), "JC 56"),
    _clock("servant_review_request", _d(30), "CS 95", right=True),
    _clock("servant_review_decision", _d(30), "CS 96"),
    _clock("servant_appeal_after_review", _d(15), "CS 95", right=True),
    _clock("servant_appeal_direct", _d(30), "CS 95", right=True),
    _clock("servant_appeal_decision", _d(60), "CS 96", extension=_d(30)),
    _clock("petition_register", _d(15), "PT 22"),
    _clock("petition_notify", _d(15), "PT 23"),
    _clock("petition_objection", _wd(5), "PT 23"),
    _clock("petition_conclude", _d(60), "PT 34", extension=_d(30)),
    _clock("petition_recheck_request", _d(30), "PT 35", right=True),
    _clock("petition_recheck_opinion", _d(30), "PT 35"),
    _clock("petition_final_request", _d(30), "PT 36", right=True),
    _clock("petition_final_opinion", _d(30), "PT 36"),
    _clock("petition_assessment", _y(1), "PT 39", Bound.EVERY),
    _clock("reconsideration_apply", _d(60), "RC 20"),
    _clock("reconsideration_examine", _wd(5), "RC 30"),
    _clock("reconsideration_copy", _wd(7), "RC 48"),
    _clock("reconsideration_answer", _wd(10), "RC 48"),
    _clock("reconsideration_copy_simplified", _wd(3), "RC 54"),
    _clock("reconsideration_answer_simplified", _wd(5), "RC 54"),
    _clock("reconsideration_decide", _d(60), "RC 62", extension=_d(30)),
    _clock("reconsideration_decide_simplified", _d(30), "RC 62"),
    _clock("reconsideration_correction", _d(60), "RC 76"),
    _clock("record_retention", _y(3), "PI 56", Bound.LASTS),
    # Defaults: editable, no national law behind them
    _clock("tour_on_site", _d(10), "public"),
    _clock("tour_reported_matter", _wd(7), "local"),
    _clock("tour_results_publication", _wd(20), "unverified"),
    _clock("rectification_plan", _wd(30), "house"),
    _clock("rectification_report", _mo(6), "house"),
    _clock("order_extension_request", _d(10), "unverified", Bound.ONLY_WITHIN_BEFORE),
    _clock("order_extension_decision", _d(5), "unverified"),
    _clock("hazard_recheck_equipment", _wd(10), "unverified"),
    _clock("hazard_recheck_fire", _wd(3), "public"),
    _clock("blocked_exit", _h(24), "public"),
    _clock("listing_acceptance", _d(10), "hubei"),
    _clock("listing_file", _wd(3), "qingdao"),
    _clock("listing_publication", _wd(5), "qingdao"),
    _clock("listing_term", _y(1), "qingdao"),
    _clock("listing_extension_request", _wd(20), "qingdao", Bound.AT_LEAST_BEFORE),
    _clock("listing_extension_decision", _wd(10), "qingdao"),
    _clock("delisting_publication", _wd(5), "qingdao"),
    _clock("talk_trigger_two", _d(30), "AW2018", Bound.LOOKS_BACK),
    _clock("talk_trigger_three", _mo(6), "AW2018", Bound.LOOKS_BACK),
    _clock("talk_hold", _d(7), "local"),
    _clock("talk_reply", _wd(5), "local"),
    _clock("supervision_documents", _d(30), "local"),
    _clock("supervision_minutes", _d(20), "local"),
    _clock("supervision_urgent", _d(5), "local"),
    _clock("supervision_normal", _d(15), "local"),
    _clock("supervision_hard", _d(30), "local"),
    _clock("report_handling", _d(60), "local", extension=_d(30)),
    _clock("hotline_handling", _wd(5), "local", extension=_wd(10)),
    _clock("hotline_return", _wd(2), "local"),
)

CLOCKS: Final[Mapping[str, StatutoryClock]] = MappingProxyType({clock.key: clock for clock in _ROWS})
"""Every clock by key, those of one matter together."""
