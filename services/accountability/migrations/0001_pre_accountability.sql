-- Escalation policies, supervision cases, measures and accountability cases.

CREATE TABLE escalation_policy (
    id text NOT NULL CONSTRAINT escalation_policy_key PRIMARY KEY,
    code text COLLATE "C" NOT NULL,
    version integer NOT NULL CONSTRAINT escalation_policy_versions_count_from_1 CHECK (version >= 1),
    display_name text NOT NULL,
    region_code text COLLATE "C" NOT NULL,
    rungs jsonb NOT NULL CONSTRAINT escalation_policy_has_rungs CHECK (jsonb_array_length(rungs) BETWEEN 1 AND 10),
    source text NOT NULL CONSTRAINT escalation_policy_cites_its_source CHECK (source <> ''),
    statutory boolean NOT NULL,
    creator text NOT NULL,
    create_time timestamptz NOT NULL,
    CONSTRAINT escalation_policy_version_is_unique UNIQUE (region_code, code, version)
);
COMMENT ON COLUMN escalation_policy.region_code IS 'Empty for the presets, which serve every region.';
COMMENT ON COLUMN escalation_policy.creator IS 'Empty for the presets.';

CREATE TABLE supervision_case (
    id text NOT NULL CONSTRAINT supervision_case_key PRIMARY KEY,
    revision bigint NOT NULL DEFAULT 1,
    display_name text NOT NULL,
    source text NOT NULL CONSTRAINT supervision_case_source_is_known CHECK (
        source IN ('INSTRUCTION', 'MEETING', 'OVERDUE_TASK', 'OVERDUE_HAZARD', 'TOUR_FINDING', 'REPORT')
    ),
    matter text NOT NULL,
    unit text NOT NULL,
    unit_path text COLLATE "C" NOT NULL,
    region_code text COLLATE "C" NOT NULL,
    post text NOT NULL DEFAULT '',
    person text NOT NULL DEFAULT '',
    policy_id text NOT NULL CONSTRAINT supervision_case_pins_a_policy REFERENCES escalation_policy (id),
    policy_version integer NOT NULL,
    term_amount integer CONSTRAINT supervision_case_term_is_positive CHECK (term_amount >= 1),
    term_unit text,
    task text NOT NULL DEFAULT '',
    hazard text NOT NULL DEFAULT '',
    tour text NOT NULL DEFAULT '',
    state text NOT NULL CONSTRAINT supervision_case_state_is_known
        CHECK (state IN ('STUDY', 'HANDLE', 'SUPERVISE', 'CONCLUDED')),
    open_time timestamptz NOT NULL,
    due_time timestamptz NOT NULL,
    next_rung_time timestamptz,
    awaited_notice integer,
    fired_rung_count integer NOT NULL DEFAULT 0,
    cycle integer NOT NULL DEFAULT 1 CONSTRAINT supervision_case_cycles_count_from_1 CHECK (cycle >= 1),
    opener text NOT NULL DEFAULT '',
    progress text NOT NULL DEFAULT '',
    evidence text[] NOT NULL DEFAULT '{}',
    reporter text NOT NULL DEFAULT '',
    reporters text[] NOT NULL DEFAULT '{}',
    conclusion text NOT NULL DEFAULT '',
    concluder text NOT NULL DEFAULT '',
    conclude_time timestamptz,
    accountability_case text NOT NULL DEFAULT '',
    CONSTRAINT supervision_case_term_is_whole CHECK ((term_amount IS NULL) = (term_unit IS NULL)),
    CONSTRAINT supervision_case_reporter_never_concludes CHECK (concluder = '' OR NOT concluder = ANY (reporters)),
    CONSTRAINT supervision_case_who_answers_never_concludes CHECK (concluder = '' OR concluder <> person),
    CONSTRAINT supervision_case_concluded_has_time CHECK ((state = 'CONCLUDED') = (conclude_time IS NOT NULL)),
    CONSTRAINT supervision_case_concluded_fires_no_rung CHECK (state <> 'CONCLUDED' OR next_rung_time IS NULL),
    CONSTRAINT supervision_case_times_are_in_order CHECK (due_time >= open_time AND conclude_time >= open_time)
);
COMMENT ON COLUMN supervision_case.awaited_notice IS
    'Year of the holiday notice that may still change the next rung''s time, or before it the due time; null for none.';
