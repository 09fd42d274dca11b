//! What the controller knows of the cluster: one watch a kind fills it, every decision reads it, and nothing is listed twice.
//!
//! [`Index`] holds the objects and answers questions about them; each change of it tells which resources are to be reconciled.
//! [`Cache`] is the index behind a lock that is held for as long as one decision takes, never across a call: what a decision
//! takes (a place of a source) is in the index before another decision is made. What the controller writes it puts in
//! itself, so that no decision rests on a view from before its own write.

mod index;
mod objects;
#[cfg(test)]
mod tests;
mod watched;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::channel::mpsc::UnboundedSender;

pub use self::index::Index;
pub use self::watched::Watched;
use super::key::{Key, Name};

/// The index, and the way to the work queues.
#[derive(Clone)]
pub struct Cache {
    index: Arc<Mutex<Index>>,
    touched: UnboundedSender<Key>,
}

impl Cache {
    /// An empty one, which sends what is to be reconciled to `touched`.
    pub fn new(touched: UnboundedSender<Key>) -> Cache {
        Cache {
            index: Arc::default(),
            touched,
        }
    }

    /// The index, for as long as a decision takes.
    pub fn lock(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the index, and sends on what that touches.
    pub fn change(&self, change: impl FnOnce(&mut Index) -> Vec<Key>) {
        let touched = change(&mut self.lock());
        for key in touched {
            // The queues have ended where nobody receives: the process is about to.
            let _ = self.touched.unbounded_send(key);
        }
    }

    /// An object that is there.
    pub fn put<W: Watched>(&self, object: W) {
        self.change(|index| {
            let mut touched = Vec::new();
            object.put(index, &mut touched);
            touched
        });
    }

    /// An object that is gone.
    pub fn remove<W: Watched>(&self, name: &Name) {
        self.change(|index| {
            let mut touched = Vec::new();
            W::remove(name, index, &mut touched);
            touched
        });
    }
}
