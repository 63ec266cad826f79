//! Three brokers on loopback, each a controller too, started once for all tests of this binary.
//!
//! Tests that leave the brokers alone share them (`shared`) and keep to topics of their own; a test
//! that breaks brokers or the way to them has the cluster for itself (`alone`), and leaves it whole.

use super::guard::{Cleaner, Server, servers, tail};
use super::ports;
use super::toxiproxy::Toxiproxy;
use crate::site::installed;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, Producer};
use rdkafka::topic_partition_list::TopicPartitionList;
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

const BROKERS: usize = 3;
/// How long a start may take on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(240);

static CLUSTER: OnceLock<RwLock<Cluster>> = OnceLock::new();

/// The cluster, together with other tests.
pub fn shared() -> RwLockReadGuard<'static, Cluster> {
    cluster().read().unwrap_or_else(PoisonError::into_inner)
}

/// The cluster for one test, which may break what it likes.
pub fn alone() -> Alone {
    Alone(cluster().write().unwrap_or_else(PoisonError::into_inner))
}

fn cluster() -> &'static RwLock<Cluster> {
    CLUSTER.get_or_init(|| RwLock::new(Cluster::start(BROKERS, None)))
}

pub struct Alone(RwLockWriteGuard<'static, Cluster>);

impl Deref for Alone {
    type Target = Cluster;
    fn deref(&self) -> &Cluster {
        &self.0
    }
}

impl DerefMut for Alone {
    fn deref_mut(&mut self) -> &mut Cluster {
        &mut self.0
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        match self.0.mend() {
            Err(why) if !std::thread::panicking() => panic!("{why}"),
            _ => {}
        }
    }
}

pub struct Cluster {
    root: PathBuf,
    jvm: Option<&'static str>,
    brokers: Vec<Broker>,
    pub network: Toxiproxy,
    #[expect(dead_code, reason = "removes the folder after us")]
    cleaner: Cleaner,
}

struct Broker {
    ports: Ports,
    server: Option<Server>,
    paused: bool,
}

struct Ports {
    controller: u16,
    plain: u16,
    proxied: u16,
    advertised: u16,
    secure: u16,
}

impl Cluster {
    /// Starts `brokers` of them, with these options of the JVM or such as start quickly, and waits until they work.
    pub fn start(brokers: usize, jvm: Option<&'static str>) -> Cluster {
        let root = tempfile::Builder::new().prefix("cdrveil-kafka-").tempdir().unwrap().keep();
        let cleaner = Cleaner::of(&root);
        let made = Command::new(servers().join("kafka/certificates")).arg(root.join("tls")).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let brokers: Vec<Broker> = (0..brokers).map(|_| Broker::new()).collect();
        let pairs: Vec<(u16, u16)> = brokers.iter().map(|b| (b.ports.advertised, b.ports.proxied)).collect();
        let network = Toxiproxy::start(&root, &pairs);
        let mut cluster = Cluster { root, jvm, brokers, network, cleaner };
        cluster.mend().unwrap_or_else(|why| panic!("{why}"));
        cluster
    }

    /// Where clients reach it.
    pub fn bootstrap(&self) -> String {
        self.addresses(|p| p.plain)
    }

    /// Where they reach it through Toxiproxy.
    pub fn proxied(&self) -> String {
        self.addresses(|p| p.advertised)
    }

    /// Where they must show a certificate and a password.
    pub fn secure(&self) -> String {
        self.addresses(|p| p.secure)
    }

    /// The authority's certificate `ca.pem`, a client's `client.pem` and `client.key`, and
    /// `other-ca.pem`, which has signed nobody.
    pub fn certificate(&self, name: &str) -> PathBuf {
        self.root.join("tls").join(name)
    }

    fn addresses(&self, port: impl Fn(&Ports) -> u16) -> String {
        let each: Vec<String> = self.brokers.iter().map(|b| format!("127.0.0.1:{}", port(&b.ports))).collect();
        each.join(",")
    }

    /// `kill -9` of a broker, by its index.
    pub fn kill(&mut self, broker: usize) {
        self.brokers[broker].server = None;
    }

    /// Starts a broker that was killed, on the data it left.
    pub fn restart(&mut self, broker: usize) {
        let command = self.command(broker);
        let log = self.log(broker);
        self.brokers[broker].server = Some(Server::start(&command, &log));
        self.brokers[broker].paused = false;
    }

    /// `kill -STOP` of a broker: it keeps its connections and answers nothing.
    pub fn pause(&mut self, broker: usize) {
        self.brokers[broker].server.as_ref().unwrap().pause();
        self.brokers[broker].paused = true;
    }

    pub fn go_on(&mut self, broker: usize) {
        self.brokers[broker].server.as_ref().unwrap().go_on();
        self.brokers[broker].paused = false;
    }

    /// Everything as it was at the start: all brokers up, every copy in step, nothing in between.
    pub fn mend(&mut self) -> Result<(), String> {
        for broker in 0..self.brokers.len() {
            let gone = self.brokers[broker].server.as_ref().is_none_or(|s| !s.runs());
            if gone {
                self.restart(broker);
            } else if self.brokers[broker].paused {
                self.go_on(broker);
            }
        }
        self.network.heal();
        self.ready().map_err(|why| {
            let logs: String = (0..self.brokers.len()).map(|b| tail(&self.log(b), 25)).collect();
            format!("the brokers are not ready: {why}\n{logs}")
        })
    }

    /// Waits until all are there, every copy is in step, and both coordinators answer.
    fn ready(&self) -> Result<(), String> {
        let begun = Instant::now();
        let mut last = String::new();
        while begun.elapsed() < PATIENCE {
            match self.in_step().and_then(|()| self.coordinators()) {
                Ok(()) => return Ok(()),
                Err(why) => last = why,
            }
            if let Some(broker) = self.brokers.iter().position(|b| b.server.as_ref().is_none_or(|s| !s.runs())) {
                return Err(format!("broker {broker} has ended"));
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Err(last)
    }

    /// Every broker answers for itself, and knows of all the others and of copies that are all in step.
    fn in_step(&self) -> Result<(), String> {
        for broker in &self.brokers {
            let mut client = self.client();
            client.set("bootstrap.servers", format!("127.0.0.1:{}", broker.ports.plain));
            let consumer: BaseConsumer = client.create().map_err(|e| e.to_string())?;
            let metadata = consumer.fetch_metadata(None, Duration::from_secs(5)).map_err(|e| e.to_string())?;
            if metadata.brokers().len() < self.brokers.len() {
                return Err(format!("{} brokers of {}", metadata.brokers().len(), self.brokers.len()));
            }
            let partitions = metadata.topics().iter().flat_map(|t| t.partitions().iter().map(|p| (t.name(), p)));
            for (topic, partition) in partitions {
                if partition.isr().len() < partition.replicas().len() {
                    return Err(format!("{topic}-{} is behind", partition.id()));
                }
            }
        }
        Ok(())
    }

    fn coordinators(&self) -> Result<(), String> {
        let wait = Duration::from_secs(5);
        let producer: BaseProducer =
            self.client().set("transactional.id", "readiness").create().map_err(|e| e.to_string())?;
        producer.init_transactions(wait).map_err(|e| e.to_string())?;
        let consumer: BaseConsumer = self.client().set("group.id", "readiness").create().map_err(|e| e.to_string())?;
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition("__transaction_state", 0);
        consumer.committed_offsets(offsets, wait).map(drop).map_err(|e| e.to_string())
    }

    /// A client of ours that says nothing on its own.
    pub fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.bootstrap()).set("log_level", "0");
        config
    }

    fn command(&self, broker: usize) -> Command {
        let nodes = self.brokers.iter().enumerate().map(|(i, b)| {
            let Ports { controller, plain, proxied, advertised, secure } = b.ports;
            format!("{}:{controller}:{plain}:{proxied}:{advertised}:{secure}", i + 1)
        });
        let mut command = Command::new(servers().join("kafka/broker"));
        command
            .arg(self.folder(broker))
            .arg((broker + 1).to_string())
            .args(nodes)
            .env("CDRVEIL_TEST_KAFKA_JARS", installed("CDRVEIL_TEST_KAFKA_JARS", "kafka/jars"));
        if let Some(jvm) = self.jvm {
            command.env("CDRVEIL_TEST_KAFKA_JVM", jvm);
        }
        command
    }

    fn folder(&self, broker: usize) -> PathBuf {
        self.root.join(format!("broker-{}", broker + 1))
    }

    fn log(&self, broker: usize) -> PathBuf {
        self.root.join(format!("broker-{}.log", broker + 1))
    }
}

impl Broker {
    fn new() -> Broker {
        // Between a broker and whoever comes through the proxy stand two ports.
        let [controller, plain, proxied, advertised, secure] = std::array::from_fn(|_| ports::free());
        Broker { ports: Ports { controller, plain, proxied, advertised, secure }, server: None, paused: false }
    }
}

#[test]
fn brokers_come_back_and_end_with_us() {
    let mut cluster = alone();
    cluster.kill(0);
    assert!(cluster.in_step().is_err(), "a killed broker is missed");
    cluster.mend().unwrap();
    cluster.in_step().unwrap();
}
