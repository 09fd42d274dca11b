//! A CDP that counts what it is sent, and nothing else.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use axum::extract::{DefaultBodyLimit, State};
use axum::routing::post;
use axum::{Json, Router};
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// What comes before each id in a batch.
const BEFORE_ID: &[u8] = b"\"messageId\":\"";

type Seen = Arc<Mutex<HashSet<Box<[u8]>>>>;

/// The sink; it ends with the process.
pub struct Sink {
    address: SocketAddr,
    seen: Seen,
}

impl Sink {
    /// Starts it on a free port.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let seen = Seen::default();
        let routes = Router::new()
            .route("/v1/batch", post(batch))
            .layer(DefaultBodyLimit::max(1 << 20))
            .with_state(seen.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Ok(Sink { address, seen })
    }

    /// The endpoint.
    pub fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// How many distinct message ids came.
    pub fn distinct(&self) -> usize {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Forgets them.
    pub fn forget(&self) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

async fn batch(State(seen): State<Seen>, body: Bytes) -> Json<Value> {
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    for place in memchr::memmem::find_iter(&body, BEFORE_ID) {
        let rest = &body[place + BEFORE_ID.len()..];
        let end = memchr::memchr(b'"', rest).unwrap_or(rest.len());
        seen.insert(rest[..end].into());
    }
    Json(json!({"success": true}))
}
