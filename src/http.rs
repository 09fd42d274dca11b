//! What every connector's requests have in common: the client, patience with passing errors, and a pace.

use std::error::Error;
use std::fmt::Write;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use reqwest::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use tokio::time::Instant;

/// How requests name us.
pub const USER_AGENT: &str = concat!("ferrygate/", env!("CARGO_PKG_VERSION"));

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A client for one connector. Redirects are answers: a credential never follows one to another host. `silence` is the longest
/// that a server may take to its answer's first byte, and between two of its bytes.
///
/// # Errors
/// Where the machine has no CA certificates, and `plaintext` doesn't make up for it.
pub fn client(plaintext: bool, silence: Duration) -> Result<Client, reqwest::Error> {
    let builder = || {
        Client::builder()
            .user_agent(USER_AGENT)
            .redirect(Policy::none())
            .referer(false)
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(silence)
            .tcp_keepalive(Duration::from_secs(30))
            // Plaintext is for a server on the same machine, where inflating costs more than it saves.
            .gzip(!plaintext)
            // Ours alone: the library would repeat what it holds to be safe, beyond our count and our pace.
            .retry(reqwest::retry::never())
    };
    match builder().build() {
        Err(_) if plaintext => builder().tls_certs_only([]).build(),
        built => built,
    }
}

/// Parses an endpoint: `https://`, or `http://` where the resource allows it, and no credentials in it.
///
/// # Errors
/// A sentence that says what is wrong with the URL called `name`.
pub fn endpoint(name: &str, text: &str, allow_plaintext: bool) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("{name} is not a URL: {error}"))?;
    match url.scheme() {
        "https" => {}
        "http" if allow_plaintext => {}
        "http" => {
            return Err(format!(
                "{name} must begin with https://; http:// needs allowPlaintext: true"
            ));
        }
        _ => return Err(format!("{name} must begin with https://")),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!(
            "{name} must not hold a user name or a password: credentials belong into a Secret"
        ));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(format!("{name} has no host"));
    }
    Ok(url)
}

/// How long, and how often, a request is repeated after passing errors.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// The greatest delay before the first repetition; it doubles with each.
    pub first: Duration,
    /// The greatest delay before any repetition.
    pub longest: Duration,
    /// How many times a request is repeated.
    pub repetitions: u32,
    /// From the first try on, the time after which none is repeated.
    pub total: Duration,
}

impl Patience {
    /// Begins with one request.
    pub fn begin(self) -> Tries {
        Tries {
            patience: self,
            since: Instant::now(),
            done: 0,
        }
    }
}

/// The tries of one request.
#[derive(Debug)]
pub struct Tries {
    patience: Patience,
    since: Instant,
    done: u32,
}

impl Tries {
    /// How long to wait before the next try, or `None` where patience has ended. `asked` is what the server asked for; without
    /// it the delay has full jitter, so that clients that failed together don't return together
    /// (<https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>).
    pub fn next_delay(&mut self, asked: Option<Duration>) -> Option<Duration> {
        if self.done >= self.patience.repetitions {
            return None;
        }
        let most = self
            .patience
            .first
            .saturating_mul(1 << self.done.min(16))
            .min(self.patience.longest);
        let delay = asked.unwrap_or_else(|| most.mul_f64(fastrand::f64()));
        if self.since.elapsed() + delay > self.patience.total {
            return None;
        }
        self.done += 1;
        Some(delay)
    }

    /// How often the request was made so far, the try under way included: `1 try`, `5 tries`.
    pub fn spent(&self) -> String {
        match self.done {
            0 => "1 try".to_owned(),
            done => format!("{} tries", done + 1),
        }
    }
}

/// Spreads requests evenly over time.
#[derive(Debug)]
pub struct Pace {
    interval: Duration,
    next: Mutex<Instant>,
}

impl Pace {
    /// At most one of `parts` equal parts of so many requests a second; without a bound where it is `None`.
    pub fn new(requests_per_second: Option<u32>, parts: u32) -> Self {
        let interval = requests_per_second.map_or(Duration::ZERO, |rate| Duration::from_secs(1) / rate.max(1) * parts);
        Pace {
            interval,
            next: Mutex::new(Instant::now()),
        }
    }

    /// Waits for this request's turn.
    pub async fn turn(&self) {
        if self.interval.is_zero() {
            return;
        }
        let at = {
            let mut next = self.next.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            let at = (*next).max(Instant::now());
            *next = at + self.interval;
            at
        };
        tokio::time::sleep_until(at).await;
    }
}

/// The server's clock when it answered.
pub fn date(headers: &HeaderMap) -> Option<Timestamp> {
    http_date(headers.get(DATE)?.to_str().ok()?)
}

/// How long the server asks to wait: `Retry-After` in seconds or as a date
/// ([RFC 9110, 10.2.3](https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3)), else `X-RateLimit-Reset` as a date, as seconds
/// since 1970, or as seconds from now. A date is read by the server's own clock where it tells it.
pub fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
    let now = date(headers).unwrap_or(now);
    [RETRY_AFTER, RESET]
        .into_iter()
        .find_map(|name| wait(headers.get(name)?.to_str().ok()?.trim(), now))
}

