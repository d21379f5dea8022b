-- The schema of migrations/sqlite, with what only PostgreSQL can do: row level security, partitions, statement triggers.
-- Times are microseconds since the Unix epoch, UTC. Every owned row carries its tenant, and its user where it has one.
-- Roles auralink_user, auralink_operator and auralink_service exist before this runs; docs/store.md says who is who.

CREATE TABLE users (
    tenant_id     TEXT   NOT NULL CHECK (tenant_id <> ''),
    user_id       TEXT   NOT NULL CHECK (user_id <> ''),
    created_at_us BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, user_id)
);

CREATE TABLE aic_configs (
    tenant_id                      TEXT    NOT NULL,
    user_id                        TEXT    NOT NULL,
    config_id                      TEXT    NOT NULL UNIQUE,
    version                        BIGINT  NOT NULL CHECK (version >= 1),
    enabled                        BOOLEAN NOT NULL,
    mode                           TEXT    NOT NULL CHECK (mode IN ('conservative', 'adaptive', 'aggressive', 'off')),
    target_override                DOUBLE PRECISION CHECK (target_override BETWEEN 0 AND 1),
    floor_override                 DOUBLE PRECISION CHECK (floor_override BETWEEN 0 AND 1),
    max_latency_ms                 BIGINT  NOT NULL CHECK (max_latency_ms BETWEEN 1 AND 200),
    model_type                     TEXT    NOT NULL CHECK (length(model_type) BETWEEN 1 AND 64),
    enable_predictive_compression  BOOLEAN NOT NULL,
    enable_perceptual_optimization BOOLEAN NOT NULL,
    opt_out                        BOOLEAN NOT NULL,
    created_at_us                  BIGINT  NOT NULL,
    updated_at_us                  BIGINT  NOT NULL,
    PRIMARY KEY (tenant_id, user_id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users ON DELETE CASCADE
);

-- Read whole at start: the configurations that the media path must know.
CREATE INDEX aic_configs_in_force ON aic_configs (tenant_id, user_id) WHERE enabled OR opt_out;

CREATE TABLE calls (
    tenant_id     TEXT   NOT NULL CHECK (tenant_id <> ''),
    call_id       TEXT   NOT NULL,
    room          TEXT   NOT NULL,
    started_at_us BIGINT NOT NULL,
    ended_at_us   BIGINT,
    PRIMARY KEY (tenant_id, call_id)
);

CREATE INDEX calls_by_time ON calls (tenant_id, started_at_us, call_id);

CREATE TABLE call_participants (
    tenant_id      TEXT   NOT NULL,
    participant_id TEXT   NOT NULL,
    call_id        TEXT   NOT NULL,
    user_id        TEXT   NOT NULL,
    joined_at_us   BIGINT NOT NULL,
    left_at_us     BIGINT,
    PRIMARY KEY (tenant_id, participant_id),
    FOREIGN KEY (tenant_id, call_id) REFERENCES calls ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, user_id) REFERENCES users ON DELETE CASCADE
);

CREATE INDEX call_participants_by_call ON call_participants (tenant_id, call_id);
CREATE INDEX call_participants_by_user ON call_participants (tenant_id, user_id, joined_at_us);

-- Room is left in each page for the totals that change every second, so that such an update touches no index.
CREATE TABLE aic_sessions (
    tenant_id       TEXT   NOT NULL,
    session_id      TEXT   NOT NULL,
    user_id         TEXT   NOT NULL,
    call_id         TEXT   NOT NULL,
    track_id        TEXT   NOT NULL,
    media           TEXT   NOT NULL CHECK (media IN ('audio', 'video')),
    started_at_us   BIGINT NOT NULL,
    ended_at_us     BIGINT,
    -- Totals over the session's metric rows, kept by the trigger below; they outlive the rows.
    seconds         BIGINT NOT NULL DEFAULT 0,
    frames          BIGINT NOT NULL DEFAULT 0,
    original_kbit   DOUBLE PRECISION NOT NULL DEFAULT 0,
    compressed_kbit DOUBLE PRECISION NOT NULL DEFAULT 0,
    quality_sum     DOUBLE PRECISION NOT NULL DEFAULT 0,
    quality_count   BIGINT NOT NULL DEFAULT 0,
    latency_sum     DOUBLE PRECISION NOT NULL DEFAULT 0,
    latency_count   BIGINT NOT NULL DEFAULT 0,
    fallbacks       BIGINT NOT NULL DEFAULT 0,
    last_metric_us  BIGINT,
    PRIMARY KEY (tenant_id, session_id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, call_id) REFERENCES calls ON DELETE CASCADE
) WITH (fillfactor = 50);

