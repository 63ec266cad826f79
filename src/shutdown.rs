//! How a run without end is stopped: asked once, told twice.
//!
//! The first SIGTERM or SIGINT asks: what is staged is committed, then the process ends with 0. A
//! second one, or a stop that takes longer than `stop_within`, ends it at once with 1. Both are safe:
//! what was not committed is read again, as after a crash.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// Whether this process was asked to stop. Clones are the same.
#[derive(Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Listens for signals from now on.
    pub fn on_signals(stop_within: Duration) -> io::Result<Stop> {
        let stop = Stop::default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        // Registered before this returns: no signal is missed.
        let (mut term, mut int) = {
            let _in_runtime = runtime.enter();
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?)
        };
        let asked = stop.clone();
        let listening = move || {
            runtime.block_on(async move {
                tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
                asked.ask();
                let why = tokio::select! {
                    _ = term.recv() => "a second signal".to_owned(),
                    _ = int.recv() => "a second signal".to_owned(),
                    () = tokio::time::sleep(stop_within) => {
                        format!("it did not stop within {} s ([ingest] stop_within)", stop_within.as_secs_f64())
                    }
                };
                eprintln!("ended at once: {why}; what was not committed is read again at the next start");
                std::process::exit(1);
            });
        };
        std::thread::Builder::new().name("signals".into()).spawn(listening)?;
        Ok(stop)
    }

    pub fn ask(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub fn is_asked(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
