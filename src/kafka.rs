//! Kafka as a neighbour: how a cluster is reached, what librdkafka says, and what can be done about
//! it. Used by the source, the sink and the pipeline; knows none of them.
//!
//! No secret ever leaves `client_config`: options show their names, errors say where a secret
//! should have come from, and nothing here sees a message's content.

mod backoff;
mod error;
mod link;
pub mod options;
mod secret;
mod token;

pub use backoff::Backoff;
pub use error::{KafkaError, Resource};
pub use link::Link;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::BaseConsumer;
use std::fmt;
use std::path::PathBuf;

/// How a cluster is reached.
#[derive(Clone, PartialEq, Eq)]
pub struct Cluster {
    pub brokers: Vec<String>,
    /// Properties of librdkafka by their own names, in the order of the configuration.
    pub options: Vec<(String, OptionValue)>,
    /// Bearer token of SASL OAUTHBEARER, read again whenever a new one is needed.
    pub token_file: Option<PathBuf>,
}

/// Where the value of an option comes from. Secrets are never `Plain`.
#[derive(Clone, PartialEq, Eq)]
pub enum OptionValue {
    Plain(String),
    /// The content of a file, without the line end at its end.
    File(PathBuf),
    /// An environment variable.
    Env(String),
}

impl Cluster {
    /// Reads secrets now; an error names the option and where it should have come from, never a value.
    pub fn client_config(&self) -> Result<ClientConfig, KafkaError> {
        let mut config = ClientConfig::new();
        // The first lines are ours and may be overridden, the last are ours and may not.
        config.set("client.id", "cdrveil").set("socket.keepalive.enable", "true");
        config.set_log_level(RDKafkaLogLevel::Warning);
        if self.token_file.is_some() {
            config.set("sasl.mechanism", "OAUTHBEARER");
        }
        for (name, value) in &self.options {
            config.set(name, secret::read(name, value)?.as_str());
            if name == "debug" {
                config.set_log_level(RDKafkaLogLevel::Debug);
            }
        }
        config.set("bootstrap.servers", self.brokers.join(","));
        config.create_native_config().map_err(|e| KafkaError::of(&e, ""))?;
        Ok(config)
    }

    /// Whether librdkafka takes all of it together: a client is made, certificates and keys are
    /// read, and nothing is connected to.
    pub fn check(&self) -> Result<(), KafkaError> {
        let mut config = self.client_config()?;
        config.remove("bootstrap.servers");
        let link = Link::new("check", self, None);
        let client: Result<BaseConsumer<Link>, _> = config.create_with_context(link);
        client.map(drop).map_err(|e| KafkaError::of(&e, ""))
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options: Vec<&str> = self.options.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Cluster")
            .field("brokers", &self.brokers)
            .field("options", &options)
            .field("token_file", &self.token_file)
            .finish()
    }
}

impl fmt::Debug for OptionValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OptionValue::Plain(_) => "Plain(…)",
            OptionValue::File(_) => "File(…)",
            OptionValue::Env(_) => "Env(…)",
        })
    }
}

/// One line on stderr: what the kafka client of `role` has to say.
fn say(role: &str, text: &str) {
    eprintln!("kafka {role}: {text}");
}

#[cfg(test)]
mod tests;
