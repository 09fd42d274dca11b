//! The lead, while it lasts.

use fastrand::Rng;
use k8s_openapi::api::coordination::v1::Lease;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use super::lock::{Lock, LockError};
use super::{GIVE_UP, RENEW, RETRY, jittered};

/// Until when this process may act. Clones are the same term.
#[derive(Clone)]
pub struct Term(Option<watch::Receiver<Instant>>);

impl Term {
    /// The term of a process that leads without asking.
    pub fn endless() -> Self {
        Term(None)
    }

    /// Whether an act may begin now. To be asked before each, with nothing awaited in between, and each act to be bounded by
    /// [`ACT`](super::ACT): a process that was frozen finds out by this alone that its time is over.
    pub fn is_current(&self) -> bool {
        self.0.as_ref().is_none_or(|until| Instant::now() < *until.borrow())
    }
}

/// The lead. It ends by itself when it is not held.
pub struct Leadership {
    lock: Lock,
    held: Lease,
    /// When the last renewal that was taken was sent.
    renewed: Instant,
    until: watch::Sender<Instant>,
    rng: Rng,
}

impl Leadership {
    /// The lead by a Lease that was taken with a request sent at `sent`.
    pub(super) fn new(lock: Lock, held: Lease, sent: Instant, rng: Rng) -> Self {
        Leadership {
            lock,
            held,
            renewed: sent,
            until: watch::Sender::new(sent + GIVE_UP),
            rng,
        }
    }

    /// Until when this process may act.
    pub fn term(&self) -> Term {
        Term(Some(self.until.subscribe()))
    }

    /// Renews until the lead is lost; whoever acts by it must stop then. Until `shutdown`'s work has ended, go on holding.
    pub async fn hold(&mut self) {
        let until = self.until.subscribe();
        let mut next = self.renewed + RENEW;
        loop {
            let deadline = *until.borrow();
            // The deadline is looked at first: an answer that comes after it is too late.
            let renewed = tokio::select! {
                biased;
                () = sleep_until(deadline) => {
                    warn!("the Lease was not renewed in time");
                    break;
                }
                renewed = async { sleep_until(next).await; self.renew().await } => renewed,
            };
            next = match renewed {
                Ok(true) => self.renewed + RENEW,
                Ok(false) => break,
                Err(error) => {
                    warn!(%error, "the Lease was not renewed");
                    Instant::now() + jittered(RETRY, &mut self.rng)
                }
            };
        }
        self.end();
        warn!(identity = self.lock.identity(), "no longer leads");
    }

    /// Gives the lead up, so that another may begin at once. Only after what acts by it has ended.
    pub async fn release(mut self) {
        self.end();
        match self.let_go().await {
            Ok(()) => info!(identity = self.lock.identity(), "gave up the lead"),
            Err(error) => warn!(%error, "the lead was not given up; another begins once the Lease has expired"),
        }
    }

    /// Renews once; false where another holds the Lease.
    async fn renew(&mut self) -> Result<bool, LockError> {
        loop {
            let sent = Instant::now();
            if let Some(held) = self.lock.renew(&self.held).await? {
                self.held = held;
                self.renewed = sent;
                self.until.send_replace(sent + GIVE_UP);
                return Ok(true);
            }
            // A renewal whose answer was lost has changed it, or another has.
            match self.lock.read_held().await? {
                Some(held) => self.held = held,
                None => return Ok(false),
            }
        }
    }

    async fn let_go(&mut self) -> Result<(), LockError> {
        while self.lock.release(&self.held).await?.is_none() {
            match self.lock.read_held().await? {
                Some(held) => self.held = held,
                None => break,
            }
        }
        Ok(())
    }

    fn end(&self) {
        self.until.send_replace(Instant::now());
    }
}
