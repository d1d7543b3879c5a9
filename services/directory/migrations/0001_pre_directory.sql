-- Regions, units, people, posts, appointments, sites, holiday notices and the business clock.
-- Codes and paths are compared by prefix, so they are collated "C" whatever the database's locale.

-- No foreign key to itself: the import proves every parent in one join, and checking 665,276 rows one by
-- one would cost more than the import. Nothing deletes regions.
CREATE TABLE region (
    code text COLLATE "C" NOT NULL CONSTRAINT region_key PRIMARY KEY,
    parent_code text COLLATE "C" NOT NULL,
    display_name text NOT NULL CONSTRAINT region_display_name_is_given CHECK (display_name <> ''),
    CONSTRAINT region_code_has_a_level CHECK (code ~ '^([0-9]{2}|[0-9]{4}|[0-9]{6}|[0-9]{9}|[0-9]{12})$'),
    CONSTRAINT region_lies_one_level_below_its_parent CHECK (
        parent_code = left(code, CASE length(code) WHEN 2 THEN 0 WHEN 4 THEN 2 WHEN 6 THEN 4 WHEN 9 THEN 6 ELSE 9 END)
    )
);
CREATE INDEX region_children ON region (parent_code);

CREATE TABLE unit (
    id text COLLATE "C" NOT NULL CONSTRAINT unit_key PRIMARY KEY,
    revision bigint NOT NULL DEFAULT 1,
    display_name text NOT NULL CONSTRAINT unit_display_name_is_given CHECK (display_name <> ''),
    region_code text COLLATE "C" NOT NULL,
    parent_id text COLLATE "C" CONSTRAINT unit_parent_exists REFERENCES unit (id),
    kind text NOT NULL CONSTRAINT unit_kind_is_known
        CHECK (kind IN ('COMMITTEE', 'GOVERNMENT', 'DEPARTMENT', 'TOWNSHIP_OFFICE', 'ENTERPRISE')),
    enforcement boolean NOT NULL DEFAULT false,
    path text COLLATE "C" NOT NULL CONSTRAINT unit_path_is_unique UNIQUE,
    CONSTRAINT unit_path_ends_in_its_id CHECK (path ~ '^([^/]+/)+$' AND right(path, length(id) + 1) = id || '/'),
    CONSTRAINT unit_enforcement_needs_an_authority
        CHECK (NOT enforcement OR kind IN ('GOVERNMENT', 'DEPARTMENT', 'TOWNSHIP_OFFICE'))
);
COMMENT ON COLUMN unit.region_code IS 'Empty only for the unit that acts nationwide, which bootstrap makes.';
CREATE INDEX unit_children ON unit (parent_id);

-- region_code and unit_path below repeat the unit's, which never change, so that a scope is one comparison.
CREATE TABLE person (
    id text COLLATE "C" NOT NULL CONSTRAINT person_key PRIMARY KEY,
    display_name text NOT NULL CONSTRAINT person_display_name_is_given CHECK (display_name <> ''),
    unit_id text COLLATE "C" NOT NULL CONSTRAINT person_unit_exists REFERENCES unit (id),
    region_code text COLLATE "C" NOT NULL,
    unit_path text COLLATE "C" NOT NULL
);

CREATE TABLE post (
    id text COLLATE "C" NOT NULL CONSTRAINT post_key PRIMARY KEY,
    unit_id text COLLATE "C" NOT NULL CONSTRAINT post_unit_exists REFERENCES unit (id),
    display_name text NOT NULL CONSTRAINT post_display_name_is_given CHECK (display_name <> ''),
    roles text[] NOT NULL CONSTRAINT post_roles_are_known CHECK (
        cardinality(roles) > 0
        AND roles <@ ARRAY['OPERATOR', 'LIST_EDITOR', 'LIST_APPROVER', 'DUTY_HOLDER', 'INSPECTOR', 'SUPERVISOR',
            'RESPONSIBLE_UNIT', 'LEADER', 'AUDITOR', 'DEPARTMENT_SYSTEM']
    ),
    reach text NOT NULL CONSTRAINT post_reach_is_known CHECK (reach IN ('UNIT', 'REGION')),
    region_code text COLLATE "C" NOT NULL,
    unit_path text COLLATE "C" NOT NULL
);
CREATE INDEX post_of_unit ON post (unit_id);

