//! A work queue: each resource once at a time, and not again for what happened before it was looked at.

use std::collections::{HashMap, HashSet, VecDeque};
use std::pin::pin;
use std::time::Duration;

use futures::channel::mpsc;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, Stream, StreamExt};
use kube::runtime::scheduler::{ScheduleRequest, scheduler};
use tokio::time::Instant;

use super::key::Key;

/// How many resources of a kind are worked on at once: as many writes are under way at the most. An API server that takes ten a
/// second still answers each within the time that a write may take.
const CONCURRENCY: usize = 40;
/// The pause after a reconcile that failed: twice as long each time, up to the last.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));

/// How a reconcile ended.
pub enum Ended {
    /// Well; look again after so long, if at all.
    Well(Option<Duration>),
    /// Not well: look again after a pause that grows.
    Failed,
}

/// Works on what `touched` names, until it ends and what is under way has ended too. `depth` is told how many resources wait.
pub async fn work<W, F>(touched: impl Stream<Item = Key>, reconcile: W, depth: impl Fn(usize))
where
    W: Fn(Key) -> F,
    F: Future<Output = Ended>,
{
    let (again, later) = mpsc::unbounded();
    let (mut touched, mut later) = (pin!(touched.fuse()), pin!(scheduler(later)));
    let mut queue = Queue::default();
    let mut working = FuturesUnordered::new();
    loop {
        tokio::select! {
            key = touched.next() => match key {
                Some(key) => queue.add(key),
                None => break,
            },
            Some(key) = later.next() => queue.add(key),
            Some((key, ended)) = working.next(), if !working.is_empty() => {
                if let Some(pause) = queue.done(&key, &ended) {
                    let _ = again.unbounded_send(ScheduleRequest { message: key, run_at: Instant::now() + pause });
                }
            }
        }
        // All that was touched by now is looked at once: at a start, each resource by each of its Jobs.
        while let Some(Some(key)) = touched.next().now_or_never() {
            queue.add(key);
        }
        while let Some(key) = queue.next() {
            let work = reconcile(key.clone());
            working.push(async move { (key, work.await) });
        }
        depth(queue.waiting.len());
    }
    while working.next().await.is_some() {}
}

/// Which resources wait, and which are worked on.
#[derive(Default)]
struct Queue {
    waiting: VecDeque<Key>,
    is_waiting: HashSet<Key>,
    active: HashSet<Key>,
    /// Touched while it is worked on.
    again: HashSet<Key>,
    failures: HashMap<Key, u32>,
}

impl Queue {
    fn add(&mut self, key: Key) {
        if self.active.contains(&key) {
            self.again.insert(key);
        } else if self.is_waiting.insert(key.clone()) {
            self.waiting.push_back(key);
        }
    }

    fn next(&mut self) -> Option<Key> {
        if self.active.len() >= CONCURRENCY {
            return None;
        }
        let key = self.waiting.pop_front()?;
        self.is_waiting.remove(&key);
        self.active.insert(key.clone());
        Some(key)
    }

    /// Work has ended; returns after which pause it is to be taken up again.
    fn done(&mut self, key: &Key, ended: &Ended) -> Option<Duration> {
        self.active.remove(key);
        if self.again.remove(key) {
            self.add(key.clone());
        }
        match ended {
            Ended::Well(pause) => {
                self.failures.remove(key);
                *pause
            }
            Ended::Failed => {
                let failures = self.failures.entry(key.clone()).or_default();
                let (first, last) = PAUSES;
                let pause = (first * (1 << (*failures).min(10))).min(last);
                *failures += 1;
                Some(pause)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};

    use super::super::key::{Kind, Name};
    use super::*;

    fn key(name: &str) -> Key {
        Key::new(
            Kind::SyncPipeline,
            Name {
                namespace: "crm".into(),
                name: name.into(),
            },
        )
    }

    #[tokio::test(start_paused = true)]
    async fn a_resource_is_worked_on_once_at_a_time_and_again_if_it_was_touched_meanwhile() {
        let (touch, touched) = mpsc::unbounded();
        let (active, most, done) = (
            AtomicUsize::new(0),
            AtomicUsize::new(0),
            Arc::new(Mutex::new(Vec::new())),
        );
        let reconcile = |key: Key| {
            let (active, most, done) = (&active, &most, done.clone());
            async move {
                most.fetch_max(active.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_secs(1)).await;
                active.fetch_sub(1, Ordering::SeqCst);
                done.lock().unwrap().push((key.name.name, Instant::now()));
                Ended::Well(None)
            }
        };
        let start = Instant::now();
        let drive = async {
            for _ in 0..3 {
                touch.unbounded_send(key("a")).unwrap();
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
            touch.unbounded_send(key("a")).unwrap();
            touch.unbounded_send(key("a")).unwrap();
            tokio::time::sleep(Duration::from_secs(5)).await;
            drop(touch);
        };
        tokio::join!(work(touched, reconcile, |_| {}), drive);
        let times: Vec<_> = done
            .lock()
            .unwrap()
            .iter()
            .map(|(_, at)| at.duration_since(start).as_secs())
            .collect();
        assert_eq!((times, most.into_inner()), (vec![1, 2], 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_reconcile_that_fails_is_tried_again_after_a_growing_pause_and_one_that_asks_after_its_own() {
        let (touch, touched) = mpsc::unbounded();
        let start = Instant::now();
        let times = Mutex::new(Vec::new());
        let reconcile = |_| {
            let mut times = times.lock().unwrap();
            times.push(start.elapsed().as_millis());
            std::future::ready(match times.len() {
                1..=3 => Ended::Failed,
                4 => Ended::Well(Some(Duration::from_secs(60))),
                _ => Ended::Well(None),
            })
        };
        let drive = async {
            touch.unbounded_send(key("a")).unwrap();
            tokio::time::sleep(Duration::from_secs(300)).await;
            drop(touch);
        };
        tokio::join!(work(touched, reconcile, |_| {}), drive);
        let seconds: Vec<_> = times.lock().unwrap().iter().map(|time| (time + 50) / 100).collect();
        assert_eq!(seconds, [0, 5, 15, 35, 635]);
    }

    #[test]
    fn no_more_is_worked_on_than_is_allowed() {
        let mut queue = Queue::default();
        for number in 0..100 {
            queue.add(key(&number.to_string()));
        }
        let started = std::iter::from_fn(|| queue.next()).count();
        assert_eq!((started, queue.waiting.len()), (CONCURRENCY, 100 - CONCURRENCY));
    }
}
