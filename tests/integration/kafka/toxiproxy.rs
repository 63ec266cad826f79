//! Toxiproxy, between clients and brokers: cuts, delays and resets of real connections.

use super::guard::{Server, tail};
use super::ports;
use crate::site::installed;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

pub struct Toxiproxy {
    #[expect(dead_code, reason = "ends with us")]
    server: Server,
    api: u16,
    proxies: Vec<String>,
}

impl Toxiproxy {
    /// Starts it with a proxy per pair of ports: where clients connect, where the broker listens.
    pub fn start(folder: &Path, pairs: &[(u16, u16)]) -> Toxiproxy {
        let api = ports::free();
        let log = folder.join("toxiproxy.log");
        let mut command = Command::new(installed("CDRVEIL_TEST_TOXIPROXY", "bin/toxiproxy-2.5.0"));
        command.args(["-host", "127.0.0.1", "-port", &api.to_string()]);
        let mut proxy = Toxiproxy { server: Server::start(&command, &log), api, proxies: Vec::new() };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", api)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(20), "Toxiproxy does not start\n{}", tail(&log, 20));
            std::thread::sleep(Duration::from_millis(50));
        }
        for (at, to) in pairs {
            let name = format!("broker-at-{to}");
            let (listen, upstream) = (format!("127.0.0.1:{at}"), format!("127.0.0.1:{to}"));
            proxy.ask("POST", "/proxies", &json!({ "name": name, "listen": listen, "upstream": upstream }));
            proxy.proxies.push(name);
        }
        proxy
    }

    /// Adds what is wrong to every connection of every broker, in both directions.
    pub fn poison(&self, kind: &str, attributes: &Value) {
        for proxy in &self.proxies {
            for stream in ["upstream", "downstream"] {
                let toxic = json!({ "name": format!("{kind}-{stream}"), "type": kind, "stream": stream,
                                    "attributes": attributes });
                self.ask("POST", &format!("/proxies/{proxy}/toxics"), &toxic);
            }
        }
    }

    /// Cuts every connection to one of the brokers; new ones are refused until `heal`.
    pub fn cut(&self, broker: usize) {
        self.ask("POST", &format!("/proxies/{}", self.proxies[broker]), &json!({ "enabled": false }));
    }

    /// All proxies up, nothing wrong with any.
    pub fn heal(&self) {
        self.ask("POST", "/reset", &json!({}));
    }

    fn ask(&self, method: &str, path: &str, body: &Value) {
        let body = body.to_string();
        let mut stream = TcpStream::connect(("127.0.0.1", self.api)).unwrap();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = Vec::new();
        // It closes without having read a body that it does not need: a reset may follow its answer.
        let read = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        assert!(read.is_ok() || !answer.is_empty(), "Toxiproxy on {method} {path}: {read:?}");
        let status = answer.split(' ').nth(1).unwrap_or_default();
        assert!(status.starts_with('2'), "Toxiproxy on {method} {path} {body}: {answer}");
    }
}
