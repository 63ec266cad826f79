//! Event-time windows and the watermark that closes them.
