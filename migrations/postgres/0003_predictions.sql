-- What the engine predicted for the rung in use, beside what was then measured.
ALTER TABLE aic_metrics ADD COLUMN predicted_quality_score DOUBLE PRECISION;
ALTER TABLE aic_metrics ADD COLUMN predicted_compression_ratio DOUBLE PRECISION;
ALTER TABLE aic_metrics ADD COLUMN prediction_confidence DOUBLE PRECISION;
