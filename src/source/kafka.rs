//! A Kafka topic as a source: the consumer, and what is done to the bytes of its messages.

pub mod consumer;
pub mod messages;
