-- Rollups. A user's hour by model: sums, and bins that can be added up: of the quality score (edges 0.5 0.6 0.7 0.75 0.8
-- 0.85 0.9 0.95), of the seconds' median latency and of their 99th percentile (edges 0.25 0.5 1 2 3 5 8 12 20 50 200 ms).
-- A bin holds what is at or over the edge before it and under its own.
-- They are kept hour by hour as rows come, outlive the rows, and are what the materialized views are made of.
CREATE TABLE aic_usage_hours (
    tenant_id       TEXT NOT NULL,
    user_id         TEXT NOT NULL,
    hour_us         BIGINT NOT NULL,
    media           TEXT NOT NULL,
    model_used      TEXT NOT NULL,
    seconds         BIGINT NOT NULL,
    frames          BIGINT NOT NULL,
    original_kbit   DOUBLE PRECISION NOT NULL,
    compressed_kbit DOUBLE PRECISION NOT NULL,
    quality_sum     DOUBLE PRECISION NOT NULL,
    quality_count   BIGINT NOT NULL,
    latency_sum     DOUBLE PRECISION NOT NULL,
    latency_count   BIGINT NOT NULL,
    fallbacks       BIGINT NOT NULL,
    quality_00 BIGINT NOT NULL, quality_01 BIGINT NOT NULL, quality_02 BIGINT NOT NULL,
    quality_03 BIGINT NOT NULL, quality_04 BIGINT NOT NULL, quality_05 BIGINT NOT NULL,
    quality_06 BIGINT NOT NULL, quality_07 BIGINT NOT NULL, quality_08 BIGINT NOT NULL,
    median_00 BIGINT NOT NULL, median_01 BIGINT NOT NULL, median_02 BIGINT NOT NULL, median_03 BIGINT NOT NULL,
    median_04 BIGINT NOT NULL, median_05 BIGINT NOT NULL, median_06 BIGINT NOT NULL, median_07 BIGINT NOT NULL,
    median_08 BIGINT NOT NULL, median_09 BIGINT NOT NULL, median_10 BIGINT NOT NULL, median_11 BIGINT NOT NULL,
    tail_00 BIGINT NOT NULL, tail_01 BIGINT NOT NULL, tail_02 BIGINT NOT NULL, tail_03 BIGINT NOT NULL,
    tail_04 BIGINT NOT NULL, tail_05 BIGINT NOT NULL, tail_06 BIGINT NOT NULL, tail_07 BIGINT NOT NULL,
    tail_08 BIGINT NOT NULL, tail_09 BIGINT NOT NULL, tail_10 BIGINT NOT NULL, tail_11 BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, user_id, hour_us, media, model_used),
    FOREIGN KEY (tenant_id, user_id) REFERENCES users ON DELETE CASCADE
);

CREATE INDEX aic_usage_hours_by_time ON aic_usage_hours (tenant_id, hour_us);

-- What has come in since: the oldest second of a session that the rollups don't have yet, and the one they are working on.
ALTER TABLE aic_sessions ADD COLUMN dirty_from_us BIGINT, ADD COLUMN rolling_from_us BIGINT;
CREATE INDEX aic_sessions_dirty ON aic_sessions (dirty_from_us) WHERE dirty_from_us IS NOT NULL;
CREATE INDEX aic_sessions_rolling ON aic_sessions (tenant_id, user_id) WHERE rolling_from_us IS NOT NULL;

-- Rows before the watermark are in the rollups, later ones are read raw. Model windows are complete up to models_until_us.
CREATE TABLE aic_rollup_state (
    one             BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (one),
    watermark_us    BIGINT NOT NULL,
    models_until_us BIGINT NOT NULL
);
INSERT INTO aic_rollup_state (watermark_us, models_until_us) VALUES (0, 0);
GRANT SELECT ON aic_rollup_state TO auralink_user, auralink_operator;
GRANT SELECT, UPDATE ON aic_rollup_state TO auralink_service;

