-- Tours with their targets, draws and reports; visits and their signed records.
-- Region codes and unit paths are compared by prefix, so they are collated "C" whatever the database's locale.

CREATE TABLE tour (
    id text COLLATE "C" NOT NULL CONSTRAINT tour_key PRIMARY KEY,
    revision bigint NOT NULL DEFAULT 1,
    display_name text NOT NULL,
    unit text COLLATE "C" NOT NULL,
    unit_path text COLLATE "C" NOT NULL,
    region_code text COLLATE "C" NOT NULL,
    enforcement_unit text COLLATE "C" NOT NULL DEFAULT '',
    enforcement_path text COLLATE "C" NOT NULL DEFAULT '',
    coverage_term text NOT NULL,
    start_date date NOT NULL,
    end_date date NOT NULL CONSTRAINT tour_ends_after_it_starts CHECK (end_date >= start_date),
    notice_date date CONSTRAINT tour_notice_precedes_the_start CHECK (notice_date <= start_date),
    candidates text[] NOT NULL,
    inspectors_per_visit integer NOT NULL
        CONSTRAINT tour_sends_at_least_two_inspectors CHECK (inspectors_per_visit >= 2),
    state text NOT NULL DEFAULT 'PLANNED' CONSTRAINT tour_state_is_known
        CHECK (state IN ('PLANNED', 'DRAWN', 'STARTED', 'FEEDBACK', 'REPORTED', 'CLOSED')),
    planner text NOT NULL,
    due_time timestamptz,
    letter_number text,
    letter jsonb,
    submitters text[] NOT NULL DEFAULT '{}',
    create_time timestamptz NOT NULL,
    start_time timestamptz,
    close_time timestamptz,
    closer text NOT NULL DEFAULT '',
    conclusion text NOT NULL DEFAULT '',
    CONSTRAINT tour_letter_number_is_used_once UNIQUE (unit, letter_number),
    CONSTRAINT tour_inspectors_can_be_drawn CHECK (cardinality(candidates) >= inspectors_per_visit),
    CONSTRAINT tour_enforcement_unit_and_path_go_together CHECK ((enforcement_unit = '') = (enforcement_path = '')),
    CONSTRAINT tour_started_has_a_time CHECK ((state IN ('PLANNED', 'DRAWN')) = (start_time IS NULL)),
    CONSTRAINT tour_letter_goes_with_its_state
        CHECK ((state IN ('FEEDBACK', 'REPORTED', 'CLOSED')) = (letter IS NOT NULL)
            AND (letter IS NULL) = (letter_number IS NULL)),
    CONSTRAINT tour_closed_has_time_and_closer
        CHECK ((state = 'CLOSED') = (close_time IS NOT NULL) AND (state = 'CLOSED') = (closer <> '')),
    CONSTRAINT tour_reporter_never_closes CHECK (closer <> ALL (submitters))
);
COMMENT ON COLUMN tour.submitters IS 'Who handed in reports, repeated here because a constraint sees one row only.';
CREATE INDEX tour_in_order ON tour (create_time, id);
CREATE INDEX tour_of_unit_and_term ON tour (unit, coverage_term);

CREATE TABLE tour_target (
    tour_id text COLLATE "C" NOT NULL CONSTRAINT tour_target_is_of_a_tour REFERENCES tour (id),
    position integer NOT NULL,
    target text COLLATE "C" NOT NULL CONSTRAINT tour_target_is_a_unit_or_site CHECK (target ~ '^(units|sites)/'),
    region_code text COLLATE "C" NOT NULL,
    unit text COLLATE "C" NOT NULL,
    unit_path text COLLATE "C" NOT NULL,
    addressed boolean NOT NULL DEFAULT false,
    CONSTRAINT tour_target_key PRIMARY KEY (tour_id, target)
);
COMMENT ON COLUMN tour_target.unit IS 'The target itself, or the unit that answers for the site; empty when none does.';
COMMENT ON COLUMN tour_target.addressed IS 'The letter asks it to report; who answers for it may from then on read the tour.';
CREATE INDEX tour_target_addressed ON tour_target (tour_id) WHERE addressed;

CREATE TABLE draw (
    tour_id text COLLATE "C" NOT NULL CONSTRAINT draw_key PRIMARY KEY
        CONSTRAINT draw_is_of_a_tour REFERENCES tour (id),
    algorithm text NOT NULL,
    seed bytea NOT NULL CONSTRAINT draw_seed_is_32_bytes CHECK (length(seed) = 32),
    public_entropy text NOT NULL,
    pool_hash bytea NOT NULL CONSTRAINT draw_pool_hash_is_sha256 CHECK (length(pool_hash) = 32),
    inspectors_per_visit integer NOT NULL
        CONSTRAINT draw_has_at_least_two_inspectors CHECK (inspectors_per_visit >= 2),
    candidates text[] NOT NULL,
    candidate_units text[] NOT NULL,
    exclusions jsonb NOT NULL,
    drawer text NOT NULL,
    draw_time timestamptz NOT NULL,
    CONSTRAINT draw_candidates_have_units CHECK (cardinality(candidates) = cardinality(candidate_units)),
    CONSTRAINT draw_candidate_never_draws CHECK (drawer <> ALL (candidates))
);

