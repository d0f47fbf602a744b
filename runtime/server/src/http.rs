//! Health, metadata and counters over plain HTTP, for probes and Prometheus. Nothing here takes ciphertexts.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hec_protocol::inference::model_metadata_response::TensorMetadata;
use serde_json::json;

use crate::evaluation::Shared;
use crate::inference::{model_metadata, server_metadata};

/// The routes.
pub fn routes(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/v2", get(server))
        .route("/v2/health/live", get(async || StatusCode::OK))
        .route("/v2/health/ready", get(ready))
        .route("/v2/models/{name}", get(model))
        .route("/v2/models/{name}/ready", get(model_ready))
        .route("/metrics", get(metrics))
        .with_state(shared)
}

fn object(status: StatusCode, value: &serde_json::Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

async fn server() -> Response {
    let own = server_metadata();
    object(StatusCode::OK, &json!({ "name": own.name, "version": own.version, "extensions": own.extensions }))
}

async fn ready(State(shared): State<Arc<Shared>>) -> StatusCode {
    if shared.ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

async fn model_ready(State(shared): State<Arc<Shared>>, Path(name): Path<String>) -> StatusCode {
    match shared.models.get(&name) {
        Some(_) if shared.ready() => StatusCode::OK,
        Some(_) => StatusCode::SERVICE_UNAVAILABLE,
        None => StatusCode::NOT_FOUND,
    }
}

async fn model(State(shared): State<Arc<Shared>>, Path(name): Path<String>) -> Response {
    let Some(model) = shared.models.get(&name) else {
        return object(StatusCode::NOT_FOUND, &json!({ "error": format!("there is no model \"{name}\"") }));
    };
    let own = model_metadata(&model);
    let tensors = |list: &[TensorMetadata]| {
        let tensor = |t: &TensorMetadata| json!({ "name": t.name, "datatype": t.datatype, "shape": t.shape });
        list.iter().map(tensor).collect::<Vec<_>>()
    };
    let value = json!({
        "name": own.name,
        "versions": own.versions,
        "platform": own.platform,
        "inputs": tensors(&own.inputs),
        "outputs": tensors(&own.outputs),
    });
    object(StatusCode::OK, &value)
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let text = shared.metrics.text(&shared.admission, &shared.keys);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}
