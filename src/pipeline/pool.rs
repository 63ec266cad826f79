//! The workers: a bounded queue in, a queue out, no lock on the way.

use super::block::{Done, Formats, Job, WorkerState, process};
use super::{Feed, PipelineError};
use crate::sink::SinkError;
use crate::tally::Partial;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Barrier};
use std::thread::JoinHandle;

/// What was tallied, by the serial number of the stage it belongs to.
pub type Tallies = HashMap<u32, Partial>;

enum Order {
    Process(Box<Job>),
    /// Hand over what was tallied since the last time.
    Flush,
}

enum Answer {
    Done(Result<Box<Done>, SinkError>),
    Tallied(Tallies),
}

/// Threads that turn blocks into encoded row groups.
pub struct Pool {
    orders: Option<Sender<Order>>,
    answers: Receiver<Answer>,
    threads: Vec<JoinHandle<()>>,
    /// Blocks handed in and not yet taken out.
    pending: usize,
}

impl Pool {
    pub fn new(workers: usize, feed: &Arc<Feed>, formats: &Arc<Formats>) -> Pool {
        let workers = workers.max(1);
        let (orders, incoming) = bounded::<Order>(workers);
        // Never full: at most `workers` waiting, `workers` in hand, and one flush each.
        let (outgoing, answers) = bounded::<Answer>(4 * workers);
        let barrier = Arc::new(Barrier::new(workers));
        let threads = (0..workers)
            .map(|_| {
                let (incoming, outgoing) = (incoming.clone(), outgoing.clone());
                let (feed, formats, barrier) = (Arc::clone(feed), Arc::clone(formats), Arc::clone(&barrier));
                std::thread::spawn(move || work(&incoming, &outgoing, &feed, &formats, &barrier))
            })
            .collect();
        Pool { orders: Some(orders), answers, threads, pending: 0 }
    }

    /// Hands in a block, first taking out what must be taken to make room.
    pub fn submit(&mut self, job: Job, taken: &mut Vec<Done>) -> Result<(), PipelineError> {
        while self.pending >= 2 * self.threads.len() {
            taken.push(self.take()?);
        }
        self.pending += 1;
        self.send(Order::Process(Box::new(job)))
    }

    /// Blocks handed in and not yet taken out.
    pub fn pending(&self) -> usize {
        self.pending
    }

    /// Takes out the blocks that are done, without a wait.
    pub fn take_ready(&mut self, taken: &mut Vec<Done>) -> Result<(), PipelineError> {
        while self.pending > 0 && !self.answers.is_empty() {
            taken.push(self.take()?);
        }
        Ok(())
    }

    /// Takes out every block that is still under way.
    pub fn drain(&mut self, taken: &mut Vec<Done>) -> Result<(), PipelineError> {
        while self.pending > 0 {
            taken.push(self.take()?);
        }
        Ok(())
    }

    /// What all workers tallied for every stage. Only with no block under way.
    pub fn flush(&mut self) -> Result<Tallies, PipelineError> {
        debug_assert_eq!(self.pending, 0);
        for _ in 0..self.threads.len() {
            self.send(Order::Flush)?;
        }
        let mut whole = Tallies::new();
        for _ in 0..self.threads.len() {
            let Ok(Answer::Tallied(tallies)) = self.answers.recv() else { return Err(PipelineError::Worker) };
            for (stage, partial) in tallies {
                match whole.entry(stage) {
                    Entry::Occupied(sum) => sum.into_mut().merge(partial),
                    Entry::Vacant(free) => drop(free.insert(partial)),
                }
            }
        }
        Ok(whole)
    }

    fn take(&mut self) -> Result<Done, PipelineError> {
        let answer = self.answers.recv().map_err(|_| PipelineError::Worker)?;
        self.pending -= 1;
        match answer {
            Answer::Done(done) => Ok(*done?),
            Answer::Tallied(_) => Err(PipelineError::Worker),
        }
    }

    fn send(&self, order: Order) -> Result<(), PipelineError> {
        self.orders.as_ref().and_then(|o| o.send(order).ok()).ok_or(PipelineError::Worker)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.orders = None;
        while self.answers.recv().is_ok() {}
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn work(incoming: &Receiver<Order>, outgoing: &Sender<Answer>, feed: &Feed, formats: &Formats, barrier: &Barrier) {
    let mut state = WorkerState::default();
    while let Ok(order) = incoming.recv() {
        let answer = match order {
            Order::Process(job) => {
                // A defect must not leave the collecting thread waiting for an answer.
                let done = catch_unwind(AssertUnwindSafe(|| process(*job, feed, formats, &mut state)));
                Answer::Done(done.unwrap_or(Err(SinkError::Defect)).map(Box::new))
            }
            Order::Flush => {
                // Each worker takes one flush: nobody asks again before all have one.
                barrier.wait();
                Answer::Tallied(std::mem::take(&mut state.partials))
            }
        };
        if outgoing.send(answer).is_err() {
            return;
        }
    }
}
