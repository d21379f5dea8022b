//! Safe wrapper over libopus 1.6.1.