CREATE INDEX aic_sessions_by_user ON aic_sessions (tenant_id, user_id, started_at_us);
CREATE INDEX aic_sessions_by_time ON aic_sessions (tenant_id, started_at_us, session_id);
CREATE INDEX aic_sessions_by_call ON aic_sessions (tenant_id, call_id);
CREATE INDEX aic_sessions_open ON aic_sessions (started_at_us) WHERE ended_at_us IS NULL;

-- One second of one track. A second is written once: a repeated batch changes nothing. Each day is a partition, made
-- ahead and dropped when its time has come; a row whose day has none goes to the default one.
CREATE SEQUENCE aic_metric_ids;
CREATE TABLE aic_metrics (
    metric_id                 BIGINT  NOT NULL DEFAULT nextval('aic_metric_ids'),
    tenant_id                 TEXT    NOT NULL,
    user_id                   TEXT    NOT NULL,
    call_id                   TEXT    NOT NULL,
    session_id                TEXT    NOT NULL,
    track_id                  TEXT    NOT NULL,
    ts_us                     BIGINT  NOT NULL,
    media                     TEXT    NOT NULL,
    original_bandwidth_kbps   DOUBLE PRECISION NOT NULL,
    compressed_bandwidth_kbps DOUBLE PRECISION NOT NULL,
    savings_basis             TEXT    NOT NULL,
    inference_latency_ms      DOUBLE PRECISION,
    inference_latency_p99_ms  DOUBLE PRECISION,
    quality_score             DOUBLE PRECISION,
    quality_metric            TEXT    NOT NULL,
    psnr_db                   DOUBLE PRECISION,
    model_used                TEXT    NOT NULL,
    frames                    BIGINT  NOT NULL,
    fallback_triggered        BOOLEAN NOT NULL,
    fallback_reason           TEXT,
    network_class             TEXT    NOT NULL,
    PRIMARY KEY (tenant_id, session_id, ts_us),
    FOREIGN KEY (tenant_id, session_id) REFERENCES aic_sessions ON DELETE CASCADE
) PARTITION BY RANGE (ts_us);
ALTER SEQUENCE aic_metric_ids OWNED BY aic_metrics.metric_id;

CREATE INDEX aic_metrics_by_user ON aic_metrics (tenant_id, user_id, ts_us);
CREATE INDEX aic_metrics_by_call ON aic_metrics (tenant_id, call_id, ts_us);
CREATE INDEX aic_metrics_by_tenant ON aic_metrics (tenant_id, ts_us);
-- Rows come in the order of their time: a block range index finds the last minutes of all tenants for almost nothing.
CREATE INDEX aic_metrics_by_time ON aic_metrics USING brin (ts_us);
CREATE INDEX aic_metrics_fallbacks ON aic_metrics (tenant_id, ts_us) WHERE fallback_triggered;

CREATE TABLE aic_metrics_default PARTITION OF aic_metrics DEFAULT;

-- Once for each batch, however many rows it has.
CREATE FUNCTION aic_metrics_total() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE aic_sessions AS s SET
        seconds         = s.seconds + n.seconds,
        frames          = s.frames + n.frames,
        original_kbit   = s.original_kbit + n.original_kbit,
        compressed_kbit = s.compressed_kbit + n.compressed_kbit,
        quality_sum     = s.quality_sum + n.quality_sum,
        quality_count   = s.quality_count + n.quality_count,
        latency_sum     = s.latency_sum + n.latency_sum,
        latency_count   = s.latency_count + n.latency_count,
        fallbacks       = s.fallbacks + n.fallbacks,
        last_metric_us  = greatest(s.last_metric_us, n.newest)
    FROM (
        SELECT tenant_id, session_id, count(*) AS seconds, sum(frames) AS frames,
            sum(original_bandwidth_kbps) AS original_kbit, sum(compressed_bandwidth_kbps) AS compressed_kbit,
            coalesce(sum(quality_score), 0) AS quality_sum, count(quality_score) AS quality_count,
            coalesce(sum(inference_latency_ms), 0) AS latency_sum, count(inference_latency_ms) AS latency_count,
            count(*) FILTER (WHERE fallback_triggered) AS fallbacks, max(ts_us) AS newest
        FROM added GROUP BY tenant_id, session_id
    ) AS n
    WHERE s.tenant_id = n.tenant_id AND s.session_id = n.session_id;
    RETURN NULL;
