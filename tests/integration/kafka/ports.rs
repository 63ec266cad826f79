//! Ports on loopback for servers that must be told theirs.

use std::collections::HashSet;
use std::net::TcpListener;
use std::sync::Mutex;

/// A port that nobody listens at, below those that the system gives to clients.
pub fn free() -> u16 {
    static GIVEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);
    let mut given = GIVEN.lock().unwrap();
    let given = given.get_or_insert_default();
    for _ in 0..1000 {
        let port = rand::random_range(15_000..32_000);
        if !given.contains(&port) && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            given.insert(port);
            return port;
        }
    }
    panic!("no free port on loopback");
}
