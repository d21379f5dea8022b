//! One suite for both databases: every test runs on SQLite and on a PostgreSQL that this program starts for itself.
#![allow(clippy::unwrap_used)] // a test may panic

mod alerts;
mod calls;
mod changes;
mod configs;
mod erasures;
mod experiments;
mod faults;
mod isolation;
mod leases;
mod metrics;
mod migrations;
mod people;
mod personal;
mod pgbouncer;
mod plans;
mod roles;
mod rollups;
mod support;
mod webhooks;