END $$;

CREATE TRIGGER aic_metrics_total AFTER INSERT ON aic_metrics
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION aic_metrics_total();

CREATE FUNCTION aic_refuse_update() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation';
END $$;

CREATE TRIGGER aic_metrics_are_final BEFORE UPDATE ON aic_metrics
    FOR EACH STATEMENT EXECUTE FUNCTION aic_refuse_update();

CREATE TABLE aic_model_performance (
    tenant_id        TEXT   NOT NULL CHECK (tenant_id <> ''),
    model            TEXT   NOT NULL,
    window_start_us  BIGINT NOT NULL,
    window_us        BIGINT NOT NULL CHECK (window_us > 0),
    frames           BIGINT NOT NULL,
    latency_p50_ms   DOUBLE PRECISION,
    latency_p95_ms   DOUBLE PRECISION,
    latency_p99_ms   DOUBLE PRECISION,
    quality_mean     DOUBLE PRECISION,
    saved_kbit       DOUBLE PRECISION NOT NULL,
    fallbacks        BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, model, window_start_us, window_us)
);

CREATE INDEX aic_model_performance_by_time ON aic_model_performance (tenant_id, window_start_us);

CREATE TABLE aic_alerts (
    tenant_id       TEXT   NOT NULL CHECK (tenant_id <> ''),
    alert_id        TEXT   NOT NULL,
    key             TEXT   NOT NULL,
    kind            TEXT   NOT NULL CHECK (kind IN ('fallback_rate', 'quality', 'latency', 'error_budget', 'capacity')),
    severity        TEXT   NOT NULL CHECK (severity IN ('info', 'warning', 'critical')),
    user_id         TEXT,
    session_id      TEXT,
    message         TEXT   NOT NULL,
    value           DOUBLE PRECISION NOT NULL,
    threshold       DOUBLE PRECISION NOT NULL,
    count           BIGINT NOT NULL DEFAULT 1,
    raised_at_us    BIGINT NOT NULL,
    last_seen_at_us BIGINT NOT NULL,
    resolved_at_us  BIGINT,
    acked_at_us     BIGINT,
    acked_by        TEXT,
    PRIMARY KEY (tenant_id, alert_id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, session_id) REFERENCES aic_sessions ON DELETE CASCADE
);

-- One open alert for each key.
CREATE UNIQUE INDEX aic_alerts_open ON aic_alerts (tenant_id, key) WHERE resolved_at_us IS NULL;
CREATE INDEX aic_alerts_by_key ON aic_alerts (tenant_id, key, resolved_at_us);
CREATE INDEX aic_alerts_by_time ON aic_alerts (tenant_id, raised_at_us, alert_id);
CREATE INDEX aic_alerts_by_user ON aic_alerts (tenant_id, user_id, raised_at_us);
CREATE INDEX aic_alerts_by_session ON aic_alerts (tenant_id, session_id);

CREATE TABLE webhook_endpoints (
    tenant_id     TEXT    NOT NULL CHECK (tenant_id <> ''),
    endpoint_id   TEXT    NOT NULL,
    url           TEXT    NOT NULL,
    signing_key   TEXT    NOT NULL,
    events        JSONB   NOT NULL CHECK (jsonb_typeof(events) = 'array'),
    enabled       BOOLEAN NOT NULL,
    created_at_us BIGINT  NOT NULL,
    updated_at_us BIGINT  NOT NULL,
    dropped       BIGINT  NOT NULL DEFAULT 0,
    lost          BIGINT  NOT NULL DEFAULT 0,
    -- Of those dropped and lost, how many the endpoint has been told of.
    told          BIGINT  NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, endpoint_id)
);

