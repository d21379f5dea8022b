//! AIC payload, RTP header extension and RED: bytes to values and back.