COMMENT ON COLUMN supervision_case.reporters IS 'Everyone who ever reported progress; reporter is the last of them.';
CREATE INDEX supervision_case_in_order ON supervision_case (open_time, id);
CREATE INDEX supervision_case_provisional ON supervision_case (awaited_notice) WHERE awaited_notice IS NOT NULL;
CREATE INDEX supervision_case_of_hazard ON supervision_case (hazard) WHERE hazard <> '';
CREATE INDEX supervision_case_of_task ON supervision_case (task) WHERE task <> '';
CREATE INDEX supervision_case_of_unit ON supervision_case (unit, open_time, id);

CREATE TABLE accountability_case (
    id text NOT NULL CONSTRAINT accountability_case_key PRIMARY KEY,
    revision bigint NOT NULL DEFAULT 1,
    subject text NOT NULL,
    unit text NOT NULL,
    unit_path text COLLATE "C" NOT NULL,
    region_code text COLLATE "C" NOT NULL,
    post text NOT NULL DEFAULT '',
    matter text NOT NULL,
    measure text NOT NULL DEFAULT '',
    hazard text NOT NULL DEFAULT '',
    task text NOT NULL DEFAULT '',
    supervision_case text NOT NULL DEFAULT '',
    state text NOT NULL CONSTRAINT accountability_case_state_is_known
        CHECK (state IN ('OPENED', 'FACTS_SUBMITTED', 'DECIDED', 'EXEMPTED', 'CLOSED')),
    opener text NOT NULL DEFAULT '',
    open_time timestamptz NOT NULL,
    due_time timestamptz,
    awaited_notice integer,
    facts text NOT NULL DEFAULT '',
    evidence text[] NOT NULL DEFAULT '{}',
    handler text NOT NULL DEFAULT '',
    handlers text[] NOT NULL DEFAULT '{}',
    decider text NOT NULL DEFAULT '',
    decide_time timestamptz,
    decision text NOT NULL DEFAULT 'UNSPECIFIED' CONSTRAINT accountability_case_decision_is_known CHECK (
        decision IN ('UNSPECIFIED', 'CIRCULAR', 'ADMONITION', 'SUSPENSION', 'REASSIGNMENT', 'ORDERED_RESIGNATION',
            'DEMOTION', 'REMOVAL', 'SANCTION')
    ),
    instrument_number text NOT NULL DEFAULT '',
    influence_months integer NOT NULL DEFAULT 0 CONSTRAINT accountability_case_influence_is_at_most_48_months
        CHECK (influence_months BETWEEN 0 AND 48),
    influence_end_time timestamptz,
    grounds text NOT NULL DEFAULT '',
    exemption jsonb,
    appeal_due_time timestamptz,
    appeal_basis text NOT NULL DEFAULT '',
    appeal_reason text NOT NULL DEFAULT '',
    appeal_time timestamptz,
    close_time timestamptz,
    CONSTRAINT accountability_case_has_a_cause
        CHECK (measure <> '' OR hazard <> '' OR task <> '' OR supervision_case <> ''),
    CONSTRAINT accountability_case_subject_never_opens CHECK (opener <> subject),
    CONSTRAINT accountability_case_subject_never_handles CHECK (NOT subject = ANY (handlers)),
    CONSTRAINT accountability_case_subject_never_decides CHECK (decider <> subject),
    CONSTRAINT accountability_case_handler_never_decides CHECK (decider = '' OR NOT decider = ANY (handlers)),
    CONSTRAINT accountability_case_decision_needs_facts CHECK (decider = '' OR handler <> ''),
    CONSTRAINT accountability_case_decision_is_whole CHECK (
        (state IN ('DECIDED', 'EXEMPTED', 'CLOSED')) = (decider <> '' AND decide_time IS NOT NULL)
        AND (state IN ('DECIDED', 'CLOSED')) = (decision <> 'UNSPECIFIED')
        AND (decision <> 'UNSPECIFIED') = (instrument_number <> '')
        AND (state = 'EXEMPTED') = (exemption IS NOT NULL)
    ),
    CONSTRAINT accountability_case_influence_has_an_end CHECK ((influence_months > 0) = (influence_end_time IS NOT NULL)),
    CONSTRAINT accountability_case_appeal_is_in_time
        CHECK (appeal_time IS NULL OR (appeal_due_time IS NOT NULL AND appeal_time < appeal_due_time)),
    CONSTRAINT accountability_case_closed_has_time CHECK ((state IN ('EXEMPTED', 'CLOSED')) = (close_time IS NOT NULL))
);
COMMENT ON COLUMN accountability_case.awaited_notice IS
    'Year of the holiday notice that may still change the due time; null for one that is settled.';
