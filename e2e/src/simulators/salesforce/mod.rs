//! A Salesforce org: OAuth, the REST API's queries, records, replication and limits, and query jobs of the Bulk API 2.0, as
//! published.
//!
//! It refuses what the service refuses: see [`oauth`], [`rest`], [`soql`], [`records`], [`bulk`]. Records live in memory. Tests
//! arrange it through [`control`], or from Rust through [`Salesforce::org`].

pub mod bulk;
mod composite;
pub mod control;
mod cursors;
mod data;
mod describe;
mod error;
mod id;
mod oauth;
mod objects;
pub mod org;
mod query;
mod quota;
mod records;
mod replication;
mod rest;
mod schema;
pub mod seed;
mod sessions;
mod soql;
mod time;
mod value;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::{Router, middleware};

use super::faults::{self, Faults};
use super::received::{self, Received};
use super::server::Server;
use org::Org;

/// What the org expects of its clients, and allows them.
#[derive(Clone, Debug)]
pub struct Config {
    pub listen: SocketAddr,
    pub client_id: String,
    pub client_secret: String,
    pub username: String,
    /// The connected app's certificate or public key, PEM.
    pub public_key: Option<String>,
    pub daily_requests: u64,
    pub session_lifetime: Duration,
    /// A query cursor that nobody uses for so long is released.
    pub cursor_lifetime: Duration,
    /// Is a locator refused after its user has logged in anew? See [`cursors`].
    pub cursors_end_with_session: bool,
    /// Are answers compressed for clients that accept it?
    pub compress: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            client_id: "3MVG9ferrygate.simulated".to_owned(),
            client_secret: "simulated-consumer-secret".to_owned(),
            username: "integration@acme.example".to_owned(),
            public_key: None,
            daily_requests: 15_000,
            session_lifetime: Duration::from_secs(2 * 3600),
            cursor_lifetime: Duration::from_secs(15 * 60),
            cursors_end_with_session: false,
            compress: false,
        }
    }
}

/// A running org. Dropping it closes every connection.
#[derive(Debug)]
pub struct Salesforce {
    pub org: Arc<Org>,
    pub faults: Arc<Faults>,
    pub received: Arc<Received>,
    server: Server,
}

impl Salesforce {
    pub async fn start(config: Config) -> io::Result<Self> {
        let listen = config.listen;
        let org = Arc::new(Org::new(config));
        let (faults, received) = (Arc::new(Faults::default()), Arc::new(Received::default()));
        let api = Router::new()
            .fallback(rest::handle)
            .with_state(org.clone())
            .layer(middleware::from_fn_with_state(faults.clone(), faults::apply))
            .layer(middleware::from_fn_with_state(received.clone(), received::remember));
        let control = control::routes(&org).merge(faults.control()).merge(received.control());
        let server = Server::start(listen, control.fallback_service(api)).await?;
        Ok(Self {
            org,
            faults,
            received,
            server,
        })
    }

    pub fn addr(&self) -> SocketAddr {
        self.server.addr
    }

    /// The org's own URL, the login host of its clients: `http://127.0.0.1:40123`
    pub fn url(&self) -> String {
        self.server.url()
    }

    pub fn seed(&self, seed: &seed::Seed) -> seed::Seeded {
        let now = self.org.now();
        seed::seed(&mut self.org.write(), seed, now)
    }
}

/// The command line: `ferrygate-e2e simulator salesforce`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[arg(long, default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    #[arg(long, env = "SALESFORCE_CLIENT_ID")]
    pub client_id: Option<String>,
    #[arg(long, env = "SALESFORCE_CLIENT_SECRET")]
    pub client_secret: Option<String>,
    #[arg(long, env = "SALESFORCE_USERNAME")]
    pub username: Option<String>,
    /// File with the connected app's certificate or public key, PEM.
    #[arg(long, env = "SALESFORCE_PUBLIC_KEY")]
    pub public_key: Option<PathBuf>,
    /// Start with this many contacts.
    #[arg(long, default_value_t = 0)]
    pub contacts: usize,
    /// Start with this many opportunities.
    #[arg(long, default_value_t = 0)]
    pub opportunities: usize,
    #[arg(long, default_value_t = 15_000)]
    pub daily_requests: u64,
    /// Compress answers for clients that accept it.
    #[arg(long)]
    pub compress: bool,
}

/// Serves until the process is told to stop.
pub async fn run(args: Args) -> io::Result<()> {
    let usual = Config::default();
    let simulator = Salesforce::start(Config {
        listen: args.listen,
        client_id: args.client_id.unwrap_or(usual.client_id),
        client_secret: args.client_secret.unwrap_or(usual.client_secret),
        username: args.username.unwrap_or(usual.username),
        public_key: args.public_key.map(std::fs::read_to_string).transpose()?,
        daily_requests: args.daily_requests,
        compress: args.compress,
        ..usual
    })
    .await?;
    let (contacts, opportunities) = (args.contacts, args.opportunities);
    simulator.seed(&seed::Seed {
        contacts,
        opportunities,
        ..seed::Seed::default()
    });
    println!("Salesforce simulator on {} ({contacts} contacts)", simulator.url());
    super::until_stopped().await
}
