-- What servers on one database tell each other, and who must not come back.

-- `revision` rises with every change of a configuration or an experiment and with every erasure, in the transaction of the
-- change: servers that look at it know when others have changed something. `experiments_revision` is the last one that an
-- experiment made. Under `erasure_key` the names of the erased are hashed, so that nobody can guess them from the hashes.
CREATE TABLE aic_state (
    one                  INTEGER PRIMARY KEY DEFAULT 1 CHECK (one = 1),
    revision             INTEGER NOT NULL,
    experiments_revision INTEGER NOT NULL,
    erasure_key          TEXT    NOT NULL,
    -- When the file was last rewritten, so that nothing of what was erased before is left in it.
    scrubbed_at_us       INTEGER NOT NULL
) STRICT;
INSERT INTO aic_state (revision, experiments_revision, erasure_key, scrubbed_at_us)
VALUES (0, 0, lower(hex(randomblob(32))), 0);

ALTER TABLE aic_configs ADD COLUMN revision INTEGER NOT NULL DEFAULT 0;
CREATE INDEX aic_configs_by_revision ON aic_configs (revision);
CREATE TRIGGER aic_configs_made AFTER INSERT ON aic_configs
BEGIN
    UPDATE aic_state SET revision = revision + 1;
    UPDATE aic_configs SET revision = (SELECT revision FROM aic_state)
    WHERE tenant_id = NEW.tenant_id AND user_id = NEW.user_id;
END;
CREATE TRIGGER aic_configs_changed AFTER UPDATE OF version ON aic_configs
BEGIN
    UPDATE aic_state SET revision = revision + 1;
    UPDATE aic_configs SET revision = (SELECT revision FROM aic_state)
    WHERE tenant_id = NEW.tenant_id AND user_id = NEW.user_id;
END;
CREATE TRIGGER experiments_made AFTER INSERT ON experiments
BEGIN
    UPDATE aic_state SET revision = revision + 1, experiments_revision = revision + 1;
END;
CREATE TRIGGER experiments_changed AFTER UPDATE ON experiments
BEGIN
    UPDATE aic_state SET revision = revision + 1, experiments_revision = revision + 1;
END;

-- Users who were erased and calls that went with them, as keyed hashes, for as long as something about them may be late.
CREATE TABLE erasures (
    subject      TEXT    PRIMARY KEY,
    erased_at_us INTEGER NOT NULL,
    revision     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX erasures_by_revision ON erasures (revision);
CREATE INDEX erasures_by_time ON erasures (erased_at_us);

-- Servers that live: one that has counted no beat for a while is dead, and what it held is closed by another.
CREATE TABLE aic_servers (
    server_id  TEXT    PRIMARY KEY,
    beats      INTEGER NOT NULL,
    beat_at_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
ALTER TABLE calls ADD COLUMN server_id TEXT;
CREATE INDEX calls_open ON calls (server_id) WHERE ended_at_us IS NULL;
CREATE INDEX call_participants_open ON call_participants (tenant_id, call_id) WHERE left_at_us IS NULL;

-- A plain hash of a name can be guessed.
DROP TRIGGER audit_log_is_append_only;
UPDATE audit_log SET detail = json_remove(detail, '$.subject_sha256') WHERE action = 'user.erase';
CREATE TRIGGER audit_log_is_append_only BEFORE UPDATE ON audit_log
WHEN NEW.actor <> '(erased)' OR (NEW.audit_id, NEW.tenant_id, NEW.actor_role, NEW.action, NEW.user_id, NEW.detail, NEW.at_us)
    IS NOT (OLD.audit_id, OLD.tenant_id, OLD.actor_role, OLD.action, OLD.user_id, OLD.detail, OLD.at_us)
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;
