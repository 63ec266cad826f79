//! The context of every client of ours: what librdkafka says is told once and counted, a fresh token
//! is brought when it asks for one, and the cause of a broken link is remembered.

use super::{Cluster, KafkaError, say, token};
use crate::clock::{Clock, SystemClock};
use rdkafka::Statistics;
use rdkafka::client::{Client, ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError as Rdkafka;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The same complaint is told at most this often.
const QUIET: Duration = Duration::from_secs(30);
/// Different complaints remembered at a time.
const MAX_COMPLAINTS: usize = 256;
const MAX_TEXT: usize = 400;

type OnStatistics = Box<dyn Fn(Statistics) + Send + Sync>;

/// `ClientContext` of every client. Contexts of consumers and producers hold a clone and pass their
/// calls on to it; with `ENABLE_REFRESH_OAUTH_TOKEN` as here.
#[derive(Clone)]
pub struct Link(Arc<Inner>);

struct Inner {
    role: &'static str,
    brokers: String,
    token_file: Option<PathBuf>,
    stats: Option<OnStatistics>,
    heard: Mutex<Heard>,
}

#[derive(Default)]
struct Heard {
    complaints: Complaints,
    trouble: Option<KafkaError>,
}

impl Link {
    /// `stats` is called when the client has `statistics.interval.ms`.
    pub fn new(role: &'static str, cluster: &Cluster, stats: Option<OnStatistics>) -> Link {
        Link(Arc::new(Inner {
            role,
            brokers: cluster.brokers.join(", "),
            token_file: cluster.token_file.clone(),
            stats,
            heard: Mutex::default(),
        }))
    }

    /// Tells `text`, unless it was told a moment ago; then it is counted.
    pub fn complain(&self, text: &str) {
        let repeats = self.heard().complaints.told(text, Instant::now());
        match repeats {
            None => {}
            Some(0) => say(self.0.role, text),
            Some(n) => say(self.0.role, &format!("{text} ({n} times more since it was last told)")),
        }
    }

    /// What is wrong with the link, as far as librdkafka has said, since it last worked.
    pub fn trouble(&self) -> Option<KafkaError> {
        self.heard().trouble.clone()
    }

    /// Something came through: whatever was wrong is over.
    pub fn works(&self) {
        self.heard().trouble = None;
    }

    /// `error` in our words, or what is behind it: a refused password looks like a broker that does
    /// not answer. `subject` as for `KafkaError::of`.
    pub fn explain(&self, error: &Rdkafka, subject: &str) -> KafkaError {
        match (KafkaError::of(error, subject), self.trouble()) {
            (KafkaError::NoBroker { reason, .. }, None) => self.no_broker(reason),
            (KafkaError::NoBroker { .. } | KafkaError::Other { retriable: true, .. }, Some(cause)) => cause,
            (error, _) => error,
        }
    }

    /// Asks for `topics` until a broker answers, at most for `patience`; a cause that will not pass
    /// ends it at once. `serve` polls the client, which is how tokens and errors come through.
    pub fn reach<C: ClientContext>(
        &self,
        client: &Client<C>,
        serve: impl Fn(),
        topics: &[String],
        patience: Duration,
    ) -> Result<(), KafkaError> {
        let begun = Instant::now();
        for topic in topics {
            loop {
                serve();
                let asked = client.fetch_metadata(Some(topic), Duration::from_secs(1));
                serve();
                let error = match asked {
                    Ok(metadata) => match metadata.topics().iter().find(|t| t.name() == topic).map(|t| t.error()) {
                        Some(None) => break,
                        Some(Some(code)) => KafkaError::of_code(code.into(), topic),
                        None => KafkaError::UnknownTopic(topic.clone()),
                    },
                    Err(e) => self.explain(&e, topic),
                };
                if !error.is_retriable() || begun.elapsed() >= patience {
                    return Err(match error {
                        KafkaError::Other { name, .. } if begun.elapsed() >= patience => self.no_broker(name),
                        error => error,
                    });
                }
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        self.works();
        Ok(())
    }

    fn no_broker(&self, reason: String) -> KafkaError {
        KafkaError::NoBroker { brokers: self.0.brokers.clone(), reason }
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.0.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Link {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, _level: RDKafkaLogLevel, facility: &str, text: &str) {
        // FAIL and ERROR come as an error too; producer options are no mistake of a sink's consumer.
        let told_otherwise = matches!(facility, "FAIL" | "ERROR")
            || (facility == "CONFWARN" && text.contains("will be ignored by this"))
            || (facility == "CONFWARN" && text.contains("bootstrap.servers") && self.0.role == "check");
        if !told_otherwise {
            self.complain(&format!("{facility}: {}", short(text)));
        }
    }

    fn stats(&self, statistics: Statistics) {
        if let Some(stats) = &self.0.stats {
            stats(statistics);
        }
    }

    fn stats_raw(&self, statistics: &[u8]) {
        if self.0.stats.is_some() {
            match serde_json::from_slice(statistics) {
                Ok(statistics) => self.stats(statistics),
                Err(_) => self.complain("statistics of librdkafka cannot be read"),
            }
        }
    }

    fn error(&self, error: Rdkafka, reason: &str) {
        let reason = short(reason);
        let meant = match KafkaError::of(&error, &self.0.brokers) {
            KafkaError::NoBroker { brokers, .. } => KafkaError::NoBroker { brokers, reason: reason.clone() },
            KafkaError::Credentials(_) => KafkaError::Credentials(reason.clone()),
            KafkaError::Tls(_) => KafkaError::Tls(reason.clone()),
            other => other,
        };
        let definite = matches!(meant, KafkaError::Credentials(_) | KafkaError::Tls(_));
        {
            // "All brokers are down" follows each of the others, and says less.
            let mut heard = self.heard();
            let vague = matches!(heard.trouble, None | Some(KafkaError::NoBroker { .. }));
            let follows = heard.trouble.is_some() && reason.contains("brokers are down");
            if definite || (vague && !follows && matches!(meant, KafkaError::NoBroker { .. })) {
                heard.trouble = Some(meant);
            }
        }
        self.complain(&reason);
    }

    fn generate_oauth_token(&self, _config: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        let path = self.0.token_file.as_deref().ok_or("no token_file is configured")?;
        Ok(token::of_file(path, SystemClock.now_ms())?)
    }
}

impl ConsumerContext for Link {}

/// One line, of bounded length.
fn short(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_TEXT).collect()
}

/// What was told when, and how often it came again since.
#[derive(Default)]
struct Complaints(HashMap<String, (Instant, u64)>);

impl Complaints {
    /// How often it was swallowed since it was last told; `None`: swallow it.
    fn told(&mut self, text: &str, now: Instant) -> Option<u64> {
        // Counters, ports and durations differ from one to the next of the same complaint.
        let same: String = text.chars().filter(|c| !c.is_ascii_digit()).collect();
        if let Some((last, repeats)) = self.0.get_mut(&same) {
            if now.duration_since(*last) < QUIET {
                *repeats += 1;
                return None;
            }
            *last = now;
            return Some(std::mem::take(repeats));
        }
        if self.0.len() >= MAX_COMPLAINTS {
            self.0.retain(|_, (last, _)| now.duration_since(*last) < QUIET);
            if self.0.len() >= MAX_COMPLAINTS {
                return None;
            }
        }
        self.0.insert(same, (now, 0));
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::error::RDKafkaErrorCode as Code;

    fn link() -> Link {
        let cluster = Cluster { brokers: vec!["kafka1:9092".into()], options: Vec::new(), token_file: None };
        Link::new("test", &cluster, None)
    }

    #[test]
    fn the_same_complaint_is_told_once_in_a_while_with_its_repeats() {
        let mut complaints = Complaints::default();
        let begun = Instant::now();
        let mut at = |s: u64, text: &str| complaints.told(text, begun + Duration::from_secs(s));
        assert_eq!(at(0, "broker 1: refused (after 3 ms)"), Some(0));
        assert_eq!(at(1, "broker 1: refused (after 17 ms)"), None);
        assert_eq!(at(2, "something else"), Some(0));
        assert_eq!(at(29, "broker 1: refused (after 3 ms)"), None);
        assert_eq!(at(30, "broker 1: refused (after 3 ms)"), Some(2));
        assert_eq!(at(31, "broker 1: refused (after 3 ms)"), None);
        // A storm of different ones is bounded too, and room is made later.
        let word = |n: usize| (0..n + 1).map(|_| 'x').collect::<String>();
        let told = (0..1000).filter(|n| at(40, &word(*n)).is_some()).count();
        assert!(told <= MAX_COMPLAINTS, "{told}");
        assert_eq!(at(100, "new"), Some(0));
    }

    #[test]
    fn the_cause_is_kept_when_librdkafka_only_says_that_brokers_are_down() {
        let transport = Rdkafka::MetadataFetch(Code::BrokerTransportFailure);
        let link = link();
        assert!(
            matches!(link.explain(&transport, "t"), KafkaError::NoBroker { brokers, .. } if brokers == "kafka1:9092")
        );
        link.error(Rdkafka::Global(Code::Authentication), "SASL authentication error: no");
        link.error(Rdkafka::Global(Code::AllBrokersDown), "1/1 brokers are down");
        assert!(matches!(link.explain(&transport, "t"), KafkaError::Credentials(reason) if reason.contains("no")));
        assert_eq!(
            link.explain(&Rdkafka::MetadataFetch(Code::UnknownTopic), "calls"),
            KafkaError::UnknownTopic("calls".into())
        );
        link.works();
        assert_eq!(link.trouble(), None);
        link.error(Rdkafka::Global(Code::BrokerTransportFailure), "Connection refused");
        link.error(Rdkafka::Global(Code::AllBrokersDown), "1/1 brokers are down");
        assert!(link.trouble().unwrap().to_string().contains("refused"));
    }
}
