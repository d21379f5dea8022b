//! REST API: configuration, metrics, sessions, savings.