COMMENT ON COLUMN accountability_case.handlers IS 'Everyone who ever handed in facts; handler is the last of them.';
CREATE INDEX accountability_case_in_order ON accountability_case (open_time, id);
CREATE INDEX accountability_case_of_unit ON accountability_case (unit, open_time, id);
CREATE INDEX accountability_case_provisional ON accountability_case (awaited_notice) WHERE awaited_notice IS NOT NULL;
CREATE INDEX accountability_case_of_subject ON accountability_case (subject, open_time, id);
CREATE UNIQUE INDEX accountability_case_of_a_measure_is_one ON accountability_case (measure, subject) WHERE measure <> '';

CREATE TABLE measure (
    id text NOT NULL CONSTRAINT measure_key PRIMARY KEY,
    supervision_case_id text CONSTRAINT measure_supervision_case_exists REFERENCES supervision_case (id),
    accountability_case_id text CONSTRAINT measure_accountability_case_exists REFERENCES accountability_case (id),
    kind text NOT NULL CONSTRAINT measure_kind_is_known
        CHECK (kind IN ('REMINDER', 'SUPERVISION_NOTICE', 'TALK', 'CIRCULAR', 'INQUIRY')),
    decision text NOT NULL DEFAULT 'UNSPECIFIED',
    cycle integer NOT NULL DEFAULT 0,
    rung integer NOT NULL DEFAULT 0,
    label text NOT NULL DEFAULT '',
    target text NOT NULL DEFAULT 'UNSPECIFIED' CONSTRAINT measure_target_is_known
        CHECK (target IN ('UNSPECIFIED', 'HOLDER', 'SUPERIOR', 'UNIT')),
    target_unit text NOT NULL,
    target_post text NOT NULL DEFAULT '',
    target_person text NOT NULL DEFAULT '',
    policy_id text NOT NULL DEFAULT '',
    measure_time timestamptz NOT NULL,
    region_code text COLLATE "C" NOT NULL,
    unit_path text COLLATE "C" NOT NULL,
    CONSTRAINT measure_rung_fires_once_per_cycle UNIQUE (supervision_case_id, cycle, rung),
    CONSTRAINT measure_is_decided_once UNIQUE (accountability_case_id),
    CONSTRAINT measure_is_a_rung_or_decided CHECK (
        (supervision_case_id IS NULL) <> (accountability_case_id IS NULL)
        AND (supervision_case_id IS NOT NULL) = (rung >= 1 AND cycle >= 1 AND policy_id <> '')
        AND (accountability_case_id IS NOT NULL) = (decision <> 'UNSPECIFIED')
    )
);
CREATE INDEX measure_in_order ON measure (measure_time, id);
CREATE INDEX measure_of_target_unit ON measure (target_unit, measure_time, id);
