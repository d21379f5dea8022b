//! The API as its callers see it, on a database in memory.
#![allow(clippy::unwrap_used)] // a test may panic

mod alerts;
mod api;
mod bodies;
mod callers;
mod config;
mod document;
mod experiments;
mod figures;
mod follow;
mod isolation;
mod pages;
mod privacy;
mod webhooks;
