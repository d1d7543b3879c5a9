-- Responsibility lists, their items and who took note of them.

CREATE TABLE responsibility_list (
    id text COLLATE "C" NOT NULL CONSTRAINT responsibility_list_key PRIMARY KEY,
    revision bigint NOT NULL DEFAULT 1,
    kind text NOT NULL CONSTRAINT responsibility_list_kind_is_known CHECK (kind IN ('DUTY', 'NEGATIVE')),
    display_name text NOT NULL CONSTRAINT responsibility_list_display_name_is_given CHECK (display_name <> ''),
    unit text COLLATE "C" NOT NULL,
    post text COLLATE "C" NOT NULL DEFAULT '',
    region_code text COLLATE "C" NOT NULL,
    unit_path text COLLATE "C" NOT NULL,
    effective_date date NOT NULL,
    predecessor_id text COLLATE "C" CONSTRAINT responsibility_list_predecessor_exists
        REFERENCES responsibility_list (id),
    version integer NOT NULL CONSTRAINT responsibility_list_version_is_positive CHECK (version >= 1),
    state text NOT NULL DEFAULT 'DRAFT' CONSTRAINT responsibility_list_state_is_known
        CHECK (state IN ('DRAFT', 'SUBMITTED', 'PUBLISHED', 'SUPERSEDED')),
    editor text NOT NULL,
    editors text[] NOT NULL,
    submitter text NOT NULL DEFAULT '',
    approver text NOT NULL DEFAULT '',
    return_reason text NOT NULL DEFAULT '',
    publish_time timestamptz,
    successor_id text COLLATE "C" CONSTRAINT responsibility_list_successor_exists
        REFERENCES responsibility_list (id),
    supersede_time timestamptz,
    CONSTRAINT responsibility_list_version_is_unique UNIQUE (unit, post, kind, version),
    CONSTRAINT responsibility_list_is_approved_by_another_person
        CHECK (approver = '' OR (approver <> submitter AND approver <> ALL (editors))),
    CONSTRAINT responsibility_list_is_submitted_by_a_person CHECK (state = 'DRAFT' OR submitter <> ''),
    CONSTRAINT responsibility_list_published_has_approver_and_time CHECK (
        (state IN ('PUBLISHED', 'SUPERSEDED')) = (approver <> '')
        AND (approver <> '') = (publish_time IS NOT NULL)
    ),
    CONSTRAINT responsibility_list_superseded_has_successor CHECK (
        (state = 'SUPERSEDED') = (successor_id IS NOT NULL) AND (successor_id IS NULL) = (supersede_time IS NULL)
    ),
    CONSTRAINT responsibility_list_times_are_in_order CHECK (supersede_time >= publish_time)
);
COMMENT ON COLUMN responsibility_list.editors IS 'Everybody who changed the draft; none of them may approve it.';
-- The published versions of a holder's lists form one chain: one first version, one successor of each.
CREATE UNIQUE INDEX responsibility_list_has_one_first_version ON responsibility_list (unit, post, kind)
    WHERE predecessor_id IS NULL AND state IN ('PUBLISHED', 'SUPERSEDED');
CREATE UNIQUE INDEX responsibility_list_has_one_published_successor ON responsibility_list (predecessor_id)
    WHERE predecessor_id IS NOT NULL AND state IN ('PUBLISHED', 'SUPERSEDED');

-- Second line: whatever the code does, a list is published once, and goes back only from the approver to the editor.
CREATE FUNCTION refuse_change_of_order() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE check_violation USING CONSTRAINT = 'responsibility_list_states_follow_each_other';
END $$;
CREATE TRIGGER responsibility_list_states_are_in_order BEFORE UPDATE ON responsibility_list FOR EACH ROW
    WHEN (
        OLD.state <> NEW.state AND (OLD.state, NEW.state) NOT IN (
            ('DRAFT', 'SUBMITTED'), ('SUBMITTED', 'DRAFT'), ('SUBMITTED', 'PUBLISHED'), ('PUBLISHED', 'SUPERSEDED')
        )
        OR OLD.state IN ('PUBLISHED', 'SUPERSEDED')
        AND (OLD.approver, OLD.publish_time) IS DISTINCT FROM (NEW.approver, NEW.publish_time)
    )
    EXECUTE FUNCTION refuse_change_of_order();

