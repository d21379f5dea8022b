-- What the engine predicted for the rung in use, beside what was then measured.
ALTER TABLE aic_metrics ADD COLUMN predicted_quality_score REAL;
ALTER TABLE aic_metrics ADD COLUMN predicted_compression_ratio REAL;
ALTER TABLE aic_metrics ADD COLUMN prediction_confidence REAL;
