//! Native client: joins by LiveKit signalling, publishes and records audio.
