//! The AI core in process: workers that transcode and code audio streams.
