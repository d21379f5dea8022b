//! The WebRTC media server: signalling, rooms, legs and the AIC tap.
