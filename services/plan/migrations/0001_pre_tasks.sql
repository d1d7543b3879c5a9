-- Annual task lists and their tasks.

CREATE TABLE annual_task_list (
    id text COLLATE "C" NOT NULL CONSTRAINT annual_task_list_key PRIMARY KEY,
    revision bigint NOT NULL DEFAULT 1,
    responsibility_list text COLLATE "C" NOT NULL,
    list_version integer NOT NULL,
    year integer NOT NULL CONSTRAINT annual_task_list_year_is_plausible CHECK (year BETWEEN 1900 AND 9998),
    unit text COLLATE "C" NOT NULL,
    post text COLLATE "C" NOT NULL DEFAULT '',
    region_code text COLLATE "C" NOT NULL,
    unit_path text COLLATE "C" NOT NULL,
    state text NOT NULL DEFAULT 'DRAFT' CONSTRAINT annual_task_list_state_is_known
        CHECK (state IN ('DRAFT', 'PUBLISHED')),
    editor text NOT NULL,
    approver text NOT NULL DEFAULT '',
    generate_time timestamptz NOT NULL,
    publish_time timestamptz,
    task_count integer NOT NULL,
    CONSTRAINT annual_task_list_is_one_per_holder_and_year UNIQUE (unit, post, year),
    CONSTRAINT annual_task_list_is_published_by_another_person CHECK (approver <> editor),
    CONSTRAINT annual_task_list_published_has_approver_and_time CHECK (
        (state = 'PUBLISHED') = (approver <> '') AND (approver <> '') = (publish_time IS NOT NULL)
    )
);
COMMENT ON COLUMN annual_task_list.task_count IS
    'Fixed when the tasks are generated: tasks are never added or removed afterwards.';

CREATE TABLE task (
    id text COLLATE "C" NOT NULL CONSTRAINT task_key PRIMARY KEY,
    revision bigint NOT NULL DEFAULT 1,
    annual_task_list_id text COLLATE "C" NOT NULL,
    duty_item text COLLATE "C" NOT NULL,
    title text NOT NULL,
    unit text COLLATE "C" NOT NULL,
    post text COLLATE "C" NOT NULL,
    region_code text COLLATE "C" NOT NULL,
    unit_path text COLLATE "C" NOT NULL,
    scheduled_date date NOT NULL,
    due_date date NOT NULL,
    state text NOT NULL DEFAULT 'OPEN' CONSTRAINT task_state_is_known CHECK (state IN ('OPEN', 'SUBMITTED', 'DONE')),
    progress_percent integer NOT NULL DEFAULT 0,
    remark text NOT NULL DEFAULT '',
    expected_evidence text[] NOT NULL,
    evidence_types text[] NOT NULL DEFAULT '{}' CONSTRAINT task_evidence_is_known
        CHECK (evidence_types <@ ARRAY['DOCUMENT', 'MINUTES', 'RECORD', 'REPORT', 'MEDIA']),
    evidence_references text[] NOT NULL DEFAULT '{}',
    submitter text NOT NULL DEFAULT '',
    submitters text[] NOT NULL DEFAULT '{}',
    submit_time timestamptz,
    confirmer text NOT NULL DEFAULT '',
    done_time timestamptz,
    reject_reason text NOT NULL DEFAULT '',
    reminder text NOT NULL DEFAULT '' CONSTRAINT task_reminder_is_known
        CHECK (reminder IN ('', 'DUE_SOON', 'OVERDUE')),
    supervision_case text NOT NULL DEFAULT '',
    CONSTRAINT task_is_due_after_it_is_scheduled CHECK (due_date >= scheduled_date),
    CONSTRAINT task_progress_is_complete_when_submitted CHECK (
        progress_percent BETWEEN 0 AND 100 AND (progress_percent = 100) = (state <> 'OPEN')
    ),
    CONSTRAINT task_evidence_has_a_type_each CHECK (
        cardinality(evidence_types) = cardinality(evidence_references) AND cardinality(evidence_types) <= 200
    ),
    CONSTRAINT task_submitted_has_person_and_time CHECK (
        (state = 'OPEN') = (submitter = '') AND (submitter = '') = (submit_time IS NULL)
    ),
    CONSTRAINT task_submitted_shows_expected_evidence CHECK (state = 'OPEN' OR expected_evidence <@ evidence_types),
    CONSTRAINT task_is_confirmed_by_another_person CHECK (confirmer = '' OR confirmer <> ALL (submitters)),
    CONSTRAINT task_done_has_confirmer_and_time CHECK (
        (state = 'DONE') = (done_time IS NOT NULL) AND (state <> 'DONE' OR confirmer <> '')
    )
) WITH (fillfactor = 90);
COMMENT ON COLUMN task.submitters IS 'Everybody who ever submitted the completion; none of them may confirm or reject it.';
COMMENT ON COLUMN task.reminder IS 'The last reminder recorded. That a task is overdue is never stored: due_date says it.';
-- No foreign key to annual_task_list: a list's tasks are written and replaced in one transaction with it,
-- under its lock, and checking each of a list's many tasks would cost as much again as writing them.
CREATE INDEX task_of_list ON task (annual_task_list_id, due_date, id);
CREATE INDEX task_in_order ON task (due_date, id);
CREATE INDEX task_unfinished ON task (due_date, id) WHERE state <> 'DONE';
CREATE INDEX task_to_remind ON task (annual_task_list_id, due_date, id) WHERE state = 'OPEN' AND reminder <> 'OVERDUE';

-- Second line: whatever the code does, a list is published once, and nobody acts on its tasks before that.
CREATE FUNCTION refuse_change_of_published_list() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE check_violation USING CONSTRAINT = 'annual_task_list_is_published_once';
END $$;
CREATE TRIGGER annual_task_list_is_fixed BEFORE UPDATE OR DELETE ON annual_task_list
    FOR EACH ROW WHEN (OLD.state = 'PUBLISHED') EXECUTE FUNCTION refuse_change_of_published_list();

CREATE FUNCTION refuse_action_on_draft() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM annual_task_list WHERE id = NEW.annual_task_list_id AND state = 'PUBLISHED') THEN
        RAISE check_violation USING CONSTRAINT = 'task_of_a_draft_list_is_not_acted_on';
    END IF;
    RETURN NEW;
END $$;
-- The first action on a task is the one to check: every action counts the revision up, and no list is withdrawn.
CREATE TRIGGER task_waits_for_its_list BEFORE UPDATE ON task
    FOR EACH ROW WHEN (OLD.revision = 1) EXECUTE FUNCTION refuse_action_on_draft();

CREATE FUNCTION refuse_change_of_schedule() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE check_violation USING CONSTRAINT = 'task_scheduled_date_never_changes';
END $$;
CREATE TRIGGER task_schedule_is_fixed BEFORE UPDATE OF scheduled_date ON task
    FOR EACH ROW WHEN (OLD.scheduled_date IS DISTINCT FROM NEW.scheduled_date)
    EXECUTE FUNCTION refuse_change_of_schedule();
