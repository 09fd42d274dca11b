//! Segment's HTTP Tracking API, and what becomes of what it receives.
//!
//! As with the service, a 200 proves nothing: [`store`] tells what was taken, what was a duplicate, and what was refused
//! and why. Tests ask through [`control`], or from Rust through [`Segment::workspace`]. On the same port are the Public API's
//! [`regulations`] and the Profile API's [`profiles`].

pub mod control;
pub mod event;
mod profiles;
mod rate;
pub mod regulations;
pub mod store;
mod tracking;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};

use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use axum::{Router, middleware};

use super::faults::{self, Faults};
use super::received::{self, Received};
use super::server::Server;
use rate::Rate;
use regulations::Regulations;
use store::Store;

#[derive(Clone, Debug)]
pub struct Config {
    pub listen: SocketAddr,
    /// The write keys of the workspace's sources; empty takes every key.
    pub write_keys: Vec<String>,
    /// The tokens of the Public API and the Profile API; empty takes every token.
    pub tokens: Vec<String>,
    /// Beyond these, events are counted but not kept.
    pub most_events: usize,
    pub requests_per_second: Option<u32>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            write_keys: Vec::new(),
            tokens: Vec::new(),
            most_events: 1_000_000,
            requests_per_second: None,
        }
    }
}

#[derive(Debug)]
pub struct Workspace {
    pub store: Store,
    pub regulations: Regulations,
    rate: Rate,
    /// Of the Public API and the Profile API.
    pub public_rate: Rate,
    tokens: Vec<String>,
    write_keys: RwLock<Vec<String>>,
    received: Arc<Received>,
}

impl Workspace {
    /// Is there a source with this key?
    fn knows(&self, key: Option<&str>) -> bool {
        let keys = self.write_keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.is_empty() || key.is_some_and(|key| keys.iter().any(|known| known == key))
    }

    /// Does the workspace know a token of its APIs beside the Tracking API?
    fn knows_token(&self, token: Option<&str>) -> bool {
        token.is_some_and(|token| self.tokens.is_empty() || self.tokens.iter().any(|known| known == token))
    }

    pub fn take_keys(&self, keys: Vec<String>) {
        *self.write_keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    pub fn reset(&self) {
        self.store.reset();
        self.regulations.clear();
        self.received.clear();
    }
}

/// A running workspace. Dropping it closes every connection.
#[derive(Debug)]
pub struct Segment {
    pub workspace: Arc<Workspace>,
    pub faults: Arc<Faults>,
    pub received: Arc<Received>,
    server: Server,
}

impl Segment {
    pub async fn start(config: Config) -> io::Result<Self> {
        let (faults, received) = (Arc::new(Faults::default()), Arc::new(Received::default()));
        let workspace = Arc::new(Workspace {
            store: Store::new(config.most_events),
            regulations: Regulations::default(),
            rate: Rate::default(),
            public_rate: Rate::default(),
            tokens: config.tokens,
            write_keys: RwLock::new(config.write_keys),
            received: received.clone(),
        });
        workspace.rate.allow(config.requests_per_second);
        let api = Router::new()
            .route("/v1/{method}", post(tracking::receive))
            .route("/regulations", get(regulations::list).post(regulations::create))
            .route(
                "/regulations/sources/{source}",
                get(regulations::list_of_source).post(regulations::create_for_source),
            )
            .route("/regulations/{id}", get(regulations::one))
            .route(
                "/v1/spaces/{space}/collections/users/profiles/{identifier}/{part}",
                get(profiles::read),
            )
            .with_state(workspace.clone())
            .layer(DefaultBodyLimit::max(regulations::LARGEST + 1_000))
            .layer(middleware::from_fn_with_state(faults.clone(), faults::apply))
            .layer(middleware::from_fn_with_state(received.clone(), received::remember));
        let control = control::routes(&workspace)
            .merge(faults.control())
            .merge(received.control());
        let server = Server::start(config.listen, control.fallback_service(api)).await?;
        Ok(Self {
            workspace,
            faults,
            received,
            server,
        })
    }

    pub fn addr(&self) -> SocketAddr {
        self.server.addr
    }

    /// The host's URL; the endpoint of a sink is this with `/v1`.
    pub fn url(&self) -> String {
        self.server.url()
    }

    pub fn endpoint(&self) -> String {
        format!("{}/v1", self.server.url())
    }
}

/// The command line: `ferrygate-e2e simulator segment`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[arg(long, default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// A source's write key; without any, every key is taken.
    #[arg(long = "write-key", env = "SEGMENT_WRITE_KEYS", value_delimiter = ',')]
    pub write_keys: Vec<String>,
    /// A token of the Public API and the Profile API; without any, every token is taken.
    #[arg(long = "token", env = "SEGMENT_TOKENS", value_delimiter = ',')]
    pub tokens: Vec<String>,
    /// Beyond these, events are counted but not kept.
    #[arg(long, default_value_t = 1_000_000)]
    pub most_events: usize,
    #[arg(long)]
    pub requests_per_second: Option<u32>,
}

/// Serves until the process is told to stop.
pub async fn run(args: Args) -> io::Result<()> {
    let Args {
        listen,
        write_keys,
        tokens,
        most_events,
        requests_per_second,
    } = args;
    let simulator = Segment::start(Config {
        listen,
        write_keys,
        tokens,
        most_events,
        requests_per_second,
    })
    .await?;
    println!("Segment simulator on {}", simulator.url());
    super::until_stopped().await
}
