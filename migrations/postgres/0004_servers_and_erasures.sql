-- What servers on one database tell each other, and who must not come back.

-- `revision` rises with every change of a configuration or an experiment and with every erasure, in the transaction of the
-- change: servers that look at it know when others have changed something. `experiments_revision` is the last one that an
-- experiment made. Under `erasure_key` the names of the erased are hashed, so that nobody can guess them from the hashes.
CREATE TABLE aic_state (
    one                  BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (one),
    revision             BIGINT  NOT NULL,
    experiments_revision BIGINT  NOT NULL,
    erasure_key          TEXT    NOT NULL,
    -- SQLite alone needs it: when the file was last rewritten.
    scrubbed_at_us       BIGINT  NOT NULL
);
INSERT INTO aic_state (revision, experiments_revision, erasure_key, scrubbed_at_us)
VALUES (0, 0, replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 0);
GRANT SELECT, UPDATE ON aic_state TO auralink_service;

-- The row is locked until the change commits, so that revisions are seen in their order. As the owner, because people may
-- not touch the row itself.
CREATE FUNCTION aic_next_revision(of_experiment BOOLEAN) RETURNS BIGINT LANGUAGE sql
    SECURITY DEFINER SET search_path FROM CURRENT AS $$
    UPDATE aic_state SET revision = revision + 1,
        experiments_revision = CASE WHEN of_experiment THEN revision + 1 ELSE experiments_revision END
    RETURNING revision
$$;

ALTER TABLE aic_configs ADD COLUMN revision BIGINT NOT NULL DEFAULT 0;
CREATE INDEX aic_configs_by_revision ON aic_configs (revision);
CREATE FUNCTION aic_configs_revised() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.revision := aic_next_revision(FALSE);
    RETURN NEW;
END $$;
CREATE TRIGGER aic_configs_changed BEFORE INSERT OR UPDATE ON aic_configs
    FOR EACH ROW EXECUTE FUNCTION aic_configs_revised();
CREATE FUNCTION experiments_revised() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM aic_next_revision(TRUE);
    RETURN NULL;
END $$;
CREATE TRIGGER experiments_changed AFTER INSERT OR UPDATE ON experiments
    FOR EACH STATEMENT EXECUTE FUNCTION experiments_revised();

-- Users who were erased and calls that went with them, as keyed hashes, for as long as something about them may be late.
CREATE TABLE erasures (
    subject      TEXT   PRIMARY KEY,
    erased_at_us BIGINT NOT NULL,
    revision     BIGINT NOT NULL
);
CREATE INDEX erasures_by_revision ON erasures (revision);
CREATE INDEX erasures_by_time ON erasures (erased_at_us);
GRANT SELECT, INSERT, UPDATE, DELETE ON erasures TO auralink_service;

-- Servers that live: one that has counted no beat for a while is dead, and what it held is closed by another.
CREATE TABLE aic_servers (
    server_id  TEXT   PRIMARY KEY,
    beats      BIGINT NOT NULL,
    beat_at_us BIGINT NOT NULL
);
GRANT SELECT, INSERT, UPDATE, DELETE ON aic_servers TO auralink_service;
ALTER TABLE calls ADD COLUMN server_id TEXT;
CREATE INDEX calls_open ON calls (server_id) WHERE ended_at_us IS NULL;
CREATE INDEX call_participants_open ON call_participants (tenant_id, call_id) WHERE left_at_us IS NULL;

-- A plain hash of a name can be guessed.
ALTER TABLE audit_log DISABLE TRIGGER audit_log_is_append_only;
SET LOCAL ROLE auralink_service;
UPDATE audit_log SET detail = detail - 'subject_sha256' WHERE action = 'user.erase';
RESET ROLE;
ALTER TABLE audit_log ENABLE TRIGGER audit_log_is_append_only;
