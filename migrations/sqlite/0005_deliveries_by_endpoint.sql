-- What is due is looked for endpoint by endpoint, so that what waits for one that is disabled is not read at each look.
DROP INDEX webhook_deliveries_due;
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (tenant_id, endpoint_id, next_attempt_at_us)
    WHERE state = 'pending';