CREATE TABLE appointment (
    id text COLLATE "C" NOT NULL CONSTRAINT appointment_key PRIMARY KEY,
    post_id text COLLATE "C" NOT NULL CONSTRAINT appointment_post_exists REFERENCES post (id),
    person_id text COLLATE "C" NOT NULL CONSTRAINT appointment_person_exists REFERENCES person (id),
    start_date date NOT NULL,
    end_date date CONSTRAINT appointment_ends_after_it_starts CHECK (end_date >= start_date),
    region_code text COLLATE "C" NOT NULL,
    unit_path text COLLATE "C" NOT NULL
);
COMMENT ON COLUMN appointment.end_date IS
    'First Beijing day no longer in office. Ending at once sets today; equal to start_date: never took office.';
-- The full rule (no two terms of a post overlap) is checked under a lock on the post: an exclusion
-- constraint would need btree_gist, which not every supported server has.
CREATE UNIQUE INDEX appointment_one_lasting_per_post ON appointment (post_id) WHERE end_date IS NULL;
CREATE INDEX appointment_of_post ON appointment (post_id);
CREATE INDEX appointment_of_person ON appointment (person_id);

CREATE TABLE site (
    id text COLLATE "C" NOT NULL CONSTRAINT site_key PRIMARY KEY,
    revision bigint NOT NULL DEFAULT 1,
    display_name text NOT NULL CONSTRAINT site_display_name_is_given CHECK (display_name <> ''),
    -- Unique nationwide because the law makes it so (GB 32100: one code, one organisation). A clash with a site that
    -- the caller cannot see is answered with his own code and nothing else, as a clash with one that he can see is:
    -- he learns that somebody supervises this organisation, whose code is public, but not who, where or what.
    credit_code text COLLATE "C" CONSTRAINT site_credit_code_is_unique UNIQUE
        CONSTRAINT site_credit_code_is_well_formed CHECK (credit_code ~ '^[0-9A-HJ-NPQRTUWXY]{18}$'),
    region_code text COLLATE "C" NOT NULL CONSTRAINT site_region_exists REFERENCES region (code),
    unit_id text COLLATE "C" CONSTRAINT site_unit_exists REFERENCES unit (id),
    unit_path text COLLATE "C" NOT NULL DEFAULT '',
    sector text NOT NULL DEFAULT '',
    colour text NOT NULL DEFAULT 'UNSPECIFIED' CONSTRAINT site_colour_is_known
        CHECK (colour IN ('UNSPECIFIED', 'BLUE', 'YELLOW', 'ORANGE', 'RED')),
    legacy_id text COLLATE "C" CONSTRAINT site_legacy_id_is_given CHECK (legacy_id <> ''),
    source_region_code text COLLATE "C" NOT NULL DEFAULT '',
    CONSTRAINT site_legacy_id_is_unique_in_its_register UNIQUE (source_region_code, legacy_id),
    CONSTRAINT site_register_goes_with_a_legacy_id CHECK (legacy_id IS NOT NULL OR source_region_code = ''),
    CONSTRAINT site_unit_and_path_go_together CHECK ((unit_id IS NULL) = (unit_path = ''))
);
COMMENT ON COLUMN site.source_region_code IS
    'The region whose register the legacy id comes from; empty for the nationwide register, and without a legacy id.';
CREATE INDEX site_of_region ON site (region_code, id);

CREATE TABLE holiday_notice (
    year integer NOT NULL CONSTRAINT holiday_notice_key PRIMARY KEY,
    revision bigint NOT NULL DEFAULT 1,
    off_dates date[] NOT NULL CONSTRAINT holiday_notice_lists_days_off CHECK (cardinality(off_dates) > 0),
    work_dates date[] NOT NULL,
    CONSTRAINT holiday_notice_day_is_off_or_worked CHECK (NOT off_dates && work_dates)
);

CREATE TABLE clock (
    id smallint NOT NULL DEFAULT 1 CONSTRAINT clock_key PRIMARY KEY CONSTRAINT clock_is_one CHECK (id = 1),
    time timestamptz NOT NULL
);
COMMENT ON TABLE clock IS 'Business time where virtual time is on; it only moves forward.';
