-- Rollups, alerts with a life, an outbox in two halves, experiments with a unit.

-- More totals of a session, and what the rollups don't have yet: its oldest second, and the one they are working on.
ALTER TABLE aic_sessions ADD COLUMN latency_sum REAL NOT NULL DEFAULT 0;
ALTER TABLE aic_sessions ADD COLUMN latency_count INTEGER NOT NULL DEFAULT 0;
ALTER TABLE aic_sessions ADD COLUMN dirty_from_us INTEGER;
ALTER TABLE aic_sessions ADD COLUMN rolling_from_us INTEGER;
UPDATE aic_sessions AS s SET latency_sum = m.latency_sum, latency_count = m.latency_count, dirty_from_us = m.oldest
FROM (
    SELECT tenant_id, session_id, coalesce(sum(inference_latency_ms), 0.0) AS latency_sum,
        count(inference_latency_ms) AS latency_count, min(ts_us) AS oldest
    FROM aic_metrics GROUP BY tenant_id, session_id
) AS m WHERE s.tenant_id = m.tenant_id AND s.session_id = m.session_id;
CREATE INDEX aic_sessions_dirty ON aic_sessions (dirty_from_us) WHERE dirty_from_us IS NOT NULL;
CREATE INDEX aic_sessions_rolling ON aic_sessions (tenant_id, user_id) WHERE rolling_from_us IS NOT NULL;
CREATE INDEX aic_sessions_by_time ON aic_sessions (tenant_id, started_at_us, session_id);
CREATE INDEX aic_sessions_open ON aic_sessions (started_at_us) WHERE ended_at_us IS NULL;
CREATE INDEX aic_metrics_fallbacks ON aic_metrics (tenant_id, ts_us) WHERE fallback_triggered;

DROP TRIGGER aic_metrics_total;
CREATE TRIGGER aic_metrics_total AFTER INSERT ON aic_metrics
BEGIN
    UPDATE aic_sessions SET
        seconds         = seconds + 1,
        frames          = frames + NEW.frames,
        original_kbit   = original_kbit + NEW.original_bandwidth_kbps,
        compressed_kbit = compressed_kbit + NEW.compressed_bandwidth_kbps,
        quality_sum     = quality_sum + coalesce(NEW.quality_score, 0),
        quality_count   = quality_count + (NEW.quality_score IS NOT NULL),
        latency_sum     = latency_sum + coalesce(NEW.inference_latency_ms, 0),
        latency_count   = latency_count + (NEW.inference_latency_ms IS NOT NULL),
        fallbacks       = fallbacks + NEW.fallback_triggered,
        last_metric_us  = max(coalesce(last_metric_us, NEW.ts_us), NEW.ts_us),
        dirty_from_us   = min(coalesce(dirty_from_us, NEW.ts_us), NEW.ts_us)
    WHERE tenant_id = NEW.tenant_id AND session_id = NEW.session_id;
END;

-- Rollups. A user's hour by model: sums, and bins that can be added up: of the quality score (edges 0.5 0.6 0.7 0.75 0.8
-- 0.85 0.9 0.95), of the seconds' median latency and of their 99th percentile (edges 0.25 0.5 1 2 3 5 8 12 20 50 200 ms).
-- A bin holds what is at or over the edge before it and under its own.
CREATE TABLE aic_usage_hours (
    tenant_id       TEXT NOT NULL,
    user_id         TEXT NOT NULL,
    hour_us         INTEGER NOT NULL,
    media           TEXT NOT NULL,
    model_used      TEXT NOT NULL,
    seconds         INTEGER NOT NULL,
    frames          INTEGER NOT NULL,
    original_kbit   REAL NOT NULL,
    compressed_kbit REAL NOT NULL,
    quality_sum     REAL NOT NULL,
    quality_count   INTEGER NOT NULL,
    latency_sum     REAL NOT NULL,
    latency_count   INTEGER NOT NULL,
    fallbacks       INTEGER NOT NULL,
    quality_00 INTEGER NOT NULL, quality_01 INTEGER NOT NULL, quality_02 INTEGER NOT NULL,
    quality_03 INTEGER NOT NULL, quality_04 INTEGER NOT NULL, quality_05 INTEGER NOT NULL,
    quality_06 INTEGER NOT NULL, quality_07 INTEGER NOT NULL, quality_08 INTEGER NOT NULL,
    median_00 INTEGER NOT NULL, median_01 INTEGER NOT NULL, median_02 INTEGER NOT NULL,
    median_03 INTEGER NOT NULL, median_04 INTEGER NOT NULL, median_05 INTEGER NOT NULL,
    median_06 INTEGER NOT NULL, median_07 INTEGER NOT NULL, median_08 INTEGER NOT NULL,
    median_09 INTEGER NOT NULL, median_10 INTEGER NOT NULL, median_11 INTEGER NOT NULL,
    tail_00 INTEGER NOT NULL, tail_01 INTEGER NOT NULL, tail_02 INTEGER NOT NULL, tail_03 INTEGER NOT NULL,
    tail_04 INTEGER NOT NULL, tail_05 INTEGER NOT NULL, tail_06 INTEGER NOT NULL, tail_07 INTEGER NOT NULL,
    tail_08 INTEGER NOT NULL, tail_09 INTEGER NOT NULL, tail_10 INTEGER NOT NULL, tail_11 INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, user_id, hour_us, media, model_used),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX aic_usage_hours_by_time ON aic_usage_hours (tenant_id, hour_us);

