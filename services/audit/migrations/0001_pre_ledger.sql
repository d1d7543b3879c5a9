-- The ledger: the one schema that every service may write, and only append to.

CREATE SCHEMA IF NOT EXISTS ledger;
REVOKE ALL ON SCHEMA ledger FROM PUBLIC;

CREATE TABLE ledger.entry (
    id text NOT NULL CONSTRAINT entry_key PRIMARY KEY,
    position bigint CONSTRAINT entry_position_is_unique UNIQUE
        CONSTRAINT entry_position_is_not_negative CHECK (position >= 0),
    type text NOT NULL,
    actor text NOT NULL,
    business_time timestamptz NOT NULL,
    recorded_time timestamptz NOT NULL,
    objects text[] NOT NULL,
    region_code text NOT NULL,
    unit_path text NOT NULL,
    request_id text NOT NULL,
    workflow_id text NOT NULL,
    on_behalf_of text NOT NULL,
    method text NOT NULL,
    policy_version text NOT NULL,
    envelope bytea NOT NULL,
    salt bytea,
    payload bytea,
    leaf_hash bytea NOT NULL CONSTRAINT entry_leaf_hash_is_sha256 CHECK (length(leaf_hash) = 32),
    CONSTRAINT entry_payload_and_salt_go_together CHECK ((salt IS NULL) = (payload IS NULL))
);
COMMENT ON COLUMN ledger.entry.position IS 'Gapless position in the Merkle log, set once by the sequencer.';
CREATE INDEX entry_unsequenced ON ledger.entry (recorded_time, id) WHERE position IS NULL;
CREATE INDEX entry_objects ON ledger.entry USING gin (objects);
-- Once an entry has its position, so that commands, which write it without, do not pay for the index.
CREATE INDEX entry_of_actor ON ledger.entry (actor, position) WHERE position IS NOT NULL;
CREATE INDEX entry_workflow ON ledger.entry (workflow_id) WHERE workflow_id <> '';

CREATE TABLE ledger.node (
    level smallint NOT NULL CONSTRAINT node_level_is_interior CHECK (level > 0),
    index bigint NOT NULL CONSTRAINT node_index_is_not_negative CHECK (index >= 0),
    hash bytea NOT NULL CONSTRAINT node_hash_is_sha256 CHECK (length(hash) = 32),
    CONSTRAINT node_key PRIMARY KEY (level, index)
);
COMMENT ON TABLE ledger.node IS
    'Root hashes of the complete subtrees: node (l, i) covers positions i*2^l up to (i+1)*2^l - 1.';

CREATE TABLE ledger.checkpoint (
    tree_size bigint NOT NULL CONSTRAINT checkpoint_key PRIMARY KEY
        CONSTRAINT checkpoint_covers_something CHECK (tree_size > 0),
    root_hash bytea NOT NULL CONSTRAINT checkpoint_root_is_sha256 CHECK (length(root_hash) = 32),
    note text NOT NULL,
    sign_time timestamptz NOT NULL
);
COMMENT ON TABLE ledger.checkpoint IS 'Signed heads of the log; each is also kept outside the database.';

-- What remains allowed: giving an entry its position once, and shredding salt and payload together.
CREATE FUNCTION ledger.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the ledger is append-only' USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER entry_is_immutable BEFORE UPDATE ON ledger.entry FOR EACH ROW
    WHEN (
        (OLD.position IS NOT NULL AND NEW.position IS DISTINCT FROM OLD.position)
        OR ((NEW.salt IS DISTINCT FROM OLD.salt OR NEW.payload IS DISTINCT FROM OLD.payload)
            AND (NEW.salt IS NOT NULL OR NEW.payload IS NOT NULL))
        OR (NEW.id, NEW.type, NEW.actor, NEW.business_time, NEW.recorded_time, NEW.objects, NEW.region_code,
            NEW.unit_path, NEW.request_id, NEW.workflow_id, NEW.on_behalf_of, NEW.method, NEW.policy_version,
            NEW.envelope, NEW.leaf_hash)
        IS DISTINCT FROM
           (OLD.id, OLD.type, OLD.actor, OLD.business_time, OLD.recorded_time, OLD.objects, OLD.region_code,
            OLD.unit_path, OLD.request_id, OLD.workflow_id, OLD.on_behalf_of, OLD.method, OLD.policy_version,
            OLD.envelope, OLD.leaf_hash)
    )
    EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER entry_is_not_deleted BEFORE DELETE ON ledger.entry FOR EACH ROW
    EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER entry_is_not_truncated BEFORE TRUNCATE ON ledger.entry EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER node_is_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger.node
    EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER checkpoint_is_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger.checkpoint
    EXECUTE FUNCTION ledger.refuse_change();

GRANT USAGE ON SCHEMA ledger TO directory, duty, plan, inspection, hazard, accountability, audit, auditor;
GRANT INSERT (id, type, actor, business_time, recorded_time, objects, region_code, unit_path, request_id,
    workflow_id, on_behalf_of, method, policy_version, envelope, salt, payload, leaf_hash)
    ON ledger.entry TO directory, duty, plan, inspection, hazard, accountability, audit;
GRANT SELECT ON ledger.entry, ledger.node, ledger.checkpoint TO audit, auditor;
GRANT UPDATE (position) ON ledger.entry TO audit;
GRANT INSERT ON ledger.node, ledger.checkpoint TO audit;
