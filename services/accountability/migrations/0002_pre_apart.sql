-- Whom a rung addressed never concludes the case, and who opened an accountability case never decides it.

ALTER TABLE supervision_case ADD COLUMN addressed text[] NOT NULL DEFAULT '{}';
COMMENT ON COLUMN supervision_case.addressed IS 'Everyone whom a rung of the case addressed in person.';
UPDATE supervision_case SET addressed = found.people
FROM (
    SELECT supervision_case_id, array_agg(DISTINCT target_person) AS people
    FROM measure
    WHERE target_person <> ''
    GROUP BY supervision_case_id
) AS found
WHERE supervision_case.id = found.supervision_case_id;

-- NOT VALID: the rows of before stay as they were decided.
ALTER TABLE supervision_case ADD CONSTRAINT supervision_case_who_is_addressed_never_concludes
    CHECK (concluder = '' OR NOT concluder = ANY (addressed)) NOT VALID;
ALTER TABLE accountability_case ADD CONSTRAINT accountability_case_opener_never_decides
    CHECK (decider = '' OR decider <> opener) NOT VALID;