-- Outbox, first half: what happened, written with what it tells of. user_id is whom it is about.
CREATE TABLE webhook_events (
    event_id         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id        TEXT   NOT NULL CHECK (tenant_id <> ''),
    user_id          TEXT,
    subject          TEXT   NOT NULL,
    event            TEXT   NOT NULL,
    payload          TEXT   NOT NULL,
    created_at_us    BIGINT NOT NULL,
    fanned_out_at_us BIGINT,
    FOREIGN KEY (tenant_id, user_id) REFERENCES users ON DELETE CASCADE
);

CREATE INDEX webhook_events_waiting ON webhook_events (event_id) WHERE fanned_out_at_us IS NULL;
CREATE INDEX webhook_events_by_user ON webhook_events (tenant_id, user_id, event_id);
CREATE INDEX webhook_events_by_age ON webhook_events (created_at_us);

-- Second half: who has still to hear of it.
CREATE TABLE webhook_deliveries (
    delivery_id        BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id          TEXT   NOT NULL,
    endpoint_id        TEXT   NOT NULL,
    event_id           BIGINT NOT NULL REFERENCES webhook_events ON DELETE CASCADE,
    subject            TEXT   NOT NULL,
    state              TEXT   NOT NULL CHECK (state IN ('pending', 'delivered', 'lost')),
    attempts           BIGINT NOT NULL DEFAULT 0,
    created_at_us      BIGINT NOT NULL,
    next_attempt_at_us BIGINT NOT NULL,
    leased_until_us    BIGINT NOT NULL DEFAULT 0,
    delivered_at_us    BIGINT,
    last_error         TEXT,
    FOREIGN KEY (tenant_id, endpoint_id) REFERENCES webhook_endpoints ON DELETE CASCADE
);

CREATE INDEX webhook_deliveries_due ON webhook_deliveries (next_attempt_at_us) WHERE state = 'pending';
CREATE INDEX webhook_deliveries_in_order ON webhook_deliveries (tenant_id, endpoint_id, subject, delivery_id)
    WHERE state = 'pending';
CREATE INDEX webhook_deliveries_by_endpoint ON webhook_deliveries (tenant_id, endpoint_id, delivery_id);
CREATE INDEX webhook_deliveries_by_event ON webhook_deliveries (event_id);

CREATE TABLE experiments (
    tenant_id     TEXT   NOT NULL CHECK (tenant_id <> ''),
    experiment_id TEXT   NOT NULL,
    name          TEXT   NOT NULL,
    unit          TEXT   NOT NULL CHECK (unit IN ('user', 'call')),
    primary_metric TEXT  NOT NULL,
    arms          JSONB  NOT NULL CHECK (jsonb_typeof(arms) = 'array'),
    created_at_us BIGINT NOT NULL,
    ended_at_us   BIGINT,
    PRIMARY KEY (tenant_id, experiment_id),
    UNIQUE (tenant_id, name)
);

CREATE INDEX experiments_by_time ON experiments (tenant_id, created_at_us, experiment_id);
CREATE INDEX experiments_running ON experiments (tenant_id) WHERE ended_at_us IS NULL;

CREATE TABLE experiment_exposures (
    tenant_id     TEXT   NOT NULL,
    experiment_id TEXT   NOT NULL,
    user_id       TEXT   NOT NULL,
    session_id    TEXT   NOT NULL,
    arm           TEXT   NOT NULL,
    exposed_at_us BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, experiment_id, session_id),
    FOREIGN KEY (tenant_id, experiment_id) REFERENCES experiments ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, user_id) REFERENCES users ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, session_id) REFERENCES aic_sessions ON DELETE CASCADE
);

CREATE INDEX experiment_exposures_by_user ON experiment_exposures (tenant_id, user_id);
CREATE INDEX experiment_exposures_by_session ON experiment_exposures (tenant_id, session_id);

