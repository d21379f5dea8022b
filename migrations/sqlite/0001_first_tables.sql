-- Times are microseconds since the Unix epoch, UTC. Every owned row carries its tenant, and its user where it has one,
-- so that isolation is one predicate on columns of the row itself.

CREATE TABLE users (
    tenant_id     TEXT    NOT NULL,
    user_id       TEXT    NOT NULL CHECK (user_id <> ''),
    created_at_us INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, user_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE aic_configs (
    tenant_id                      TEXT    NOT NULL,
    user_id                        TEXT    NOT NULL,
    config_id                      TEXT    NOT NULL UNIQUE,
    version                        INTEGER NOT NULL CHECK (version >= 1),
    enabled                        INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    mode                           TEXT    NOT NULL CHECK (mode IN ('conservative', 'adaptive', 'aggressive', 'off')),
    target_override                REAL    CHECK (target_override BETWEEN 0 AND 1),
    floor_override                 REAL    CHECK (floor_override BETWEEN 0 AND 1),
    max_latency_ms                 INTEGER NOT NULL CHECK (max_latency_ms BETWEEN 1 AND 200),
    model_type                     TEXT    NOT NULL CHECK (length(model_type) BETWEEN 1 AND 64),
    enable_predictive_compression  INTEGER NOT NULL CHECK (enable_predictive_compression IN (0, 1)),
    enable_perceptual_optimization INTEGER NOT NULL CHECK (enable_perceptual_optimization IN (0, 1)),
    opt_out                        INTEGER NOT NULL CHECK (opt_out IN (0, 1)),
    created_at_us                  INTEGER NOT NULL,
    updated_at_us                  INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, user_id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

-- Read whole at start: the configurations that the media path must know.
CREATE INDEX aic_configs_in_force ON aic_configs (tenant_id, user_id) WHERE enabled = 1 OR opt_out = 1;

CREATE TABLE calls (
    tenant_id     TEXT    NOT NULL,
    call_id       TEXT    NOT NULL,
    room          TEXT    NOT NULL,
    started_at_us INTEGER NOT NULL,
    ended_at_us   INTEGER,
    PRIMARY KEY (tenant_id, call_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX calls_by_time ON calls (tenant_id, started_at_us);

CREATE TABLE call_participants (
    tenant_id      TEXT    NOT NULL,
    participant_id TEXT    NOT NULL,
    call_id        TEXT    NOT NULL,
    user_id        TEXT    NOT NULL,
    joined_at_us   INTEGER NOT NULL,
    left_at_us     INTEGER,
    PRIMARY KEY (tenant_id, participant_id),
    FOREIGN KEY (tenant_id, call_id) REFERENCES calls ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, user_id) REFERENCES users ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX call_participants_by_call ON call_participants (tenant_id, call_id);
CREATE INDEX call_participants_by_user ON call_participants (tenant_id, user_id, joined_at_us);

CREATE TABLE aic_sessions (
    tenant_id       TEXT    NOT NULL,
    session_id      TEXT    NOT NULL,
    user_id         TEXT    NOT NULL,
    call_id         TEXT    NOT NULL,
    track_id        TEXT    NOT NULL,
    media           TEXT    NOT NULL CHECK (media IN ('audio', 'video')),
    started_at_us   INTEGER NOT NULL,
    ended_at_us     INTEGER,
    -- Totals over the session's metric rows, kept by the trigger below; they outlive the rows.
    seconds         INTEGER NOT NULL DEFAULT 0,
    frames          INTEGER NOT NULL DEFAULT 0,
    original_kbit   REAL    NOT NULL DEFAULT 0,
    compressed_kbit REAL    NOT NULL DEFAULT 0,
    quality_sum     REAL    NOT NULL DEFAULT 0,
    quality_count   INTEGER NOT NULL DEFAULT 0,
    fallbacks       INTEGER NOT NULL DEFAULT 0,
    last_metric_us  INTEGER,
    PRIMARY KEY (tenant_id, session_id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, call_id) REFERENCES calls ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX aic_sessions_by_user ON aic_sessions (tenant_id, user_id, started_at_us);
CREATE INDEX aic_sessions_by_call ON aic_sessions (tenant_id, call_id);

-- One second of one track. A second is written once: a repeated batch changes nothing.
CREATE TABLE aic_metrics (
    metric_id                 INTEGER PRIMARY KEY,
    tenant_id                 TEXT    NOT NULL,
    user_id                   TEXT    NOT NULL,
    call_id                   TEXT    NOT NULL,
    session_id                TEXT    NOT NULL,
    track_id                  TEXT    NOT NULL,
    ts_us                     INTEGER NOT NULL,
    media                     TEXT    NOT NULL,
    original_bandwidth_kbps   REAL    NOT NULL,
    compressed_bandwidth_kbps REAL    NOT NULL,
    savings_basis             TEXT    NOT NULL,
    inference_latency_ms      REAL,
    inference_latency_p99_ms  REAL,
    quality_score             REAL,
    quality_metric            TEXT    NOT NULL,
    psnr_db                   REAL,
    model_used                TEXT    NOT NULL,
    frames                    INTEGER NOT NULL,
    fallback_triggered        INTEGER NOT NULL CHECK (fallback_triggered IN (0, 1)),
    fallback_reason           TEXT,
    network_class             TEXT    NOT NULL,
    UNIQUE (tenant_id, session_id, ts_us),
    FOREIGN KEY (tenant_id, session_id) REFERENCES aic_sessions ON DELETE CASCADE
) STRICT;

CREATE INDEX aic_metrics_by_user ON aic_metrics (tenant_id, user_id, ts_us);
CREATE INDEX aic_metrics_by_call ON aic_metrics (tenant_id, call_id, ts_us);
-- Whole-tenant pages, and retention, which walks all tenants from the oldest second.
CREATE INDEX aic_metrics_by_time ON aic_metrics (ts_us, tenant_id);

CREATE TRIGGER aic_metrics_total AFTER INSERT ON aic_metrics
BEGIN
    UPDATE aic_sessions SET
        seconds         = seconds + 1,
        frames          = frames + NEW.frames,
        original_kbit   = original_kbit + NEW.original_bandwidth_kbps,
        compressed_kbit = compressed_kbit + NEW.compressed_bandwidth_kbps,
        quality_sum     = quality_sum + coalesce(NEW.quality_score, 0),
        quality_count   = quality_count + (NEW.quality_score IS NOT NULL),
        fallbacks       = fallbacks + NEW.fallback_triggered,
        last_metric_us  = max(coalesce(last_metric_us, NEW.ts_us), NEW.ts_us)
    WHERE tenant_id = NEW.tenant_id AND session_id = NEW.session_id;
END;

CREATE TRIGGER aic_metrics_are_final BEFORE UPDATE ON aic_metrics
BEGIN
    SELECT RAISE(ABORT, 'metric rows are final');
END;

CREATE TABLE aic_model_performance (
    tenant_id        TEXT    NOT NULL,
    model            TEXT    NOT NULL,
    window_start_us  INTEGER NOT NULL,
    window_us        INTEGER NOT NULL CHECK (window_us > 0),
    frames           INTEGER NOT NULL,
    latency_p50_ms   REAL,
    latency_p95_ms   REAL,
    latency_p99_ms   REAL,
    quality_mean     REAL,
    saved_kbit       REAL    NOT NULL,
    fallbacks        INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, model, window_start_us, window_us)
) STRICT, WITHOUT ROWID;

CREATE INDEX aic_model_performance_by_time ON aic_model_performance (tenant_id, window_start_us);

CREATE TABLE aic_alerts (
    tenant_id    TEXT    NOT NULL,
    alert_id     TEXT    NOT NULL,
    user_id      TEXT,
    session_id   TEXT,
    kind         TEXT    NOT NULL,
    severity     TEXT    NOT NULL CHECK (severity IN ('info', 'warning', 'critical')),
    message      TEXT    NOT NULL,
    raised_at_us INTEGER NOT NULL,
    acked_at_us  INTEGER,
    acked_by     TEXT,
    PRIMARY KEY (tenant_id, alert_id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, session_id) REFERENCES aic_sessions ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX aic_alerts_by_time ON aic_alerts (tenant_id, raised_at_us);
CREATE INDEX aic_alerts_by_user ON aic_alerts (tenant_id, user_id, raised_at_us);
CREATE INDEX aic_alerts_by_session ON aic_alerts (tenant_id, session_id);

CREATE TABLE webhook_endpoints (
    tenant_id     TEXT    NOT NULL,
    endpoint_id   TEXT    NOT NULL,
    url           TEXT    NOT NULL,
    signing_key   TEXT    NOT NULL,
    events        TEXT    NOT NULL CHECK (json_valid(events)),
    enabled       INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    created_at_us INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, endpoint_id)
) STRICT, WITHOUT ROWID;

-- Outbox. A row without endpoint is an event that the dispatcher has still to fan out.
CREATE TABLE webhook_deliveries (
    delivery_id        INTEGER PRIMARY KEY,
    tenant_id          TEXT    NOT NULL,
    endpoint_id        TEXT,
    event              TEXT    NOT NULL,
    payload            TEXT    NOT NULL CHECK (json_valid(payload)),
    created_at_us      INTEGER NOT NULL,
    attempts           INTEGER NOT NULL DEFAULT 0,
    next_attempt_at_us INTEGER NOT NULL,
    delivered_at_us    INTEGER,
    last_error         TEXT,
    FOREIGN KEY (tenant_id, endpoint_id) REFERENCES webhook_endpoints ON DELETE CASCADE
) STRICT;

CREATE INDEX webhook_deliveries_due ON webhook_deliveries (next_attempt_at_us) WHERE delivered_at_us IS NULL;
CREATE INDEX webhook_deliveries_by_endpoint ON webhook_deliveries (tenant_id, endpoint_id, created_at_us);
CREATE INDEX webhook_deliveries_by_age ON webhook_deliveries (created_at_us);

CREATE TABLE experiments (
    tenant_id     TEXT    NOT NULL,
    experiment_id TEXT    NOT NULL,
    name          TEXT    NOT NULL,
    arms          TEXT    NOT NULL CHECK (json_valid(arms)),
    created_at_us INTEGER NOT NULL,
    started_at_us INTEGER,
    ended_at_us   INTEGER,
    PRIMARY KEY (tenant_id, experiment_id),
    UNIQUE (tenant_id, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE experiment_exposures (
    tenant_id     TEXT    NOT NULL,
    experiment_id TEXT    NOT NULL,
    user_id       TEXT    NOT NULL,
    session_id    TEXT    NOT NULL,
    arm           TEXT    NOT NULL,
    exposed_at_us INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, experiment_id, session_id),
    FOREIGN KEY (tenant_id, experiment_id) REFERENCES experiments ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, user_id) REFERENCES users ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, session_id) REFERENCES aic_sessions ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX experiment_exposures_by_time ON experiment_exposures (tenant_id, experiment_id, exposed_at_us);
CREATE INDEX experiment_exposures_by_user ON experiment_exposures (tenant_id, user_id);
CREATE INDEX experiment_exposures_by_session ON experiment_exposures (tenant_id, session_id);

-- No foreign keys: the log outlives those it is about.
CREATE TABLE audit_log (
    audit_id     INTEGER PRIMARY KEY,
    tenant_id    TEXT    NOT NULL,
    actor        TEXT    NOT NULL,
    actor_role   TEXT    NOT NULL CHECK (actor_role IN ('user', 'operator')),
    action       TEXT    NOT NULL,
    user_id      TEXT    NOT NULL,
    detail       TEXT    NOT NULL CHECK (json_valid(detail)),
    at_us        INTEGER NOT NULL
) STRICT;

CREATE INDEX audit_log_by_user ON audit_log (tenant_id, user_id, at_us);
CREATE INDEX audit_log_by_time ON audit_log (tenant_id, at_us);

CREATE TRIGGER audit_log_is_append_only BEFORE UPDATE ON audit_log
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;