-- Rows before the watermark are in the rollups, later ones are read raw. Model windows are complete up to models_until_us.
CREATE TABLE aic_rollup_state (
    one             INTEGER PRIMARY KEY DEFAULT 1 CHECK (one = 1),
    watermark_us    INTEGER NOT NULL,
    models_until_us INTEGER NOT NULL
) STRICT;
INSERT INTO aic_rollup_state (watermark_us, models_until_us) VALUES (0, 0);

-- The names under which PostgreSQL shows its materialized views.
CREATE VIEW aic_performance_hourly AS SELECT tenant_id, user_id, hour_us, media, model_used,
    sum(seconds) AS seconds, sum(frames) AS frames, sum(original_kbit) AS original_kbit,
    sum(compressed_kbit) AS compressed_kbit, sum(quality_sum) AS quality_sum,
    sum(quality_count) AS quality_count, sum(latency_sum) AS latency_sum, sum(latency_count) AS latency_count,
    sum(fallbacks) AS fallbacks, sum(quality_00) AS quality_00, sum(quality_01) AS quality_01,
    sum(quality_02) AS quality_02, sum(quality_03) AS quality_03, sum(quality_04) AS quality_04,
    sum(quality_05) AS quality_05, sum(quality_06) AS quality_06, sum(quality_07) AS quality_07,
    sum(quality_08) AS quality_08, sum(median_00) AS median_00, sum(median_01) AS median_01,
    sum(median_02) AS median_02, sum(median_03) AS median_03, sum(median_04) AS median_04,
    sum(median_05) AS median_05, sum(median_06) AS median_06, sum(median_07) AS median_07,
    sum(median_08) AS median_08, sum(median_09) AS median_09, sum(median_10) AS median_10,
    sum(median_11) AS median_11, sum(tail_00) AS tail_00, sum(tail_01) AS tail_01, sum(tail_02) AS tail_02,
    sum(tail_03) AS tail_03, sum(tail_04) AS tail_04, sum(tail_05) AS tail_05, sum(tail_06) AS tail_06,
    sum(tail_07) AS tail_07, sum(tail_08) AS tail_08, sum(tail_09) AS tail_09, sum(tail_10) AS tail_10,
    sum(tail_11) AS tail_11
    FROM aic_usage_hours GROUP BY 1, 2, 3, 4, 5;
CREATE VIEW aic_performance_daily AS SELECT tenant_id, user_id, hour_us - hour_us % 86400000000 AS day_us, media, model_used,
    sum(seconds) AS seconds, sum(frames) AS frames, sum(original_kbit) AS original_kbit,
    sum(compressed_kbit) AS compressed_kbit, sum(quality_sum) AS quality_sum,
    sum(quality_count) AS quality_count, sum(latency_sum) AS latency_sum, sum(latency_count) AS latency_count,
    sum(fallbacks) AS fallbacks, sum(quality_00) AS quality_00, sum(quality_01) AS quality_01,
    sum(quality_02) AS quality_02, sum(quality_03) AS quality_03, sum(quality_04) AS quality_04,
    sum(quality_05) AS quality_05, sum(quality_06) AS quality_06, sum(quality_07) AS quality_07,
    sum(quality_08) AS quality_08, sum(median_00) AS median_00, sum(median_01) AS median_01,
    sum(median_02) AS median_02, sum(median_03) AS median_03, sum(median_04) AS median_04,
    sum(median_05) AS median_05, sum(median_06) AS median_06, sum(median_07) AS median_07,
    sum(median_08) AS median_08, sum(median_09) AS median_09, sum(median_10) AS median_10,
    sum(median_11) AS median_11, sum(tail_00) AS tail_00, sum(tail_01) AS tail_01, sum(tail_02) AS tail_02,
    sum(tail_03) AS tail_03, sum(tail_04) AS tail_04, sum(tail_05) AS tail_05, sum(tail_06) AS tail_06,
    sum(tail_07) AS tail_07, sum(tail_08) AS tail_08, sum(tail_09) AS tail_09, sum(tail_10) AS tail_10,
    sum(tail_11) AS tail_11
    FROM aic_usage_hours GROUP BY 1, 2, 3, 4, 5;

