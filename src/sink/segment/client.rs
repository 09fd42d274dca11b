//! Requests to the Tracking API: credentials, pace, patience, and what its answers mean.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use reqwest::header::CONTENT_TYPE;
use reqwest::{StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::api::{body_within, refused};
use crate::api::common::Outcome;
use crate::http::{self, Pace, Patience};
use crate::sink::SinkError;

/// An answer has a few bytes; a longer one is not read to its end.
const ANSWER_LIMIT: usize = 64 << 10;

/// The API answers within a second; one that is silent for so long is asked again.
pub(super) const SILENCE: Duration = Duration::from_secs(30);

pub(super) const PATIENCE: Patience = Patience {
    first: Duration::from_millis(500),
    longest: Duration::from_secs(20),
    repetitions: 12,
    total: Duration::from_secs(120),
};

/// The API at one endpoint.
pub(super) struct Client {
    http: reqwest::Client,
    url: Url,
    /// What errors name: the endpoint without what a path could hide.
    shown: String,
    write_key: SecretString,
    pace: Pace,
    patience: Patience,
}

/// What the API says of a request's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Taken. With Segment that says that the JSON was well-formed and not too large, and no more: the write key, the calls' shape
    /// and the region are not looked at before the answer
    /// (<https://segment.com/docs/connections/sources/catalog/libraries/server/http-api/#errors>).
    Taken,
    /// Refused for its content: with one call less, it might be taken.
    Refused(String),
    /// Not sent: nothing of it may be any more.
    Withheld,
}

/// What one try came to.
enum Answer {
    Verdict(Verdict),
    Passing { what: String, wait: Option<Duration> },
    Final(String),
}

impl Client {
    pub fn new(
        http: reqwest::Client,
        endpoint: &Url,
        write_key: SecretString,
        rate: Option<u32>,
        patience: Patience,
    ) -> Client {
        let mut url = endpoint.clone();
        url.set_path(&format!("{}/batch", endpoint.path().trim_end_matches('/')));
        Client {
            http,
            shown: format!(
                "{}{}",
                endpoint.origin().ascii_serialization(),
                endpoint.path().trim_end_matches('/')
            ),
            url,
            write_key,
            pace: Pace::new(rate, 1),
            patience,
        }
    }

    /// Posts the body that `body` makes, anew for each try: it holds the time at which it is sent, and only what may be sent
    /// then. Returns what became of the last try, and its time.
    pub async fn post(&self, body: impl Fn(Timestamp) -> Option<Bytes>) -> Result<(Verdict, Timestamp), SinkError> {
        let mut tries = self.patience.begin();
        loop {
            self.pace.turn().await;
            let now = Timestamp::now();
            let Some(body) = body(now) else {
                return Ok((Verdict::Withheld, now));
            };
            let (what, wait) = match self.attempt(body).await {
                Answer::Verdict(verdict) => return Ok((verdict, now)),
                Answer::Final(message) => return Err(refused(message)),
                Answer::Passing { what, wait } => (what, wait),
            };
            let Some(delay) = tries.next_delay(wait) else {
                let asked = wait
                    .map(|wait| format!(", and asks to wait for {} s", wait.as_secs()))
                    .unwrap_or_default();
                return Err(SinkError {
                    outcome: Outcome::SinkUnavailable,
                    message: format!(
                        "{}: no good answer in {}; the last: {what}{asked}",
                        self.shown,
                        tries.spent()
                    ),
                });
            };
            tracing::warn!(
                delay_ms = delay.as_millis() as u64,
                "passing error of the CDP, trying again: {what}"
            );
            tokio::time::sleep(delay).await;
        }
    }

    /// The endpoint, for a message.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    async fn attempt(&self, body: Bytes) -> Answer {
        let sent = self
            .http
            .post(self.url.clone())
            .basic_auth(self.write_key.expose_secret(), Some(""))
            .header(CONTENT_TYPE, "application/json")
            .body(body)
            .send()
            .await;
        let mut response = match sent {
            Ok(response) => response,
            Err(error) => return Answer::passing(http::describe(error)),
        };
        let status = response.status();
        let wait = http::retry_after(response.headers(), Timestamp::now());
        match body_within(&mut response, ANSWER_LIMIT).await {
            Ok(answer) => self.judge(status, wait, &answer.unwrap_or_default()),
            Err(error) => Answer::passing(http::describe(error)),
        }
    }

    /// No text of an answer is shown: it may repeat what was sent.
    fn judge(&self, status: StatusCode, wait: Option<Duration>, answer: &[u8]) -> Answer {
        let (number, shown) = (status.as_u16(), &self.shown);
        match number {
            200..300 if denies(answer) => Answer::refuses(format!("the CDP answered {number} with success: false")),
            200..300 => Answer::Verdict(Verdict::Taken),
            400 | 413 | 422 => Answer::refuses(format!("the CDP refuses it as malformed or too large ({number})")),
            401 | 403 => Answer::Final(format!(
                "{shown} refuses the write key ({number}); check the key in the Secret"
            )),
            300..400 => Answer::Final(format!(
                "{shown} answers with a redirect ({number}), and redirects are not followed; correct endpoint"
            )),
            404 | 405 | 410 => Answer::Final(format!(
                "{shown} has no /batch ({number}); correct endpoint: it ends in /v1 for Segment and RudderStack"
            )),
            408 | 425 | 429 | 500.. => Answer::Passing {
                what: format!("the CDP answered {number}"),
                wait,
            },
            _ => Answer::Final(format!(
                "{shown} refuses the request ({number}); check endpoint and the CDP's own settings"
            )),
        }
    }
}

impl Answer {
    fn passing(what: String) -> Answer {
        Answer::Passing { what, wait: None }
    }

    fn refuses(reason: String) -> Answer {
        Answer::Verdict(Verdict::Refused(reason))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Client")
            .field("endpoint", &self.shown)
            .finish_non_exhaustive()
    }
}

/// Segment answers `{"success": true}`; others answer other things, or nothing.
fn denies(answer: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Success {
        success: bool,
    }
    matches!(serde_json::from_slice(answer), Ok(Success { success: false }))
}
