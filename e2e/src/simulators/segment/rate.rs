//! A limit on requests a second, as a workspace has one.
//! <https://segment.com/docs/connections/sources/catalog/libraries/server/http-api/#rate-limits>

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

#[derive(Debug, Default)]
pub struct Rate(Mutex<Window>);

#[derive(Debug, Default)]
struct Window {
    allowed: Option<u32>,
    began: Option<Instant>,
    used: u32,
}

impl Rate {
    pub fn allow(&self, requests_per_second: Option<u32>) {
        *self.window() = Window {
            allowed: requests_per_second,
            began: None,
            used: 0,
        };
    }

    /// Counts a request; the seconds to wait if it is one too many.
    pub fn over(&self) -> Option<u64> {
        let mut window = self.window();
        let allowed = window.allowed?;
        let fresh = window
            .began
            .is_none_or(|began| began.elapsed() >= Duration::from_secs(1));
        if fresh {
            (window.began, window.used) = (Some(Instant::now()), 0);
        }
        window.used += 1;
        (window.used > allowed).then_some(1)
    }

    fn window(&self) -> std::sync::MutexGuard<'_, Window> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