CREATE TABLE aic_alerts_new (
    tenant_id       TEXT    NOT NULL,
    alert_id        TEXT    NOT NULL,
    key             TEXT    NOT NULL,
    kind            TEXT    NOT NULL CHECK (kind IN ('fallback_rate', 'quality', 'latency', 'error_budget', 'capacity')),
    severity        TEXT    NOT NULL CHECK (severity IN ('info', 'warning', 'critical')),
    user_id         TEXT,
    session_id      TEXT,
    message         TEXT    NOT NULL,
    value           REAL    NOT NULL,
    threshold       REAL    NOT NULL,
    count           INTEGER NOT NULL DEFAULT 1,
    raised_at_us    INTEGER NOT NULL,
    last_seen_at_us INTEGER NOT NULL,
    resolved_at_us  INTEGER,
    acked_at_us     INTEGER,
    acked_by        TEXT,
    PRIMARY KEY (tenant_id, alert_id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, session_id) REFERENCES aic_sessions ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
-- Nothing raised alerts yet; should there be one of a known kind, it comes along as history.
INSERT INTO aic_alerts_new
SELECT tenant_id, alert_id, alert_id, kind, severity, user_id, session_id, message, 0.0, 0.0, 1, raised_at_us,
    raised_at_us, raised_at_us, acked_at_us, acked_by
FROM aic_alerts WHERE kind IN ('fallback_rate', 'quality', 'latency', 'error_budget', 'capacity');
DROP TABLE aic_alerts;
ALTER TABLE aic_alerts_new RENAME TO aic_alerts;

-- One open alert for each key.
CREATE UNIQUE INDEX aic_alerts_open ON aic_alerts (tenant_id, key) WHERE resolved_at_us IS NULL;
CREATE INDEX aic_alerts_by_key ON aic_alerts (tenant_id, key, resolved_at_us);
CREATE INDEX aic_alerts_by_time ON aic_alerts (tenant_id, raised_at_us, alert_id);
CREATE INDEX aic_alerts_by_user ON aic_alerts (tenant_id, user_id, raised_at_us);
CREATE INDEX aic_alerts_by_session ON aic_alerts (tenant_id, session_id);

ALTER TABLE webhook_endpoints ADD COLUMN updated_at_us INTEGER NOT NULL DEFAULT 0;
ALTER TABLE webhook_endpoints ADD COLUMN dropped INTEGER NOT NULL DEFAULT 0;
ALTER TABLE webhook_endpoints ADD COLUMN lost INTEGER NOT NULL DEFAULT 0;
-- Of those dropped and lost, how many the endpoint has been told of.
ALTER TABLE webhook_endpoints ADD COLUMN told INTEGER NOT NULL DEFAULT 0;
UPDATE webhook_endpoints SET updated_at_us = created_at_us;

-- Outbox, first half: what happened, written with what it tells of. user_id is whom it is about.
CREATE TABLE webhook_events (
    event_id         INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant_id        TEXT    NOT NULL,
    user_id          TEXT,
    subject          TEXT    NOT NULL,
    event            TEXT    NOT NULL,
    payload          TEXT    NOT NULL CHECK (json_valid(payload)),
    created_at_us    INTEGER NOT NULL,
    fanned_out_at_us INTEGER,
    FOREIGN KEY (tenant_id, user_id) REFERENCES users ON DELETE CASCADE
) STRICT;

CREATE INDEX webhook_events_waiting ON webhook_events (event_id) WHERE fanned_out_at_us IS NULL;
CREATE INDEX webhook_events_by_user ON webhook_events (tenant_id, user_id, event_id);
CREATE INDEX webhook_events_by_age ON webhook_events (created_at_us);

-- Second half: who has still to hear of it.
CREATE TABLE webhook_deliveries_new (
    delivery_id        INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant_id          TEXT    NOT NULL,
    endpoint_id        TEXT    NOT NULL,
    event_id           INTEGER NOT NULL REFERENCES webhook_events ON DELETE CASCADE,
    subject            TEXT    NOT NULL,
    state              TEXT    NOT NULL CHECK (state IN ('pending', 'delivered', 'lost')),
    attempts           INTEGER NOT NULL DEFAULT 0,
    created_at_us      INTEGER NOT NULL,
    next_attempt_at_us INTEGER NOT NULL,
    leased_until_us    INTEGER NOT NULL DEFAULT 0,
    delivered_at_us    INTEGER,
    last_error         TEXT,
    FOREIGN KEY (tenant_id, endpoint_id) REFERENCES webhook_endpoints ON DELETE CASCADE
) STRICT;
-- Each old delivery becomes an event with one delivery. All were about configurations, whose user the payload names.
INSERT INTO webhook_events (event_id, tenant_id, user_id, subject, event, payload, created_at_us, fanned_out_at_us)
SELECT d.delivery_id, d.tenant_id, u.user_id, coalesce(d.payload ->> '$.user_id', ''), d.event, d.payload,
    d.created_at_us, CASE WHEN d.endpoint_id IS NOT NULL THEN d.created_at_us END
FROM webhook_deliveries d
LEFT JOIN users u ON u.tenant_id = d.tenant_id AND u.user_id = d.payload ->> '$.user_id';
INSERT INTO webhook_deliveries_new
SELECT delivery_id, tenant_id, endpoint_id, delivery_id, coalesce(payload ->> '$.user_id', ''),
    CASE WHEN delivered_at_us IS NULL THEN 'pending' ELSE 'delivered' END, attempts, created_at_us,
    next_attempt_at_us, 0, delivered_at_us, last_error
FROM webhook_deliveries WHERE endpoint_id IS NOT NULL;
DROP TABLE webhook_deliveries;
ALTER TABLE webhook_deliveries_new RENAME TO webhook_deliveries;

CREATE INDEX webhook_deliveries_due ON webhook_deliveries (next_attempt_at_us) WHERE state = 'pending';
CREATE INDEX webhook_deliveries_in_order ON webhook_deliveries (tenant_id, endpoint_id, subject, delivery_id)
    WHERE state = 'pending';
CREATE INDEX webhook_deliveries_by_endpoint ON webhook_deliveries (tenant_id, endpoint_id, delivery_id);
CREATE INDEX webhook_deliveries_by_event ON webhook_deliveries (event_id);

ALTER TABLE experiments ADD COLUMN unit TEXT NOT NULL DEFAULT 'user' CHECK (unit IN ('user', 'call'));
ALTER TABLE experiments ADD COLUMN primary_metric TEXT NOT NULL DEFAULT '';
ALTER TABLE experiments DROP COLUMN started_at_us;
CREATE INDEX experiments_by_time ON experiments (tenant_id, created_at_us, experiment_id);
CREATE INDEX experiments_running ON experiments (tenant_id) WHERE ended_at_us IS NULL;

DROP INDEX calls_by_time;
CREATE INDEX calls_by_time ON calls (tenant_id, started_at_us, call_id);

CREATE TABLE audit_log_new (
    audit_id     INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant_id    TEXT    NOT NULL,
    actor        TEXT    NOT NULL,
    actor_role   TEXT    NOT NULL CHECK (actor_role IN ('user', 'operator', 'server')),
    action       TEXT    NOT NULL,
    user_id      TEXT    NOT NULL,
    detail       TEXT    NOT NULL CHECK (json_valid(detail)),
    at_us        INTEGER NOT NULL
) STRICT;
INSERT INTO audit_log_new SELECT * FROM audit_log;
DROP TABLE audit_log;
ALTER TABLE audit_log_new RENAME TO audit_log;
CREATE INDEX audit_log_by_user ON audit_log (tenant_id, user_id, at_us);
CREATE INDEX audit_log_by_time ON audit_log (tenant_id, at_us, audit_id);
CREATE INDEX audit_log_by_actor ON audit_log (tenant_id, actor);

-- One change is allowed: the name of an actor who has been erased.
CREATE TRIGGER audit_log_is_append_only BEFORE UPDATE ON audit_log
WHEN NEW.actor <> '(erased)' OR (NEW.audit_id, NEW.tenant_id, NEW.actor_role, NEW.action, NEW.user_id, NEW.detail, NEW.at_us)
    IS NOT (OLD.audit_id, OLD.tenant_id, OLD.actor_role, OLD.action, OLD.user_id, OLD.detail, OLD.at_us)
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;
