//! LiveKit access tokens: mint and verify.