CREATE TABLE duty_item (
    id text COLLATE "C" NOT NULL CONSTRAINT duty_item_key PRIMARY KEY,
    list_id text COLLATE "C" NOT NULL CONSTRAINT duty_item_list_exists REFERENCES responsibility_list (id),
    number text NOT NULL,
    number_key text COLLATE "C" NOT NULL,
    text text NOT NULL CONSTRAINT duty_item_text_is_given CHECK (text <> ''),
    law text NOT NULL CONSTRAINT duty_item_law_is_given CHECK (law <> ''),
    article text NOT NULL CONSTRAINT duty_item_article_is_given CHECK (article <> ''),
    type text NOT NULL CONSTRAINT duty_item_type_is_known
        CHECK (type IN ('UNSPECIFIED', 'LEADERSHIP', 'REGULATORY', 'PRINCIPAL', 'SUPERVISORY', 'LIAISON')),
    sector text NOT NULL DEFAULT '',
    function text NOT NULL DEFAULT '',
    area text NOT NULL DEFAULT '',
    involvement text NOT NULL CONSTRAINT duty_item_involvement_is_known
        CHECK (involvement IN ('UNSPECIFIED', 'LEAD', 'SUPPORT')),
    recurrence text NOT NULL DEFAULT '',
    expected_evidence text[] NOT NULL CONSTRAINT duty_item_expected_evidence_is_known
        CHECK (expected_evidence <@ ARRAY['DOCUMENT', 'MINUTES', 'RECORD', 'REPORT', 'MEDIA']),
    term_days integer NOT NULL CONSTRAINT duty_item_term_is_within_a_year CHECK (term_days BETWEEN 0 AND 366),
    CONSTRAINT duty_item_number_is_unique UNIQUE (list_id, number)
);
COMMENT ON COLUMN duty_item.number_key IS 'The number with its figures padded, so that 3.2 sorts before 3.10.';
CREATE INDEX duty_item_in_order ON duty_item (list_id, number_key, id);

-- Second line: whatever the code does, the items of a list that was handed in do not change.
CREATE FUNCTION refuse_change_of_fixed_items() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM responsibility_list
        WHERE id = CASE TG_OP WHEN 'DELETE' THEN OLD.list_id ELSE NEW.list_id END AND state <> 'DRAFT'
    ) THEN
        RAISE check_violation USING CONSTRAINT = 'duty_item_of_a_submitted_list_is_fixed';
    END IF;
    RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END $$;
CREATE TRIGGER duty_item_is_fixed BEFORE INSERT OR UPDATE OR DELETE ON duty_item
    FOR EACH ROW EXECUTE FUNCTION refuse_change_of_fixed_items();

CREATE TABLE acknowledgement (
    id text COLLATE "C" NOT NULL CONSTRAINT acknowledgement_key PRIMARY KEY,
    list_id text COLLATE "C" NOT NULL CONSTRAINT acknowledgement_list_exists REFERENCES responsibility_list (id),
    version integer NOT NULL,
    person text COLLATE "C" NOT NULL,
    acknowledge_time timestamptz NOT NULL,
    region_code text COLLATE "C" NOT NULL,
    unit_path text COLLATE "C" NOT NULL,
    CONSTRAINT acknowledgement_is_one_per_person_and_list UNIQUE (list_id, person)
);
CREATE INDEX acknowledgement_in_order ON acknowledgement (acknowledge_time, id);
CREATE INDEX acknowledgement_of_person ON acknowledgement (person, acknowledge_time, id);
