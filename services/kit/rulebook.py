"""The words of every rule: those that the code refuses by, and the constraints that stand behind them.

A rule is worded as what holds; a refusal says that it would not. Constraints that only code could break are
worded too: whatever is refused, a person reads a sentence.
"""

from collections.abc import Mapping

RULES: Mapping[str, tuple[str, str]] = {
    # Lists
    "a_further_version_names_its_predecessor": (
        "已有已发布清单的，新版本须指明上一版本",
        "where a list is published already, a further version names it as its predecessor",
    ),
    "a_list_has_items": ("清单提交审批前须至少有一条内容", "a list has items before it is submitted"),
    "a_list_is_acknowledged_by_its_holder": (
        "清单由其责任人本人知责确认",
        "a list is acknowledged by the one who holds its duties",
    ),
    "the_successor_is_in_force": (
        "新版本生效后，旧版本方可被替代",
        "a list is superseded once its successor is in force",
    ),
    "responsibility_list_kind_is_known": ("清单类别须为职责或负面清单", "a list is a duty list or a negative list"),
    "responsibility_list_display_name_is_given": ("清单须有名称", "a list has a name"),
    "responsibility_list_version_is_positive": ("清单版本从 1 起编号", "versions of a list count from 1"),
    "responsibility_list_state_is_known": ("清单状态须为已知状态", "a list is in a known state"),
    "responsibility_list_is_approved_by_another_person": (
        "清单由编制人、提交人以外的人审批",
        "a list is approved by a person who neither edited nor submitted it",
    ),
    "responsibility_list_is_submitted_by_a_person": ("清单须由人员提交", "a list is submitted by a person"),
    "responsibility_list_published_has_approver_and_time": (
        "已发布的清单须有审批人和发布时间",
        "a published list has an approver and a time of publication",
    ),
    "responsibility_list_superseded_has_successor": (
        "被替代的清单须有新版本和替代时间",
        "a superseded list has a successor and the time at which it gave way",
    ),
    "responsibility_list_states_follow_each_other": (
        "清单依次经草稿、待审批、已发布、已被替代；只有待审批的清单可退回为草稿",
        "a list goes from draft to submitted, published and superseded, and only a submitted one goes back to draft",
    ),
    "responsibility_list_times_are_in_order": (
        "替代时间不早于发布时间",
        "a list is not superseded before it was published",
    ),
    "duty_item_text_is_given": ("职责条目须有内容", "a duty item has a text"),
    "duty_item_law_is_given": ("职责条目须注明法律依据", "a duty item cites a law"),
    "duty_item_article_is_given": ("职责条目须注明条款", "a duty item cites an article"),
    "duty_item_type_is_known": ("责任类型须为已知类型", "a duty item has a known duty type"),
    "duty_item_involvement_is_known": ("责任方式须为牵头或配合", "a duty item has a known involvement"),
    "duty_item_expected_evidence_is_known": ("佐证材料须为已知类型", "evidence expected is of known types"),
    "duty_item_term_is_within_a_year": ("条目期限不超过一年", "the term of a duty item is within a year"),
    "duty_item_of_a_submitted_list_is_fixed": (
        "清单提交后，其条目不得改动",
        "the items of a list do not change once it is submitted",
    ),
    # Tasks
    "a_completion_shows_the_expected_evidence": (
        "提交完成须附清单要求的各类佐证材料",
        "a completion shows every type of evidence that the list expects",
    ),
    "a_task_is_reported_by_its_holder": ("任务由其责任人填报", "a task is reported on by its holder"),
    "an_annual_list_has_at_most_200000_tasks": (
        "一份年度任务清单最多 20 万项任务",
        "an annual task list has at most 200,000 tasks",
    ),
    "annual_task_list_year_is_plausible": ("年度须在 1900 至 9998 之间", "the year lies between 1900 and 9998"),
    "annual_task_list_state_is_known": ("年度任务清单状态须为已知状态", "an annual task list is in a known state"),
    "annual_task_list_is_published_by_another_person": (
        "年度任务清单由生成者以外的人发布",
        "an annual task list is published by another person than the one who generated it",
    ),
    "annual_task_list_published_has_approver_and_time": (
        "已发布的年度任务清单须有发布人和发布时间",
        "a published annual task list has an approver and a time of publication",
    ),
    "annual_task_list_is_published_once": (
        "年度任务清单只发布一次，发布后不再改回或重新生成",
        "an annual task list is published once, and neither withdrawn nor generated anew after that",
    ),
    "task_of_a_draft_list_is_not_acted_on": (
        "年度任务清单发布前，其任务不得填报",
        "nobody acts on a task before its annual task list is published",
    ),
    "task_state_is_known": ("任务状态须为已知状态", "a task is in a known state"),
    "task_evidence_is_known": ("佐证材料须为已知类型", "evidence is of known types"),
    "task_reminder_is_known": ("提醒须为已知类型", "a reminder is of a known kind"),
    "task_is_due_after_it_is_scheduled": ("任务到期日不早于计划日期", "a task is not due before it is scheduled"),
    "task_progress_is_complete_when_submitted": (
        "进度在 0 至 100 之间，提交完成时为 100",
        "progress lies between 0 and 100 percent and is 100 exactly when the task is submitted",
    ),
    "task_evidence_has_a_type_each": (
        "每份佐证材料均须注明类型，每项任务最多 200 份",
        "each piece of evidence has a type, and a task has at most 200 of them",
    ),
    "task_submitted_has_person_and_time": (
        "已提交的任务须有提交人和提交时间",
        "a submitted task has a submitter and a time",
    ),
    "task_submitted_shows_expected_evidence": (
        "已提交的任务须附清单要求的各类佐证材料",
        "a submitted task shows every type of evidence that the list expects",
    ),
    "task_is_confirmed_by_another_person": (
        "任务由提交人以外的人确认或退回",
        "a task is confirmed or rejected by a person who never submitted it",
    ),
    "task_done_has_confirmer_and_time": ("已完成的任务须有确认人和时间", "a task done has a confirmer and a time"),
    "task_scheduled_date_never_changes": ("任务的计划日期不得改动", "the scheduled date of a task never changes"),
    # Tours and visits
    "addressee_was_visited": (
        "反馈函只发给已检查的对象",
        "a feedback letter is addressed to targets that were visited",
    ),
    "certificates_are_shown": ("检查人员须出示证件", "the inspectors show their certificates"),
    "draw_algorithm_is_published": ("抽取须采用已公布的算法", "a draw is made by a published algorithm"),
    "draw_is_from_the_frozen_pool": (
        "抽取须基于已冻结的抽取池；抽取池有变化的，请重新抽取",
        "a draw is made from the pool as it was frozen; it has changed since, so draw again",
    ),
    "enough_inspectors_for_every_target": (
        "每个巡查对象均须有足够的候选检查人员可抽取",
        "there are enough candidates to draw the inspectors of every target",
    ),
    "enterprises_are_inspected_by_an_enforcement_body": (
        "企业由执法单位检查",
        "enterprises are inspected by an enforcement body",
    ),
    "every_inspector_signs": ("每名检查人员均须签字", "every inspector of the visit signs"),
    "tour_starts_on_its_first_day_or_later": (
        "巡查在开始日期当日或之后启动",
        "a tour starts on its first day or later",
    ),
    "two_inspectors_at_every_visit": ("每次检查至少两名检查人员", "there are at least two inspectors at every visit"),
    "visit_follows_the_start_of_its_tour": ("检查不得早于巡查启动", "a visit follows the start of its tour"),
    "visit_is_recorded_by_an_inspector_of_it": (
        "检查记录由参加该次检查的人员填写",
        "a visit is recorded by one of its inspectors",
    ),
    "tour_ends_after_it_starts": ("巡查结束日期不早于开始日期", "a tour does not end before it starts"),
    "tour_notice_precedes_the_start": ("通知日期不晚于开始日期", "notice of a tour is given before it starts"),
    "tour_sends_at_least_two_inspectors": (
        "巡查每次至少派两名检查人员",
        "a tour sends at least two inspectors to each target",
    ),
    "tour_state_is_known": ("巡查状态须为已知状态", "a tour is in a known state"),
    "tour_inspectors_can_be_drawn": (
        "候选检查人员不少于每次检查人数",
        "there are at least as many candidates as inspectors at a visit",
    ),
    "tour_enforcement_unit_and_path_go_together": (
        "执法单位与其单位路径须同时存在",
        "an enforcement body comes with its unit path",
    ),
    "tour_started_has_a_time": ("已启动的巡查须有启动时间", "a started tour has the time of its start"),
    "tour_letter_goes_with_its_state": ("已反馈的巡查须有反馈函", "a tour with feedback given has a feedback letter"),
    "tour_closed_has_time_and_closer": ("已办结的巡查须有办结人和时间", "a closed tour has a closer and a time"),
    "tour_reporter_never_closes": (
        "提交整改报告的人不得办结该巡查",
        "who handed in a rectification report never closes the tour",
    ),
    "tour_target_is_a_unit_or_site": ("巡查对象须为单位或检查对象", "a target of a tour is a unit or a site"),
    "draw_seed_is_32_bytes": ("抽取种子须为 32 字节", "the seed of a draw has 32 bytes"),
    "draw_pool_hash_is_sha256": ("抽取池须以 SHA-256 冻结", "the pool of a draw is frozen by its SHA-256"),
    "draw_has_at_least_two_inspectors": ("每个对象至少抽取两人", "a draw gives each target at least two inspectors"),
    "draw_candidates_have_units": ("候选人员均须有所在单位", "every candidate of a draw has a unit"),
    "draw_candidate_never_draws": ("候选人员不得主持抽取", "a candidate never makes the draw"),
    "assignment_has_at_least_two_inspectors": (
        "每个对象至少两名检查人员",
        "each target is given at least two inspectors",
    ),
    "rectification_report_hash_is_sha256": (
        "整改报告须以 SHA-256 存证",
        "a rectification report is fixed by the SHA-256 of its document",
    ),
    "visit_target_is_a_unit_or_site": ("检查的须为单位或检查对象", "a visit is to a unit or a site"),
    "visit_has_two_inspectors": ("每次检查至少两名检查人员", "there are at least two inspectors at every visit"),
    "visit_is_recorded_by_an_inspector": (
        "检查记录由参加该次检查的人员填写",
        "a visit is recorded by one of its inspectors",
    ),
    "visit_certificate_is_shown": ("检查人员须出示证件", "the inspectors show their certificates"),
    "visit_is_signed_by_every_inspector": ("每名检查人员均须签字", "every inspector of the visit signs"),
    "visit_is_signed_or_refused": (
        "被检查方签字或注明拒签情况，二者须居其一",
        "the inspected sign, or a note tells that they refused to",
    ),
    "visit_is_not_recorded_before_it_happened": (
        "检查记录不得早于检查时间",
        "a visit is not recorded before it happened",
    ),
    "visit_is_recorded_within_30_days": (
        "检查记录应在检查之后30日内录入",
        "a visit is recorded within 30 days",
    ),
    "visit_outside_a_tour_is_to_a_site": ("巡查之外只检查检查对象", "a visit outside any tour is to a site"),
    "visit_to_a_site_has_an_enforcement_body": (
        "检查检查对象须有执法单位",
        "a visit to a site is made by an enforcement body",
    ),
    "visit_imported_is_of_no_tour": ("导入的检查不属于任何巡查", "an imported visit belongs to no tour"),
    # Hazards
    "hazard_of_the_order_is_written_off": (
        "停产所涉隐患经复查销号后，方可同意恢复生产",
        "a suspension ends once its hazard is written off upon reinspection",
    ),
    "major_hazard_needs_a_case": (
        "重大隐患须立案整改，不得现场销号",
        "a major hazard is rectified as a case, never written off on the spot",
    ),
    "on_the_spot_is_reported_by_an_inspector_of_the_visit": (
        "现场整改的隐患由参加该次检查的人员上报",
        "a hazard rectified on the spot is reported by one of the visit's inspectors",
    ),
    "one_extension_is_asked_for_at_a_time": (
        "上一次延期申请作出决定后，方可再次申请",
        "an extension is asked for once the one asked for before is decided",
    ),
    "judged_from_outside_the_responsible_unit": (
        "延期、复查和回头看由责任单位及其下属单位以外的岗位办理",
        "a post outside the responsible unit and those below it decides extensions, reinspects and looks back",
    ),
    "reassigned_to_another_unit_only": (
        "已交办的隐患只能改交其他单位",
        "a hazard that was assigned is handed on to another unit only",
    ),
    "site_is_not_closed_down": (
        "检查对象已关闭取缔的，不再办理",
        "nothing more is done about a site that is closed down",
    ),
    "unit_answers_for_its_own_hazards": (
        "隐患由其责任单位办理",
        "the unit to which a hazard is assigned answers for it",
    ),
    "hazard_grade_is_known": ("隐患等级须为一般或重大", "a hazard is general or major"),
    "hazard_disposition_is_known": ("处置方式须为已知方式", "a hazard has a known disposition"),
    "hazard_state_is_known": ("隐患状态须为已知状态", "a hazard is in a known state"),
    "hazard_write_off_reason_is_known": ("销号原因须为已知原因", "a hazard is written off for a known reason"),
    "hazard_rectifier_never_reinspects": (
        "整改人不得复查",
        "who reported a hazard rectified never reinspects it",
    ),
    "hazard_planner_never_reinspects": (
        "制定整改方案或对其负责的人不得复查",
        "who planned a rectification, or answers for the plan, never reinspects it",
    ),
    "hazard_rectifier_never_looks_back": (
        "整改人不得回头看",
        "who reported a hazard rectified never looks back on it",
    ),
    "hazard_planner_never_looks_back": (
        "制定整改方案或对其负责的人不得回头看",
        "who planned a rectification, or answers for the plan, never looks back on it",
    ),
    "hazard_written_off_has_time_and_reason": (
        "已销号的隐患须有销号时间和原因",
        "a hazard that is written off has a time and a reason",
    ),
    "hazard_on_the_spot_is_of_a_visit": (
        "现场整改的隐患须指明所属检查",
        "a hazard rectified on the spot was found in a visit",
    ),
    "hazard_rectification_needs_a_plan": ("整改须先有方案", "a rectification follows a plan"),
    "hazard_times_are_in_order": ("销号时间不早于立案时间", "a hazard is not written off before it was opened"),
    "site_order_kind_is_known": ("责令类型须为停产或关闭", "a site order is a suspension or a closure"),
    "site_order_closure_is_final": ("关闭取缔不可恢复", "a site that is closed down is never resumed"),
    "site_order_resumption_has_a_person": (
        "恢复生产须有同意人和时间",
        "a resumption has the person who consented and a time",
    ),
    # Supervision and accountability
    "a_case_is_reported_by_its_own_unit": ("督办进展由承办单位填报", "progress on a case is reported by its own unit"),
    "decider_is_no_subordinate_of_the_subject": (
        "下级不得对上级作出问责决定",
        "nobody decides on a superior",
    ),
    "every_duty_on_the_list_is_shown_performed": (
        "尽职免责须证明清单上的每项职责均已履行",
        "an exemption shows every duty on the list performed",
    ),
    "inquiry_is_the_last_rung": ("问责须为最后一级措施", "the inquiry is the last rung of a ladder"),
    "matter_is_settled": ("逾期事项办妥后方可结案", "a case is concluded once its overdue matter is settled"),
    "measure_has_an_appeal_window": (
        "该措施没有法定申诉期限，不能申诉",
        "an appeal is filed against a measure for which the law gives an appeal window",
    ),
    "only_the_subject_appeals": ("只有被问责人本人可以申诉", "only the subject appeals"),
    "rungs_stand_mildest_first": ("各级措施由轻到重排列", "the rungs of a ladder stand mildest first"),
    "subject_has_a_published_duty_list": (
        "尽职免责须有已发布的职责清单",
        "an exemption rests on a published duty list of the subject",
    ),
    "escalation_policy_versions_count_from_1": (
        "升级策略版本从 1 起编号",
        "versions of an escalation policy count from 1",
    ),
    "escalation_policy_has_rungs": ("升级策略须有 1 至 10 级", "an escalation policy has 1 to 10 rungs"),
    "escalation_policy_cites_its_source": ("升级策略须注明来源", "an escalation policy cites its source"),
    "supervision_case_source_is_known": ("督办来源须为已知来源", "a supervision case has a known source"),
    "supervision_case_term_is_positive": ("督办期限至少为 1", "the term of a supervision case is at least 1"),
    "supervision_case_state_is_known": ("督办状态须为已知状态", "a supervision case is in a known state"),
    "supervision_case_cycles_count_from_1": ("督办轮次从 1 起编号", "cycles of a supervision case count from 1"),
    "supervision_case_term_is_whole": ("期限须有数量和单位", "a term has an amount and a unit"),
    "supervision_case_reporter_never_concludes": (
        "报告过进展的人不得结案",
        "who reported progress never concludes the case",
    ),
    "supervision_case_who_answers_never_concludes": (
        "责任人不得结案",
        "who answers for a matter never concludes its case",
    ),
    "supervision_case_who_is_addressed_never_concludes": (
        "被采取督办措施的人不得结案",
        "whom a rung addressed never concludes the case",
    ),
    "supervision_case_concluded_has_time": ("已结案的督办须有结案时间", "a concluded case has the time of its end"),
    "supervision_case_concluded_fires_no_rung": ("结案后不再升级", "a concluded case fires no rung"),
    "supervision_case_times_are_in_order": (
        "督办的到期、结案时间不早于立案时间",
        "a supervision case is neither due nor concluded before it was opened",
    ),
    "accountability_case_state_is_known": ("问责案件状态须为已知状态", "an accountability case is in a known state"),
    "accountability_case_decision_is_known": ("处理决定须为已知方式", "a decision is of a known kind"),
    "accountability_case_influence_is_at_most_48_months": (
        "影响期不超过 48 个月",
        "the influence period is at most 48 months",
    ),
    "accountability_case_has_a_cause": (
        "问责案件须指明措施、隐患、任务或督办",
        "an accountability case names a measure, hazard, task or supervision case as its cause",
    ),
    "accountability_case_subject_never_opens": (
        "不得对本人立案",
        "nobody opens an accountability case against themselves",
    ),
    "accountability_case_subject_never_handles": ("被问责人不得承办本案", "the subject never handles the case"),
    "accountability_case_subject_never_decides": ("被问责人不得决定本案", "the subject never decides the case"),
    "accountability_case_handler_never_decides": (
        "提交事实材料的人不得作出决定",
        "who handed in facts never decides",
    ),
    "accountability_case_opener_never_decides": ("立案人不得作出决定", "who opened the case never decides it"),
    "accountability_case_decision_needs_facts": ("作出决定前须先提交事实", "a decision follows facts"),
    "accountability_case_decision_is_whole": (
        "决定须有决定人、时间、方式和文书号；免责须有理由",
        "a decision has a decider, a time, a kind and an instrument number, an exemption its grounds",
    ),
    "accountability_case_influence_has_an_end": ("影响期须有截止时间", "an influence period has an end"),
    "accountability_case_appeal_is_in_time": ("申诉须在申诉期限内提出", "an appeal is filed within its window"),
    "accountability_case_closed_has_time": ("已办结的问责案件须有办结时间", "a closed case has the time of its end"),
    "measure_kind_is_known": ("措施须为已知类型", "a measure is of a known kind"),
    "measure_target_is_known": ("措施对象须为已知类型", "a measure has a known kind of addressee"),
    "measure_is_a_rung_or_decided": (
        "措施或由督办逐级触发，或由问责决定作出",
        "a measure is a rung of a supervision case, or decided in an accountability case",
    ),
    # Directory
    "post_is_held_by_one_person_at_a_time": (
        "同一岗位同一时间只能由一人担任",
        "a post is held by one person at a time",
    ),
    "unit_enforcement_needs_an_authority": (
        "只有政府、部门、街道乡镇可以是执法单位",
        "only a government, department or township office is an enforcement body",
    ),
    "region_display_name_is_given": ("行政区划须有名称", "a region has a name"),
    "region_code_has_a_level": (
        "行政区划代码须为 2、4、6、9 或 12 位数字",
        "the code of a region has 2, 4, 6, 9 or 12 digits",
    ),
    "region_lies_one_level_below_its_parent": (
        "行政区划须直属上一级",
        "a region lies one level below its parent",
    ),
    "unit_display_name_is_given": ("单位须有名称", "a unit has a name"),
    "unit_kind_is_known": ("单位类别须为已知类别", "a unit is of a known kind"),
    "unit_path_ends_in_its_id": ("单位路径须以本单位编号结尾", "the path of a unit ends in its id"),
    "person_display_name_is_given": ("人员须有姓名", "a person has a name"),
    "post_display_name_is_given": ("岗位须有名称", "a post has a name"),
    "post_roles_are_known": ("岗位须有角色，且均为已知角色", "a post has roles, all of them known"),
    "post_reach_is_known": ("管辖范围须为本单位或本行政区划", "the reach of a post is its unit or its region"),
    "appointment_ends_after_it_starts": ("任职结束日期不早于开始日期", "an appointment does not end before it starts"),
    "site_display_name_is_given": ("检查对象须有名称", "a site has a name"),
    "site_credit_code_is_well_formed": (
        "统一社会信用代码须为 18 位规定字符",
        "a credit code has 18 of the characters that the standard allows",
    ),
    "site_colour_is_known": ("风险颜色须为蓝、黄、橙、红", "a risk colour is blue, yellow, orange or red"),
    "site_legacy_id_is_given": ("旧系统编号不得为空", "a legacy id is not empty"),
    "site_register_goes_with_a_legacy_id": (
        "没有旧系统编号的检查对象不属于任何旧系统台账",
        "a site without a legacy id is of no register",
    ),
    "hazard_register_goes_with_a_legacy_id": (
        "没有旧系统编号的隐患不属于任何旧系统台账",
        "a hazard without a legacy id is of no register",
    ),
    "visit_register_goes_with_a_legacy_id": (
        "没有旧系统编号的检查不属于任何旧系统台账",
        "a visit without a legacy id is of no register",
    ),
    "site_unit_and_path_go_together": ("责任单位与其单位路径须同时存在", "the unit of a site comes with its path"),
    "holiday_notice_lists_days_off": ("放假通知须列出放假日期", "a holiday notice lists days off"),
    "holiday_notice_day_is_off_or_worked": (
        "同一天不得既放假又上班",
        "a day of a holiday notice is off or worked, not both",
    ),
    "clock_is_one": ("业务时钟只有一个", "there is one business clock"),
    # Ledger and commands
    "entry_position_is_not_negative": ("台账序号不得为负", "positions in the ledger are not negative"),
    "entry_leaf_hash_is_sha256": ("台账记录须有 SHA-256 叶哈希", "an entry has a SHA-256 leaf hash"),
    "entry_payload_and_salt_go_together": ("台账内容与盐值须同时存在", "payload and salt of an entry go together"),
    "node_level_is_interior": ("只保存内部节点", "only interior nodes of the log are kept"),
    "node_index_is_not_negative": ("节点序号不得为负", "indexes of nodes are not negative"),
    "node_hash_is_sha256": ("节点须有 SHA-256 哈希", "a node has a SHA-256 hash"),
    "checkpoint_covers_something": ("检查点须覆盖至少一条记录", "a checkpoint covers at least one entry"),
    "checkpoint_root_is_sha256": ("检查点须有 SHA-256 根哈希", "a checkpoint has a SHA-256 root"),
    "command_body_hash_is_sha256": ("命令须有 SHA-256 内容哈希", "a command has the SHA-256 of its body"),
    "case_message_kind_is_known": (
        "案件消息须为启动、操作或已记录的操作",
        "a case message is a start, an update or an act",
    ),
    "case_message_start_is_one": ("一个案件只启动一次", "a case is started by one message"),
}
"""Worded as what must hold."""
KEYS: Mapping[str, tuple[str, str]] = {
    "responsibility_list_version_is_unique": (
        "同一责任人同类清单的该版本",
        "this version of the holder's lists of the kind",
    ),
    "responsibility_list_has_one_first_version": (
        "同一责任人同类的已发布清单；请以其为上一版本",
        "a published list of this holder and kind; name it as the predecessor",
    ),
    "responsibility_list_has_one_published_successor": (
        "上一版本的另一个已发布新版本",
        "another published successor of the predecessor",
    ),
    "duty_item_number_is_unique": ("清单中编号相同的条目", "an item with this number on the list"),
    "acknowledgement_is_one_per_person_and_list": (
        "本人对该清单的知责确认",
        "this person's acknowledgement of the list",
    ),
    "annual_task_list_is_one_per_holder_and_year": (
        "该责任人该年度的任务清单",
        "a published annual task list of this holder and year",
    ),
    "escalation_policy_version_is_unique": (
        "该升级策略的同一版本",
        "this version of the escalation policy",
    ),
    "measure_rung_fires_once_per_cycle": ("本轮次的这一级措施", "the measure of this rung and cycle"),
    "measure_is_decided_once": ("本案已决定的措施", "the measure decided in this case"),
    "accountability_case_of_a_measure_is_one": (
        "因同一措施对该人的问责案件",
        "an accountability case against this person for the same measure",
    ),
    "entry_position_is_unique": ("该序号的台账记录", "a ledger entry at this position"),
    "unit_path_is_unique": ("该路径的单位", "a unit with this path"),
    "site_credit_code_is_unique": (
        "该统一社会信用代码的检查对象",
        "a site with this unified social credit code",
    ),
    "site_legacy_id_is_unique_in_its_register": (
        "该旧系统台账中此编号的检查对象",
        "a site with this legacy id in its register",
    ),
    "appointment_one_lasting_per_post": ("该岗位的现任人员", "a present holder of the post"),
    "hazard_legacy_id_is_unique_in_its_register": (
        "该旧系统台账中此编号的隐患",
        "a hazard with this legacy id in its register",
    ),
    "site_order_instrument_number_is_used_once": (
        "该文书号的责令",
        "a site order with this instrument number",
    ),
    "site_order_in_force_is_one_of_a_kind": (
        "对该检查对象尚在执行的同类责令",
        "an order of this kind in force on the site",
    ),
    "tour_letter_number_is_used_once": ("本单位该编号的反馈函", "a feedback letter of this unit with this number"),
    "visit_begins_once": (
        "同一时间到达该检查对象的检查",
        "a visit to this target with the same check-in time",
    ),
    "visit_legacy_id_is_unique_in_its_register": (
        "该旧系统台账中此编号的检查",
        "a visit with this legacy id in its register",
    ),
}
"""Worded as what is there already."""
SAME_ID = ("编号相同的记录", "a record with this id")
"""What is there already when a primary key, named ``…_key``, is violated."""