CREATE OR REPLACE FUNCTION aic_metrics_total() RETURNS trigger LANGUAGE plpgsql AS $$
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
        last_metric_us  = greatest(s.last_metric_us, n.newest),
        dirty_from_us   = least(s.dirty_from_us, n.oldest)
    FROM (
        SELECT tenant_id, session_id, count(*) AS seconds, sum(frames) AS frames,
            sum(original_bandwidth_kbps) AS original_kbit, sum(compressed_bandwidth_kbps) AS compressed_kbit,
            coalesce(sum(quality_score), 0) AS quality_sum, count(quality_score) AS quality_count,
            coalesce(sum(inference_latency_ms), 0) AS latency_sum, count(inference_latency_ms) AS latency_count,
            count(*) FILTER (WHERE fallback_triggered) AS fallbacks, max(ts_us) AS newest, min(ts_us) AS oldest
        FROM added GROUP BY tenant_id, session_id
    ) AS n
    WHERE s.tenant_id = n.tenant_id AND s.session_id = n.session_id;
    RETURN NULL;
END $$;

-- Rows from before this migration are rolled up by the first refresh. The owner sees none of them; the server does.
GRANT CREATE ON SCHEMA public TO auralink_service;
SET LOCAL ROLE auralink_service;
UPDATE aic_sessions AS s SET dirty_from_us = (
    SELECT min(m.ts_us) FROM aic_metrics m WHERE m.tenant_id = s.tenant_id AND m.session_id = s.session_id);
RESET ROLE;

ALTER TABLE aic_usage_hours ENABLE ROW LEVEL SECURITY;
ALTER TABLE aic_usage_hours FORCE ROW LEVEL SECURITY;
CREATE POLICY of_server ON aic_usage_hours TO auralink_service USING (current_user = 'auralink_service');
CREATE POLICY of_operator ON aic_usage_hours TO auralink_operator USING (
    current_user = 'auralink_operator' AND tenant_id = current_setting('app.tenant_id', true));
CREATE POLICY of_user ON aic_usage_hours TO auralink_user USING (
    current_user = 'auralink_user' AND tenant_id = current_setting('app.tenant_id', true)
    AND user_id = current_setting('app.user_id', true));
GRANT SELECT, INSERT, UPDATE, DELETE ON aic_usage_hours TO auralink_service;
GRANT SELECT ON aic_usage_hours TO auralink_operator, auralink_user;

-- Materialized views know no row level security: the server owns them, because it refreshes them and must see every row
-- to do so, and nobody else may read them.
SET LOCAL ROLE auralink_service;
CREATE MATERIALIZED VIEW aic_performance_hourly_all AS SELECT tenant_id, user_id, hour_us, media, model_used,
    sum(seconds)::bigint AS seconds, sum(frames)::bigint AS frames, sum(original_kbit) AS original_kbit,
    sum(compressed_kbit) AS compressed_kbit, sum(quality_sum) AS quality_sum,
    sum(quality_count)::bigint AS quality_count, sum(latency_sum) AS latency_sum,
    sum(latency_count)::bigint AS latency_count, sum(fallbacks)::bigint AS fallbacks,
    sum(quality_00)::bigint AS quality_00, sum(quality_01)::bigint AS quality_01,
    sum(quality_02)::bigint AS quality_02, sum(quality_03)::bigint AS quality_03,
    sum(quality_04)::bigint AS quality_04, sum(quality_05)::bigint AS quality_05,
    sum(quality_06)::bigint AS quality_06, sum(quality_07)::bigint AS quality_07,
    sum(quality_08)::bigint AS quality_08, sum(median_00)::bigint AS median_00,
    sum(median_01)::bigint AS median_01, sum(median_02)::bigint AS median_02,
    sum(median_03)::bigint AS median_03, sum(median_04)::bigint AS median_04,
    sum(median_05)::bigint AS median_05, sum(median_06)::bigint AS median_06,
    sum(median_07)::bigint AS median_07, sum(median_08)::bigint AS median_08,
    sum(median_09)::bigint AS median_09, sum(median_10)::bigint AS median_10,
    sum(median_11)::bigint AS median_11, sum(tail_00)::bigint AS tail_00, sum(tail_01)::bigint AS tail_01,
    sum(tail_02)::bigint AS tail_02, sum(tail_03)::bigint AS tail_03, sum(tail_04)::bigint AS tail_04,
    sum(tail_05)::bigint AS tail_05, sum(tail_06)::bigint AS tail_06, sum(tail_07)::bigint AS tail_07,
    sum(tail_08)::bigint AS tail_08, sum(tail_09)::bigint AS tail_09, sum(tail_10)::bigint AS tail_10,
    sum(tail_11)::bigint AS tail_11
    FROM aic_usage_hours GROUP BY 1, 2, 3, 4, 5;
