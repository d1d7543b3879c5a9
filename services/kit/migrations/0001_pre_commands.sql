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

CREATE TABLE case_message (
    kind text NOT NULL CONSTRAINT case_message_kind_is_known CHECK (kind IN ('start', 'update')),
    workflow_id text NOT NULL,
    name text NOT NULL,
    at timestamptz NOT NULL,
    argument bytea NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    created_time timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE case_message IS
    'What cases must be told: written with the business row, deleted once the workflow has it.';
-- By the argument's hash too: a case may have to be told of two things before it can be reached.
CREATE UNIQUE INDEX case_message_key ON case_message (workflow_id, kind, name, sha256(argument));
CREATE INDEX case_message_in_order ON case_message (created_time);
