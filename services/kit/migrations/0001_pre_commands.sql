-- Applied to the schema of every service, as its owner, with the search path set to that schema.

CREATE TABLE command (
    principal text NOT NULL,
    method text NOT NULL,
    request_id text NOT NULL,
    body_hash bytea NOT NULL CONSTRAINT command_body_hash_is_sha256 CHECK (length(body_hash) = 32),
    answer bytea NOT NULL,
    receipts bytea[] NOT NULL,
    created_time timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT command_key PRIMARY KEY (principal, method, request_id)
);
COMMENT ON TABLE command IS 'What each request id was answered, and the ledger receipts of its effects.';
CREATE INDEX command_in_order ON command (created_time);

-- Services have no DELETE here: one taken over could have its latest requests forgotten and done again. They
-- may have old answers forgotten, and only that: never those of the last thirty days. The body is bound to
-- this schema's table when it is created, so no search path of the caller's can lead it elsewhere.
CREATE FUNCTION forget_commands(kept interval, at_most integer) RETURNS bigint
LANGUAGE sql SECURITY DEFINER
BEGIN ATOMIC
    WITH old AS (
        SELECT principal, method, request_id
        FROM command
        WHERE created_time < now() - greatest(kept, interval '30 days')
        ORDER BY created_time
        LIMIT at_most
        FOR UPDATE SKIP LOCKED
    ), forgotten AS (
        DELETE FROM command
        USING old
        WHERE command.principal = old.principal
            AND command.method = old.method
            AND command.request_id = old.request_id
        RETURNING 1
    )
    SELECT count(*) FROM forgotten;
END;

CREATE TABLE case_message (
    workflow_id text NOT NULL,
    message_id text NOT NULL DEFAULT 'start',
    kind text NOT NULL CONSTRAINT case_message_kind_is_known CHECK (kind IN ('start', 'update', 'act')),
    name text NOT NULL,
    at timestamptz NOT NULL,
    argument bytea NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    created_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    delivered_time timestamptz,
    CONSTRAINT case_message_key PRIMARY KEY (workflow_id, message_id),
    CONSTRAINT case_message_start_is_one CHECK ((kind = 'start') = (message_id = 'start'))
);
COMMENT ON TABLE case_message IS
    'What cases must know: written with the business row, kept for a while after the workflow has it.';
CREATE INDEX case_message_in_order ON case_message (delivered_time, created_time);
