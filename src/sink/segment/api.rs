//! Requests to Segment's own APIs beside the Tracking API: credentials, pace, and what their answers mean.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Method, Url};
use secrecy::{ExposeSecret, SecretString};

use crate::api::common::Outcome;
use crate::http::{self, Pace, Patience};
use crate::sink::SinkError;

/// Of a longer answer no more is read. A page of regulations may name some ten thousand people.
const ANSWER_LIMIT: usize = 16 << 20;

/// How a token is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    /// `Authorization: Bearer`.
    Bearer,
    /// As the user name of basic authentication, without a password.
    UserName,
}

/// What one try came to.
#[derive(Debug)]
pub(super) enum Answer {
    /// 2xx, with its body.
    Good(Vec<u8>),
    /// 404.
    Missing,
    /// The content is refused.
    Refused(u16),
    /// Nothing was done: there are too many requests.
    Limited(Option<Duration>),
    /// Something may have been done, or not.
    Passing { what: String, wait: Option<Duration> },
}

/// One API at one endpoint.
pub(super) struct Api {
    http: reqwest::Client,
    /// The API's base, with a slash at its end.
    base: Url,
    /// What errors name.
    shown: String,
    /// The part of the resource that errors name.
    field: &'static str,
    token: SecretString,
    scheme: Scheme,
    media: &'static str,
    pace: Pace,
    patience: Patience,
}

impl Api {
    pub fn new(
        http: reqwest::Client,
        endpoint: &Url,
        (field, scheme, media): (&'static str, Scheme, &'static str),
        token: SecretString,
        rate: u32,
        patience: Patience,
    ) -> Api {
        let mut base = endpoint.clone();
        let path = endpoint.path().trim_end_matches('/');
        base.set_path(&format!("{path}/"));
        Api {
            http,
            shown: format!("{}{path}", endpoint.origin().ascii_serialization()),
            base,
            field,
            token,
            scheme,
            media,
            pace: Pace::new(Some(rate), 1),
            patience,
        }
    }

    /// The URL of a resource, by the segments of its path below the base.
    pub fn url<'s>(&self, segments: impl IntoIterator<Item = &'s str>) -> Url {
        let mut url = self.base.clone();
        // An endpoint is an http URL, which has a path.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    /// The endpoint, for a message.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    pub fn patience(&self) -> Patience {
        self.patience
    }

    /// Makes one request.
    ///
    /// # Errors
    /// Where no repetition helps: the credentials, the endpoint.
    pub async fn attempt(&self, method: Method, url: Url, body: Option<Vec<u8>>) -> Result<Answer, SinkError> {
        self.pace.turn().await;
        let mut request = self.http.request(method, url).header(ACCEPT, self.media);
        request = match self.scheme {
            Scheme::Bearer => request.bearer_auth(self.token.expose_secret()),
            Scheme::UserName => request.basic_auth(self.token.expose_secret(), Some("")),
        };
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, self.media).body(body);
        }
        let passing = |what: String| Answer::Passing { what, wait: None };
        let mut response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Ok(passing(http::describe(error))),
        };
        let (status, wait) = (
            response.status().as_u16(),
            http::retry_after(response.headers(), Timestamp::now()),
        );
        let answer = match body_within(&mut response, ANSWER_LIMIT).await {
            Ok(Some(answer)) => answer,
            Ok(None) => return Ok(passing(format!("an answer of more than {ANSWER_LIMIT} bytes"))),
            Err(error) => return Ok(passing(http::describe(error))),
        };
        let (shown, field) = (&self.shown, self.field);
        match status {
            200..300 => Ok(Answer::Good(answer)),
            404 => Ok(Answer::Missing),
            400 | 413 | 422 => Ok(Answer::Refused(status)),
            429 => Ok(Answer::Limited(wait)),
            408 | 425 | 500.. => Ok(Answer::Passing {
                what: format!("the CDP answered {status}"),
                wait,
            }),
            401 | 403 => Err(refused(format!(
                "{shown} refuses the token of spec.segment.{field} ({status}); check the key in the Secret, and what the token \
                 may do"
            ))),
            _ => Err(refused(format!(
                "{shown} refuses the request ({status}); check spec.segment.{field}.endpoint"
            ))),
        }
    }

    /// Reads something: repeats what fails in passing, until patience ends. None where it isn't there.
    ///
    /// # Errors
    /// `SinkRefused` where no repetition helps, `SinkUnavailable` otherwise.
    pub async fn get(&self, url: &Url) -> Result<Option<Vec<u8>>, SinkError> {
        let mut tries = self.patience.begin();
        loop {
            let (what, wait) = match self.attempt(Method::GET, url.clone(), None).await? {
                Answer::Good(body) => return Ok(Some(body)),
                Answer::Missing => return Ok(None),
                Answer::Refused(status) => {
                    return Err(refused(format!(
                        "{} refuses the request ({status}); check spec.segment.{}",
                        self.shown, self.field
                    )));
                }
                Answer::Limited(wait) => ("the CDP answered 429".to_owned(), wait),
                Answer::Passing { what, wait } => (what, wait),
            };
            let Some(delay) = tries.next_delay(wait) else {
                return Err(self.unavailable(&tries.spent(), &what));
            };
            tokio::time::sleep(delay).await;
        }
    }

    pub fn unavailable(&self, spent: &str, what: &str) -> SinkError {
        SinkError {
            outcome: Outcome::SinkUnavailable,
            message: format!("{}: no good answer in {spent}; the last: {what}", self.shown),
        }
    }
}

impl fmt::Debug for Api {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Api")
            .field("endpoint", &self.shown)
            .finish_non_exhaustive()
    }
}

/// An answer's body; none where it is longer than this many bytes, of which no more is read.
pub(super) async fn body_within(response: &mut reqwest::Response, limit: usize) -> reqwest::Result<Option<Vec<u8>>> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > limit {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

pub(super) fn refused(message: String) -> SinkError {
    SinkError {
        outcome: Outcome::SinkRefused,
        message,
    }
}
