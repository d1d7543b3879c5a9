CREATE TABLE hazard (
    id text COLLATE "C" NOT NULL CONSTRAINT hazard_key PRIMARY KEY,
    revision bigint NOT NULL DEFAULT 1,
    site text COLLATE "C" NOT NULL,
    visit text NOT NULL DEFAULT '',
    grade text NOT NULL CONSTRAINT hazard_grade_is_known CHECK (grade IN ('GENERAL', 'MAJOR')),
    disposition text NOT NULL CONSTRAINT hazard_disposition_is_known
        CHECK (disposition IN ('ON_THE_SPOT', 'TIME_LIMITED', 'SUSPEND', 'CLOSE_DOWN')),
    description text NOT NULL,
    remedy text NOT NULL DEFAULT '',
    basis text NOT NULL DEFAULT '',
    state text NOT NULL CONSTRAINT hazard_state_is_known
        CHECK (state IN ('REPORTED', 'ASSIGNED', 'PLANNED', 'RECTIFIED', 'WRITTEN_OFF', 'CLOSED')),
    unit text NOT NULL DEFAULT '',
    unit_path text COLLATE "C" NOT NULL DEFAULT '',
    region_code text COLLATE "C" NOT NULL,
    reporter text NOT NULL,
    rectifier text NOT NULL DEFAULT '',
    rectifiers text[] NOT NULL DEFAULT '{}',
    reinspector text NOT NULL DEFAULT '',
    look_backer text NOT NULL DEFAULT '',
    plan jsonb,
    planners text[] NOT NULL DEFAULT '{}',
    extension jsonb,
    evidence text[] NOT NULL DEFAULT '{}',
    open_time timestamptz NOT NULL,
    due_time timestamptz,
    awaited_notice integer,
    write_off_time timestamptz,
    write_off_reason text NOT NULL DEFAULT '' CONSTRAINT hazard_write_off_reason_is_known
        CHECK (write_off_reason IN ('', 'ON_THE_SPOT', 'REINSPECTED', 'SITE_CLOSED_DOWN', 'LEGACY')),
    reopen_count integer NOT NULL DEFAULT 0,
    site_order text NOT NULL DEFAULT '',
    legacy_id text COLLATE "C",
    source_region_code text COLLATE "C" NOT NULL DEFAULT '',
    CONSTRAINT hazard_legacy_id_is_unique_in_its_register UNIQUE (source_region_code, legacy_id),
    CONSTRAINT hazard_register_goes_with_a_legacy_id CHECK (legacy_id IS NOT NULL OR source_region_code = ''),
    CONSTRAINT hazard_rectifier_never_reinspects CHECK (reinspector = '' OR NOT reinspector = ANY (rectifiers)),
    CONSTRAINT hazard_planner_never_reinspects CHECK (reinspector = '' OR NOT reinspector = ANY (planners)),
    CONSTRAINT hazard_rectifier_never_looks_back CHECK (look_backer = '' OR NOT look_backer = ANY (rectifiers)),
    CONSTRAINT hazard_planner_never_looks_back CHECK (look_backer = '' OR NOT look_backer = ANY (planners)),
    CONSTRAINT hazard_written_off_has_time_and_reason CHECK (
        (state IN ('WRITTEN_OFF', 'CLOSED')) = (write_off_time IS NOT NULL)
        AND (write_off_time IS NULL) = (write_off_reason = '')
    ),
    CONSTRAINT hazard_on_the_spot_is_of_a_visit CHECK (
        disposition <> 'ON_THE_SPOT' OR visit <> '' OR legacy_id IS NOT NULL
    ),
    CONSTRAINT hazard_rectification_needs_a_plan CHECK (state <> 'RECTIFIED' OR plan IS NOT NULL),
    CONSTRAINT hazard_times_are_in_order CHECK (write_off_time IS NULL OR write_off_time >= open_time)
);
COMMENT ON COLUMN hazard.source_region_code IS
    'The region whose register the legacy id comes from; empty for the nationwide register, and without a legacy id.';
COMMENT ON COLUMN hazard.awaited_notice IS
    'Year of the holiday notice that may still change the due time; null for one that is settled.';
CREATE INDEX hazard_by_site ON hazard (site, id);
CREATE INDEX hazard_of_unit ON hazard (unit, open_time, id) WHERE unit <> '';
CREATE INDEX hazard_in_order ON hazard (open_time, id);
-- Without the due time: every step moves that, and would then be written to every index.
CREATE INDEX hazard_provisional ON hazard (awaited_notice) WHERE awaited_notice IS NOT NULL;
CREATE INDEX hazard_open ON hazard (region_code, open_time, id) WHERE write_off_time IS NULL;

CREATE TABLE reopening (
    hazard_id text COLLATE "C" NOT NULL CONSTRAINT reopening_is_of_a_hazard REFERENCES hazard (id),
    number integer NOT NULL,
    write_off_time timestamptz NOT NULL,
    reopen_time timestamptz NOT NULL,
    CONSTRAINT reopening_key PRIMARY KEY (hazard_id, number)
);
COMMENT ON TABLE reopening IS 'Spans during which a hazard stood written off before a look-back reopened it, for as-of queries.';

CREATE TABLE site_order (
    id text COLLATE "C" NOT NULL CONSTRAINT site_order_key PRIMARY KEY,
    revision bigint NOT NULL DEFAULT 1,
    site text COLLATE "C" NOT NULL,
    region_code text COLLATE "C" NOT NULL,
    unit_path text COLLATE "C" NOT NULL DEFAULT '',
    kind text NOT NULL CONSTRAINT site_order_kind_is_known CHECK (kind IN ('SUSPEND', 'CLOSE_DOWN')),
    unit text NOT NULL,
    instrument_number text NOT NULL,
    hazard_id text COLLATE "C" NOT NULL CONSTRAINT site_order_is_for_a_hazard REFERENCES hazard (id),
    orderer text NOT NULL,
    order_time timestamptz NOT NULL,
    resume_time timestamptz,
    resumer text NOT NULL DEFAULT '',
    CONSTRAINT site_order_instrument_number_is_used_once UNIQUE (unit, instrument_number),
    CONSTRAINT site_order_closure_is_final CHECK (kind = 'SUSPEND' OR resume_time IS NULL),
    CONSTRAINT site_order_resumption_has_a_person CHECK ((resume_time IS NULL) = (resumer = ''))
);
COMMENT ON COLUMN site_order.unit IS 'The unit that issued the instrument; each unit numbers its own.';
CREATE UNIQUE INDEX site_order_in_force_is_one_of_a_kind ON site_order (site, kind) WHERE resume_time IS NULL;