fn wait(text: &str, now: Timestamp) -> Option<Duration> {
    /// No server asks to wait for ten years; a larger number counts from 1970.
    const EPOCH_FROM: f64 = 315_360_000.0;
    let until = match text.parse::<f64>() {
        Ok(seconds) if seconds.is_finite() && (0.0..EPOCH_FROM).contains(&seconds) => {
            return Some(Duration::from_secs_f64(seconds));
        }
        Ok(seconds) if seconds.is_finite() && seconds >= EPOCH_FROM => {
            let seconds = if seconds >= EPOCH_FROM * 1000.0 {
                seconds / 1000.0
            } else {
                seconds
            };
            Timestamp::from_second(seconds as i64).ok()?
        }
        Ok(_) => return None,
        Err(_) => http_date(text).or_else(|| text.parse().ok())?,
    };
    Some(Duration::try_from(until.duration_since(now)).unwrap_or(Duration::ZERO))
}

fn http_date(text: &str) -> Option<Timestamp> {
    let since = httpdate::parse_http_date(text)
        .ok()?
        .duration_since(SystemTime::UNIX_EPOCH)
        .ok()?;
    Timestamp::from_second(i64::try_from(since.as_secs()).ok()?).ok()
}

/// A transport error with its causes, in one line. It names no path and no query, which may hold ids.
pub fn describe(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = if error.is_timeout() {
        "no answer in time: ".to_owned()
    } else {
        String::new()
    };
    text.push_str(&error.to_string());
    let mut cause = error.source();
    while let Some(inner) = cause {
        let message = inner.to_string();
        if !text.contains(&message) {
            let _ = write!(text, ": {message}");
        }
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-05-04T08:41:07Z";

    #[test]
    fn a_wait_is_read_in_each_form_that_servers_use() {
        type Headers = &'static [(&'static str, &'static str)];
        let cases: [(Headers, Option<f64>); 10] = [
            (&[("retry-after", "7")], Some(7.0)),
            (&[("retry-after", "0.25")], Some(0.25)),
            (&[("retry-after", "Mon, 04 May 2026 08:41:37 GMT")], Some(30.0)),
            (&[("retry-after", "Mon, 04 May 2026 08:00:00 GMT")], Some(0.0)),
            (&[("retry-after", "soon")], None),
            (&[("retry-after", "-3"), ("x-ratelimit-reset", "9")], Some(9.0)),
            (&[("x-ratelimit-reset", "1777884097")], Some(30.0)),
            (&[("x-ratelimit-reset", "1777884097000")], Some(30.0)),
            (
                &[
                    ("retry-after", "Mon, 04 May 2026 08:41:37 GMT"),
                    ("date", "Mon, 04 May 2026 08:41:27 GMT"),
                ],
                Some(10.0),
            ),
            (&[], None),
        ];
        let now = NOW.parse().unwrap();
        for (headers, expected) in cases {
            let headers: HeaderMap = headers
                .iter()
                .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
                .collect();
            assert_eq!(
                retry_after(&headers, now).map(|wait| wait.as_secs_f64()),
                expected,
                "{headers:?}"
            );
        }
    }

    #[test]
    fn an_endpoint_is_refused_with_what_to_do() {
        let cases = [
            ("https://acme.my.salesforce.com", false, "ok"),
            ("http://127.0.0.1:8080", true, "ok"),
            (
                "http://acme.example",
                false,
                "instanceUrl must begin with https://; http:// needs allowPlaintext: true",
            ),
            ("ftp://acme.example", true, "instanceUrl must begin with https://"),
            (
                "https://user:word@acme.example",
                false,
                "instanceUrl must not hold a user name or a password: credentials belong into a Secret",
            ),
            (
                "acme.example",
                false,
                "instanceUrl is not a URL: relative URL without a base",
            ),
        ];
        let said = cases.map(|(url, plaintext, _)| match endpoint("instanceUrl", url, plaintext) {
            Ok(_) => "ok".to_owned(),
            Err(message) => message,
        });
        assert_eq!(said, cases.map(|case| case.2));
    }

    #[tokio::test(start_paused = true)]
    async fn patience_is_bounded_in_count_and_in_time() {
        let patience = Patience {
            first: Duration::from_secs(1),
            longest: Duration::from_secs(4),
            repetitions: 3,
            total: Duration::from_secs(60),
        };
        let mut tries = patience.begin();
        let delays: Vec<bool> = [1, 2, 4]
            .iter()
            .map(|most| {
                tries
                    .next_delay(None)
                    .is_some_and(|delay| delay <= Duration::from_secs(*most))
            })
            .collect();
        assert_eq!(
            (delays, tries.next_delay(None), tries.spent()),
            (vec![true; 3], None, "4 tries".to_owned())
        );

        let mut tries = patience.begin();
        let asked = Duration::from_secs(40);
        assert_eq!(tries.next_delay(Some(asked)), Some(asked));
        tokio::time::advance(asked).await;
        assert_eq!(tries.next_delay(Some(asked)), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pace_spreads_requests_evenly() {
        let (pace, start) = (Pace::new(Some(8), 2), Instant::now());
        for _ in 0..5 {
            pace.turn().await;
        }
        assert_eq!(start.elapsed().as_millis(), 1000);
    }
}
