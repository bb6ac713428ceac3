//! `/metrics`, `/healthz`, `/readyz`.

use std::net::SocketAddr;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use lakeward_core::{Error, ErrorKind, Result};
use prometheus::{Encoder, Registry, TextEncoder};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::health::{Health, Verdict};
use super::{Telemetry, metrics};

/// Serves `telemetry` on `listen`, until the returned task is aborted.
///
/// Errors: `Config` where the address cannot be taken.
pub async fn serve(telemetry: Telemetry, listen: SocketAddr) -> Result<(SocketAddr, JoinHandle<()>)> {
    let taken = |error: std::io::Error| {
        Error::new(ErrorKind::Config, "the address for metrics cannot be taken")
            .at("key", "metrics.listen")
            .at("address", listen)
            .remedy("choose a free port, or stop the process that holds it")
            .caused_by(error)
    };
    let listener = TcpListener::bind(listen).await.map_err(taken)?;
    let address = listener.local_addr().map_err(taken)?;
    let registry = metrics::registry(&telemetry)
        .map_err(|error| Error::new(ErrorKind::Bug, "the metrics contradict each other").caused_by(error))?;
    let alive = telemetry.clone();
    let routes = axum::Router::new()
        .route("/metrics", get(move || std::future::ready(scraped(&registry))))
        .route("/healthz", get(move || std::future::ready(told(&Health(&alive).alive()))))
        .route("/readyz", get(move || std::future::ready(told(&Health(&telemetry).ready()))));
    info!(%address, "serving /metrics, /healthz and /readyz");
    let task = tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, routes).await {
            warn!("metrics are not served any more: {error}");
        }
    });
    Ok((address, task))
}

fn scraped(registry: &Registry) -> Response {
    match metrics::text(registry) {
        Ok(text) => {
            ([(header::CONTENT_TYPE, TextEncoder::new().format_type().to_owned())], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

fn told(verdict: &Verdict) -> Response {
    let status = if verdict.ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = serde_json::json!(verdict).to_string();
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}
