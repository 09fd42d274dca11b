//! Waiting for a condition, never for a time.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// Looks until there is something to see, and returns it.
///
/// # Errors
/// When there is still nothing after `patience`: with what was waited for, and the last look's error if it had one.
pub async fn until<T>(patience: Duration, what: &str, mut look: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let started = Instant::now();
    loop {
        let left = patience.saturating_sub(started.elapsed());
        let seen = match tokio::time::timeout(left.max(PAUSE), look()).await {
            Ok(seen) => seen,
            Err(_) => Ok(None),
        };
        match seen {
            Ok(Some(seen)) => return Ok(seen),
            Ok(None) if started.elapsed() < patience => {}
            Err(_) if started.elapsed() < patience => {}
            Ok(None) => bail!("waited {patience:?} for {what}, in vain"),
            Err(error) => return Err(error).with_context(|| format!("waited {patience:?} for {what}, in vain")),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_comes_late_is_returned_and_what_never_comes_is_named() {
        let mut looks = 0;
        let third = until(Duration::from_secs(5), "the third look", async || {
            looks += 1;
            if looks == 1 {
                bail!("not yet")
            } else {
                Ok((looks == 3).then_some(looks))
            }
        });
        assert_eq!(third.await.unwrap(), 3);
        let never = until(Duration::from_millis(1), "what never comes", async || Ok(None::<()>)).await;
        assert_eq!(
            never.unwrap_err().to_string(),
            "waited 1ms for what never comes, in vain"
        );
    }
}
