//! Leader election by a Lease (<https://kubernetes.io/docs/concepts/architecture/leases/>).
//!
//! Each write is under the Lease's `resourceVersion`, so that of two candidates one is refused. Nobody reads another
//! machine's clock: a candidate takes the Lease once it has seen it unchanged for its whole duration by its own monotonic
//! clock, and a leader stops a while before that, counted from when it *sent* its last renewal that was taken. So a leader
//! has stopped before another may begin, as long as the two clocks run at about the same speed.
//!
//! Where it stops: Linux halts the monotonic clock of a machine that is suspended, and a process may be frozen between its
//! look at the [`Term`] and its write. The `resourceVersion` of that write is what is left then. Who deletes the Lease by hand
//! and starts another process in the same moment may see two leaders until the first one's next renewal.
//!
//! [`Candidate::lead`] waits for the lead and [`Leadership::hold`] renews it. [`Term::is_current`] is asked before each act,
//! and [`Leadership::release`] gives the lead up once the work has ended. [`lock`] talks to the API server.

mod leadership;
mod lock;
#[cfg(test)]
mod tests;

use std::time::Duration;

use fastrand::Rng;
use kube::Client;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

pub use leadership::{Leadership, Term};
use lock::{Lock, View};

/// How long a leader that was not heard of stays one. It is written into the Lease; candidates go by what stands there.
const LEASE: Duration = Duration::from_secs(15);
/// How long after it sent the last renewal that was taken a leader stops.
const GIVE_UP: Duration = Duration::from_secs(10);
/// How long an act of the leader may be under way: who acts by a [`Term`] bounds each write by this.
pub const ACT: Duration = Duration::from_secs(4);
/// From the start of one renewal to the start of the next.
const RENEW: Duration = Duration::from_secs(2);
/// How long a candidate waits before it looks again, and a leader before it tries again: at most this, at least half of it.
const RETRY: Duration = Duration::from_secs(1);
/// How long one request for the Lease may take.
const REQUEST: Duration = Duration::from_secs(3);

// What was begun in the last moment of a term has ended 15 - (10 + 4) = 1 s before another may begin: clocks may differ by a
// fifteenth in speed.
const _: () = assert!(GIVE_UP.as_secs() + ACT.as_secs() < LEASE.as_secs());
// A renewal may hang, and the next one take as long as it may: 2 + 3 + 1 + 3 = 9 s after the last one was sent.
const _: () = assert!(RENEW.as_secs() + REQUEST.as_secs() + RETRY.as_secs() + REQUEST.as_secs() < GIVE_UP.as_secs());
// A leader that releases is followed within 1 s, when the candidate looks again. One that is killed is followed within
// 1 + 15 s: the candidate has seen its last renewal 1 s after it was written, and looks again in the moment of the expiry.

/// A candidate for one Lease.
pub struct Candidate {
    lock: Lock,
    /// Spreads the candidates' requests.
    rng: Rng,
}

impl Candidate {
    /// A candidate. Its identity is `name` (the Pod's, for people who read the Lease) and a random number: a process that
    /// follows another in the same Pod must not take the other's lead for its own.
    pub fn new(client: Client, namespace: &str, lease: &str, name: &str, mut rng: Rng) -> Self {
        let identity = format!("{name}_{:016x}", rng.u64(..));
        Candidate {
            lock: Lock::new(client, namespace, lease, identity),
            rng,
        }
    }

    /// Waits until this process leads, or `shutdown`: none then. May be called again after a lead was lost.
    pub async fn lead(&mut self, shutdown: &CancellationToken) -> Option<Leadership> {
        let mut view: Option<View> = None;
        loop {
            // What is begun to be taken is not interrupted: it would be held by nobody.
            let read = tokio::select! {
                () = shutdown.cancelled() => return None,
                read = self.lock.read() => read,
            };
            match read {
                Ok(lease) => {
                    let current = View::of(lease, view.take(), Instant::now());
                    if current.may_be_taken(self.lock.identity(), Instant::now())
                        && let Some(leadership) = self.take(&current).await
                    {
                        return Some(leadership);
                    }
                    view = Some(current);
                }
                Err(error) => warn!(%error, "the Lease was not read"),
            }
            let until_expiry = view.as_ref().and_then(|view| view.expires_in(Instant::now()));
            let wait = jittered(RETRY, &mut self.rng);
            tokio::select! {
                () = shutdown.cancelled() => return None,
                () = sleep(until_expiry.map_or(wait, |left| left.min(wait))) => {}
            }
        }
    }

    async fn take(&mut self, view: &View) -> Option<Leadership> {
        let sent = Instant::now();
        match self.lock.take(view.lease()).await {
            // An answer that was not read for too long, because the process was frozen, is worth nothing.
            Ok(Some(lease)) if sent.elapsed() < GIVE_UP => {
                info!(identity = self.lock.identity(), "leads");
                Some(Leadership::new(self.lock.clone(), lease, sent, self.rng.fork()))
            }
            Ok(_) => None,
            Err(error) => {
                warn!(%error, "the Lease was not taken");
                None
            }
        }
    }
}

/// At least half of it, at most all.
fn jittered(most: Duration, rng: &mut Rng) -> Duration {
    most.mul_f64(0.5 + rng.f64() / 2.0)
}