-- No foreign keys: the log outlives those it is about, but not their right to be forgotten.
CREATE TABLE audit_log (
    audit_id     BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id    TEXT   NOT NULL CHECK (tenant_id <> ''),
    actor        TEXT   NOT NULL,
    actor_role   TEXT   NOT NULL CHECK (actor_role IN ('user', 'operator', 'server')),
    action       TEXT   NOT NULL,
    user_id      TEXT   NOT NULL,
    detail       JSONB  NOT NULL,
    at_us        BIGINT NOT NULL
);

CREATE INDEX audit_log_by_user ON audit_log (tenant_id, user_id, at_us);
CREATE INDEX audit_log_by_time ON audit_log (tenant_id, at_us, audit_id);
CREATE INDEX audit_log_by_actor ON audit_log (tenant_id, actor);

-- One change is allowed: the name of an actor who has been erased.
CREATE FUNCTION audit_log_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.actor <> '(erased)'
        OR (NEW.audit_id, NEW.tenant_id, NEW.actor_role, NEW.action, NEW.user_id, NEW.detail, NEW.at_us)
        IS DISTINCT FROM (OLD.audit_id, OLD.tenant_id, OLD.actor_role, OLD.action, OLD.user_id, OLD.detail, OLD.at_us)
    THEN
        RAISE EXCEPTION 'the audit log is append-only' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER audit_log_is_append_only BEFORE UPDATE ON audit_log
    FOR EACH ROW EXECUTE FUNCTION audit_log_guard();

-- Row level security, forced: it binds the owner of the tables too, for whom no policy lets anything through. Each
-- policy names its role twice, because a login role that inherits from all three must not inherit what they see.
DO $$
DECLARE
    relation TEXT;
    mine CONSTANT TEXT := 'tenant_id = current_setting(''app.tenant_id'', true)';
    me   CONSTANT TEXT := 'user_id = nullif(current_setting(''app.user_id'', true), '''')';
BEGIN
    FOR relation IN SELECT c.relname FROM pg_class c
        WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p')
        AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id')
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', relation);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', relation);
        -- A partition is reached through its parent, whose policies hold; by its own name by nobody.
        CONTINUE WHEN relation = 'aic_metrics_default';
        EXECUTE format('CREATE POLICY of_server ON %I TO auralink_service USING (current_user = ''auralink_service'')',
            relation);
        EXECUTE format('CREATE POLICY of_operator ON %I TO auralink_operator '
            'USING (current_user = ''auralink_operator'' AND %s)', relation, mine);
        IF EXISTS (SELECT FROM information_schema.columns
            WHERE table_schema = current_schema() AND table_name = relation AND column_name = 'user_id')
        THEN
            EXECUTE format('CREATE POLICY of_user ON %I TO auralink_user '
                'USING (current_user = ''auralink_user'' AND %s AND %s)', relation, mine, me);
        END IF;
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO auralink_service', relation);
        EXECUTE format('GRANT SELECT ON %I TO auralink_operator', relation);
    END LOOP;
END $$;

-- A call belongs to those who were in it.
CREATE POLICY of_user ON calls TO auralink_user USING (
    current_user = 'auralink_user' AND tenant_id = current_setting('app.tenant_id', true) AND EXISTS (
        SELECT FROM call_participants p WHERE p.tenant_id = calls.tenant_id AND p.call_id = calls.call_id
        AND p.user_id = current_setting('app.user_id', true)));

GRANT SELECT ON users, aic_configs, calls, call_participants, aic_sessions, aic_metrics, aic_alerts,
    experiment_exposures, audit_log TO auralink_user;
GRANT INSERT ON users, webhook_events, audit_log TO auralink_user, auralink_operator;
GRANT INSERT, UPDATE ON aic_configs TO auralink_user, auralink_operator;
GRANT UPDATE (acked_at_us, acked_by) ON aic_alerts TO auralink_user, auralink_operator;
GRANT INSERT, UPDATE, DELETE ON webhook_endpoints TO auralink_operator;
GRANT UPDATE ON webhook_deliveries TO auralink_operator;
GRANT INSERT, UPDATE ON experiments TO auralink_operator;
GRANT USAGE ON SEQUENCE aic_metric_ids TO auralink_service;
