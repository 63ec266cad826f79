//! Metrics and health over HTTP, on a thread of its own: `/metrics`, `/live`, `/ready`.

use crate::telemetry::{Health, Telemetry};
use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use std::net::{SocketAddr, TcpListener};

#[derive(Debug, thiserror::Error)]
#[error("cannot serve metrics on {listen}: {reason}")]
pub struct ServeError {
    pub listen: SocketAddr,
    pub reason: String,
}

/// Serves until the process ends. Returns the address, which is new information for port 0.
pub fn start(listen: SocketAddr, telemetry: Telemetry, health: Health) -> Result<SocketAddr, ServeError> {
    let failed = |e: std::io::Error| ServeError { listen, reason: e.to_string() };
    let listener = TcpListener::bind(listen).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let thread = std::thread::Builder::new().name("telemetry".into());
    let serving = move || {
        runtime.block_on(async move {
            match tokio::net::TcpListener::from_std(listener) {
                Ok(listener) => drop(axum::serve(listener, routes(telemetry, health)).await),
                Err(e) => eprintln!("warning: metrics are not served: {e}"),
            }
        });
    };
    thread.spawn(serving).map_err(failed)?;
    Ok(bound)
}

fn routes(telemetry: Telemetry, health: Health) -> Router {
    let ready = health.clone();
    Router::new()
        .route("/metrics", get(move || async move { page(telemetry.page()) }))
        .route("/live", get(move || async move { verdict(health.live()) }))
        .route("/ready", get(move || async move { verdict(ready.ready()) }))
}

fn page(metrics: String) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics)
}

/// 200 and `ok`, or 503 and why not.
fn verdict(health: Result<(), String>) -> (StatusCode, String) {
    match health {
        Ok(()) => (StatusCode::OK, "ok\n".into()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::time::Duration;

    fn ask(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn three_paths_answer_and_a_taken_port_is_said() {
        let health = Health::new(Duration::from_secs(60));
        let address = start("127.0.0.1:0".parse().unwrap(), Telemetry::install(), health.clone()).unwrap();
        let metrics = ask(address, "/metrics");
        assert!(metrics.starts_with("HTTP/1.1 200") && metrics.contains("text/plain; version=0.0.4"), "{metrics}");
        assert!(metrics.contains("cdrveil_build_info{version="), "{metrics}");
        assert!(ask(address, "/live").starts_with("HTTP/1.1 200"));
        let ready = ask(address, "/ready");
        assert!(ready.starts_with("HTTP/1.1 503") && ready.contains("not open yet"), "{ready}");
        health.opened();
        assert!(ask(address, "/ready").starts_with("HTTP/1.1 200"));
        assert!(ask(address, "/").starts_with("HTTP/1.1 404"));
        let taken = start(address, Telemetry::install(), health).unwrap_err().to_string();
        assert!(taken.contains("in use"), "{taken}");
    }
}
