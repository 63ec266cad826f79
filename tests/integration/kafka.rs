//! Kafka in and out, against real brokers: three of them on loopback, one quorum, shared by the tests
//! of this binary. Each test ends in a recount by readers that are not ours.
//!
//! `tests/run` runs these as a phase of their own, two at a time.

mod brokers;
mod cluster;
mod guard;
mod kills;
mod lost;
mod members;
mod ports;
mod refused;
mod scene;
mod shapes;
mod sinks;
mod stops;
mod topics;
mod toxiproxy;