CREATE UNIQUE INDEX aic_performance_hourly_key
    ON aic_performance_hourly_all (tenant_id, user_id, hour_us, media, model_used);
CREATE INDEX aic_performance_hourly_by_time ON aic_performance_hourly_all (tenant_id, hour_us);

CREATE MATERIALIZED VIEW aic_performance_daily_all AS SELECT tenant_id, user_id, hour_us - hour_us % 86400000000 AS day_us, media, model_used,
    sum(seconds)::bigint AS seconds, sum(frames)::bigint AS frames, sum(original_kbit) AS original_kbit,
    sum(compressed_kbit) AS compressed_kbit, sum(quality_sum) AS quality_sum,
    sum(quality_count)::bigint AS quality_count, sum(latency_sum) AS latency_sum,
    sum(latency_count)::bigint AS latency_count, sum(fallbacks)::bigint AS fallbacks,
    sum(quality_00)::bigint AS quality_00, sum(quality_01)::bigint AS quality_01,
    sum(quality_02)::bigint AS quality_02, sum(quality_03)::bigint AS quality_03,
    sum(quality_04)::bigint AS quality_04, sum(quality_05)::bigint AS quality_05,
    sum(quality_06)::bigint AS quality_06, sum(quality_07)::bigint AS quality_07,
    sum(quality_08)::bigint AS quality_08, sum(median_00)::bigint AS median_00,
    sum(median_01)::bigint AS median_01, sum(median_02)::bigint AS median_02,
    sum(median_03)::bigint AS median_03, sum(median_04)::bigint AS median_04,
    sum(median_05)::bigint AS median_05, sum(median_06)::bigint AS median_06,
    sum(median_07)::bigint AS median_07, sum(median_08)::bigint AS median_08,
    sum(median_09)::bigint AS median_09, sum(median_10)::bigint AS median_10,
    sum(median_11)::bigint AS median_11, sum(tail_00)::bigint AS tail_00, sum(tail_01)::bigint AS tail_01,
    sum(tail_02)::bigint AS tail_02, sum(tail_03)::bigint AS tail_03, sum(tail_04)::bigint AS tail_04,
    sum(tail_05)::bigint AS tail_05, sum(tail_06)::bigint AS tail_06, sum(tail_07)::bigint AS tail_07,
    sum(tail_08)::bigint AS tail_08, sum(tail_09)::bigint AS tail_09, sum(tail_10)::bigint AS tail_10,
    sum(tail_11)::bigint AS tail_11
    FROM aic_usage_hours GROUP BY 1, 2, 3, 4, 5;
CREATE UNIQUE INDEX aic_performance_daily_key
    ON aic_performance_daily_all (tenant_id, user_id, day_us, media, model_used);
CREATE INDEX aic_performance_daily_by_time ON aic_performance_daily_all (tenant_id, day_us);

-- What people may read of them: the same rule as the policies, behind a security barrier, so that no function of theirs
-- is ever shown a row of somebody else.
CREATE VIEW aic_performance_hourly WITH (security_barrier) AS
SELECT * FROM aic_performance_hourly_all WHERE tenant_id = current_setting('app.tenant_id', true)
    AND (current_user = 'auralink_operator'
        OR current_user = 'auralink_user' AND user_id = current_setting('app.user_id', true));
CREATE VIEW aic_performance_daily WITH (security_barrier) AS
SELECT * FROM aic_performance_daily_all WHERE tenant_id = current_setting('app.tenant_id', true)
    AND (current_user = 'auralink_operator'
        OR current_user = 'auralink_user' AND user_id = current_setting('app.user_id', true));
GRANT SELECT ON aic_performance_hourly, aic_performance_daily TO auralink_user, auralink_operator;
RESET ROLE;
REVOKE CREATE ON SCHEMA public FROM auralink_service;