CREATE TABLE assignment (
    tour_id text COLLATE "C" NOT NULL CONSTRAINT assignment_is_of_a_draw REFERENCES draw (tour_id),
    target text COLLATE "C" NOT NULL,
    inspectors text[] NOT NULL CONSTRAINT assignment_has_at_least_two_inspectors CHECK (cardinality(inspectors) >= 2),
    CONSTRAINT assignment_key PRIMARY KEY (tour_id, target),
    CONSTRAINT assignment_is_of_a_target FOREIGN KEY (tour_id, target) REFERENCES tour_target (tour_id, target)
);

CREATE TABLE rectification_report (
    tour_id text COLLATE "C" NOT NULL,
    target text COLLATE "C" NOT NULL,
    number text NOT NULL,
    document_hash bytea NOT NULL CONSTRAINT rectification_report_hash_is_sha256 CHECK (length(document_hash) = 32),
    submitter text NOT NULL,
    submit_time timestamptz NOT NULL,
    CONSTRAINT rectification_report_key PRIMARY KEY (tour_id, target),
    CONSTRAINT rectification_report_is_of_a_target
        FOREIGN KEY (tour_id, target) REFERENCES tour_target (tour_id, target)
);

CREATE TABLE visit (
    id text COLLATE "C" NOT NULL CONSTRAINT visit_key PRIMARY KEY,
    tour_id text COLLATE "C" CONSTRAINT visit_is_of_a_tour REFERENCES tour (id),
    target text COLLATE "C" NOT NULL CONSTRAINT visit_target_is_a_unit_or_site CHECK (target ~ '^(units|sites)/'),
    region_code text COLLATE "C" NOT NULL,
    unit_path text COLLATE "C" NOT NULL,
    enforcement_unit text COLLATE "C" NOT NULL DEFAULT '',
    visit_date date NOT NULL,
    check_in_time timestamptz,
    inspectors text[] NOT NULL DEFAULT '{}',
    purpose text NOT NULL DEFAULT '',
    place text NOT NULL DEFAULT '',
    content text NOT NULL DEFAULT '',
    certificate_shown boolean NOT NULL DEFAULT false,
    findings jsonb NOT NULL DEFAULT '[]',
    signatures jsonb NOT NULL DEFAULT '[]',
    target_signature text NOT NULL DEFAULT '',
    refusal_note text NOT NULL DEFAULT '',
    recorder text NOT NULL,
    record_time timestamptz NOT NULL,
    imported boolean NOT NULL DEFAULT false,
    legacy_id text COLLATE "C",
    source_region_code text COLLATE "C" NOT NULL DEFAULT '',
    legacy_inspector text NOT NULL DEFAULT '',
    CONSTRAINT visit_legacy_id_is_unique_in_its_register UNIQUE (source_region_code, legacy_id),
    CONSTRAINT visit_register_goes_with_a_legacy_id CHECK (legacy_id IS NOT NULL OR source_region_code = ''),
    CONSTRAINT visit_has_two_inspectors CHECK (imported OR cardinality(inspectors) >= 2),
    CONSTRAINT visit_is_recorded_by_an_inspector CHECK (imported OR recorder = ANY (inspectors)),
    CONSTRAINT visit_certificate_is_shown CHECK (imported OR certificate_shown),
    CONSTRAINT visit_is_signed_by_every_inspector
        CHECK (imported OR jsonb_array_length(signatures) = cardinality(inspectors)),
    CONSTRAINT visit_is_signed_or_refused CHECK (imported OR (target_signature = '') <> (refusal_note = '')),
    CONSTRAINT visit_is_not_recorded_before_it_happened CHECK (imported OR check_in_time <= record_time),
    CONSTRAINT visit_is_recorded_within_30_days CHECK (imported OR record_time - check_in_time <= interval '30 days'),
    CONSTRAINT visit_begins_once UNIQUE (target, check_in_time),
    CONSTRAINT visit_outside_a_tour_is_to_a_site CHECK (tour_id IS NOT NULL OR target ^@ 'sites/'),
    CONSTRAINT visit_to_a_site_has_an_enforcement_body
        CHECK (imported OR NOT target ^@ 'sites/' OR enforcement_unit <> ''),
    CONSTRAINT visit_imported_is_of_no_tour CHECK (NOT imported OR (tour_id IS NULL AND check_in_time IS NULL))
);
COMMENT ON COLUMN visit.source_region_code IS
    'The region whose register the legacy id comes from; empty for the nationwide register, and without a legacy id.';
CREATE INDEX visit_in_order ON visit (visit_date, id);
CREATE INDEX visit_of_tour ON visit (tour_id, target) WHERE tour_id IS NOT NULL;
CREATE INDEX visit_of_target ON visit (target, visit_date, id);
