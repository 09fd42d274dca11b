//! Machines whose network and processes fail, all of them under one virtual clock.

use std::cell::Cell;
use std::future::{pending, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::http::{Request, Response};
use fastrand::Rng;
use futures::future::BoxFuture;
use kube::Client;
use kube::client::Body;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tower::{BoxError, Service};

use super::super::{ACT, Candidate, Term};
use crate::controller::fake_api::FakeApi;

/// What happens to a machine's requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    /// They take some milliseconds.
    Fair,
    /// They take up to ten seconds each way, whether the sender waits or not.
    Slow,
    /// They arrive at once, and the answer takes almost as long as it may.
    AnswersLate,
    /// They arrive, and nothing comes back.
    AnswersLost,
    /// They don't arrive, and nothing comes back.
    Silent,
    /// They are refused.
    Refused,
}

/// How long the answer takes where it is late.
const LATE: Duration = Duration::from_millis(2_900);

/// A machine's way to the API server.
#[derive(Clone)]
pub struct Network {
    api: FakeApi,
    weather: Arc<Mutex<(Weather, Rng)>>,
}

impl Network {
    pub fn new(api: &FakeApi, rng: Rng) -> Self {
        Network {
            api: api.clone(),
            weather: Arc::new(Mutex::new((Weather::Fair, rng))),
        }
    }

    pub fn set(&self, weather: Weather) {
        self.weather.lock().unwrap().0 = weather;
    }

    pub fn client(&self) -> Client {
        Client::new(self.clone(), "ferrygate-system")
    }
}

impl Service<Request<Body>> for Network {
    type Response = Response<axum::body::Body>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let mut api = self.api.clone();
        let weather = self.weather.clone();
        Box::pin(async move {
            let (weather, there, back) = {
                let (weather, rng) = &mut *weather.lock().unwrap();
                let most = if *weather == Weather::Slow { 10_000 } else { 20 };
                let mut way = || Duration::from_millis(rng.u64(1..most));
                let (there, back) = (way(), way());
                let back = if *weather == Weather::AnswersLate { LATE } else { back };
                (*weather, there, back)
            };
            match weather {
                Weather::Silent => return pending().await,
                Weather::Refused => return Err(io::Error::from(io::ErrorKind::ConnectionRefused).into()),
                Weather::Fair | Weather::Slow | Weather::AnswersLate | Weather::AnswersLost => {}
            }
            let (sender, receiver) = oneshot::channel();
            // What was sent arrives, be the sender still there or not.
            tokio::spawn(async move {
                sleep(there).await;
                let answer = api.call(request).await;
                sleep(back).await;
                let _ = sender.send(answer);
            });
            if weather == Weather::AnswersLost {
                return pending().await;
            }
            receiver.await?
        })
    }
}

/// Polls `process` only while it is not frozen; its timers go on meanwhile.
pub async fn freezable(frozen_until: &Cell<Instant>, process: impl Future<Output = ()>) {
    let mut process = pin!(process);
    let mut thaw = pin!(sleep_until(Instant::now()));
    poll_fn(|context| {
        if Instant::now() < frozen_until.get() {
            thaw.as_mut().reset(frozen_until.get());
            // It is polled again when the time has come, however often it was woken before.
            if thaw.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
        }
        process.as_mut().poll(context)
    })
    .await;
}

/// Sees that no two processes are at work at once.
#[derive(Default)]
pub struct Watchman {
    processes: Cell<u32>,
    /// Who began last, when, and when it will have ended.
    at_work: Cell<Option<(u32, Instant, Instant)>>,
    changes: Cell<u32>,
}

impl Watchman {
    /// A process that was not there before.
    pub fn enlist(&self) -> u32 {
        self.processes.set(self.processes.get() + 1);
        self.processes.get()
    }

    /// `process` begins an act.
    fn begins(&self, process: u32, act: Duration) {
        let now = Instant::now();
        let mut end = now + act;
        match self.at_work.get() {
            Some((other, _, until)) if other != process => {
                assert!(
                    until <= now,
                    "process {process} began {:?} before {other} had ended",
                    until - now
                );
                self.changes.set(self.changes.get() + 1);
            }
            Some((_, _, until)) => end = end.max(until),
            None => {}
        }
        self.at_work.set(Some((process, now, end)));
    }

    /// Who began the last act, and when.
    pub fn last(&self) -> Option<(u32, Instant)> {
        self.at_work.get().map(|(process, began, _)| (process, began))
    }

    /// How often the lead went from one process to another.
    pub fn changes(&self) -> u32 {
        self.changes.get()
    }
}

/// How the controller is built: it acts while it leads, and begins anew as a candidate when it does not, until `shutdown`.
pub async fn controller(
    mut candidate: Candidate,
    process: u32,
    longest_act: Duration,
    watchman: &Watchman,
    mut rng: Rng,
    shutdown: &CancellationToken,
) {
    while let Some(mut leadership) = candidate.lead(shutdown).await {
        let term = leadership.term();
        let lost = {
            let work = acts(process, longest_act, &term, watchman, &mut rng, shutdown);
            tokio::select! {
                // The worst order: after a freeze, the work is polled before the watch over it.
                biased;
                () = work => false,
                () = leadership.hold() => true,
            }
        };
        if !lost {
            leadership.release().await;
        }
    }
}

/// Acts, one after another, each begun within the term.
async fn acts(
    process: u32,
    longest: Duration,
    term: &Term,
    watchman: &Watchman,
    rng: &mut Rng,
    shutdown: &CancellationToken,
) {
    assert!(longest <= ACT);
    while !shutdown.is_cancelled() {
        let act = longest.mul_f64(rng.f64());
        if term.is_current() {
            watchman.begins(process, act);
        }
        sleep(act + Duration::from_millis(1)).await;
    }
}
