//! A trained classifier behind HTTP: a picture's bytes in, classes with probabilities out.
//!
//! ```sh
//! cargo run --release --manifest-path examples/server/Cargo.toml -- runs/features 127.0.0.1:8080
//! curl --data-binary @photo.jpg http://127.0.0.1:8080/classify
//! ```

use std::error::Error;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use rekindle::Device;
use rekindle::trainer::Model;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

/// Bytes of a picture at most.
const LARGEST: usize = 32 << 20;

type Answer = (StatusCode, Json<Value>);

struct Server {
    model: Model,
    /// One for each picture that is looked at.
    turns: Arc<Semaphore>,
}

async fn classify(State(server): State<Arc<Server>>, picture: Bytes) -> Answer {
    // As many pictures at once as there are cores: more would be no faster, and each takes memory.
    let turn = Arc::clone(&server.turns).acquire_owned().await;
    // Decoding and the network take processor time: not on the threads that answer. The turn is held there, so that it is
    // not given back early where a client has gone away.
    let answer = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        server.model.classify_bytes(&picture)
    });
    match answer.await {
        Ok(Ok(answer)) => (StatusCode::OK, Json(json!(answer))),
        Ok(Err(error)) => (
            StatusCode::UNPROCESSABLE_ENTITY,
            Json(json!({"error": error.to_string()})),
        ),
        Err(_) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            Json(json!({"error": "the question was not answered"})),
        ),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let model = arguments.next().ok_or("usage: server MODEL [ADDRESS]")?;
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8080".into());
    let cores = std::thread::available_parallelism()?.get();
    let server = Arc::new(Server {
        model: Model::open(&model, &Device::flex())?,
        turns: Arc::new(Semaphore::new(cores)),
    });
    let routes = Router::new()
        .route("/classify", post(classify))
        .route("/health", get(|| async { "ready" }))
        .layer(DefaultBodyLimit::max(LARGEST))
        .with_state(server);
    let listener = tokio::net::TcpListener::bind(&address).await?;
    eprintln!("listening on http://{}", listener.local_addr()?);
    let stop = async {
        // Without a handler for Ctrl-C the process ends as any other.
        let _ = tokio::signal::ctrl_c().await;
    };
    axum::serve(listener, routes).with_graceful_shutdown(stop).await?;
    Ok(())
}
