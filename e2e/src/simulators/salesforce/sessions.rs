//! Sessions: who holds which access token, and until when.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Config;

/// Who sent a request: a user, by one of his sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub user: String,
    pub token: String,
}

#[derive(Debug)]
struct Session {
    user: String,
    until: Instant,
}

/// What a client must present. A test may revoke or replace it.
#[derive(Clone, Debug)]
pub struct Credentials {
    pub client_id: String,
    pub client_secret: String,
    pub username: String,
    /// The connected app's certificate or public key, PEM. Without one, no assertion is valid.
    pub public_key: Option<String>,
    pub revoked: bool,
}

#[derive(Debug)]
pub struct Sessions {
    open: Mutex<HashMap<String, Session>>,
    credentials: Mutex<Credentials>,
    lifetime: Duration,
}

impl Sessions {
    pub fn new(config: &Config) -> Self {
        let credentials = Credentials {
            client_id: config.client_id.clone(),
            client_secret: config.client_secret.clone(),
            username: config.username.clone(),
            public_key: config.public_key.clone(),
            revoked: false,
        };
        Self {
            open: Mutex::default(),
            credentials: Mutex::new(credentials),
            lifetime: config.session_lifetime,
        }
    }

    pub fn credentials(&self) -> Credentials {
        self.credentials.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn set_credentials(&self, credentials: Credentials) {
        *self.credentials.lock().unwrap_or_else(PoisonError::into_inner) = credentials;
    }

    /// A new session's access token: the org's id, `!`, and what nobody can guess.
    pub fn start(&self, org: &str, user: &str) -> String {
        let secret: String = (0..6).map(|_| format!("{:016x}", random())).collect();
        let token = format!("{org}!AQ{secret}");
        let session = Session {
            user: user.to_owned(),
            until: Instant::now() + self.lifetime,
        };
        self.list().insert(token.clone(), session);
        token
    }

    pub fn caller(&self, token: &str) -> Option<Caller> {
        let mut open = self.list();
        let session = open.get(token)?;
        if session.until <= Instant::now() {
            open.remove(token);
            return None;
        }
        Some(Caller {
            user: session.user.clone(),
            token: token.to_owned(),
        })
    }

    pub fn end(&self, token: &str) {
        self.list().remove(token);
    }

    pub fn end_all(&self) -> usize {
        self.list().drain().count()
    }

    pub fn count(&self) -> usize {
        self.list().len()
    }

    fn list(&self) -> std::sync::MutexGuard<'_, HashMap<String, Session>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A number that nobody can guess: the key of a new hasher is random.
pub fn random() -> u64 {
    std::hash::RandomState::new().build_hasher().finish()
}
