//! Requests to an org: the session, the pace, the quota, and patience.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::HeaderMap;
use reqwest::{Method, Response};
use secrecy::ExposeSecret;

use super::auth::{self, Session};
use super::config::Config;
use super::error::{Refusal, classify};
use super::page::LACKS;
use super::share::Share;
use super::soql::URI_LIMIT;
use crate::api::common::Outcome;
use crate::http::{self, Pace, Patience, Tries};
use crate::source::{Quota, SourceError};

/// Change events that our own writes cause would carry this name:
/// <https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/headers_calloptions.htm>
const CALL_OPTIONS: &str = "client=ferrygate";
/// A query that takes longer than two minutes is ended by the org itself:
/// <https://developer.salesforce.com/docs/atlas.en-us.salesforce_app_limits_cheatsheet.meta/salesforce_app_limits_cheatsheet/salesforce_app_limits_platform_soslsoql.htm>
const SILENCE: Duration = Duration::from_secs(130);
/// A page has 2,000 records at most, and fewer where they are wide. More than this is no page.
pub(super) const LARGEST_BODY: usize = 256 << 20;
/// How often one request logs in anew before the credentials are held to be refused.
const LOGINS: u32 = 2;
/// The quota counts the requests of the last 24 hours, so that some of it returns with each hour:
/// <https://developer.salesforce.com/docs/atlas.en-us.salesforce_app_limits_cheatsheet.meta/salesforce_app_limits_cheatsheet/salesforce_app_limits_platform_api.htm>
pub(super) const PARKED: Duration = Duration::from_secs(3600);

pub(super) const PATIENCE: Patience = Patience {
    first: Duration::from_millis(500),
    longest: Duration::from_secs(30),
    repetitions: 9,
    total: Duration::from_secs(180),
};

/// A connection to one org.
pub(super) struct Client {
    http: reqwest::Client,
    pub config: Config,
    patience: Patience,
    pace: Pace,
    share: Share,
    /// Held while logging in, so that many requests whose session ended together log in once.
    session: tokio::sync::Mutex<Arc<Session>>,
    quota: Mutex<Option<Quota>>,
}

/// An answer's body, and when the org began to work on it.
pub(super) struct Answer {
    pub body: String,
    /// The org's clock at, or a little before, the arrival of the request; ours where the org doesn't tell.
    pub asked_at: Timestamp,
}

/// What is asked of an org.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub method: Method,
    /// A path with its query.
    pub target: &'a str,
    pub accept: &'static str,
    /// JSON.
    pub body: Option<&'a serde_json::Value>,
}

impl<'a> Request<'a> {
    pub fn get(target: &'a str) -> Request<'a> {
        Request {
            method: Method::GET,
            target,
            accept: "application/json",
            body: None,
        }
    }
}

/// An answer that is a success, whose body is still to be read.
pub(super) struct Opened {
    pub response: Response,
    /// As [`Answer::asked_at`].
    pub asked_at: Timestamp,
}

/// What one request has been through.
pub(super) struct Endurance {
    tries: Tries,
    logins: u32,
}

/// Why a request came to nothing, after all patience.
#[derive(Debug)]
pub(super) enum Failure {
    /// The query's cursor is gone.
    LocatorLost,
    /// New sessions are refused as well. For a query's cursor that may mean that it was bound to the session that opened it.
    SessionRefused(SourceError),
    /// The Bulk API does not serve this, by the org's own code.
    Unsupported(String),
    Source(SourceError),
}

impl From<Failure> for SourceError {
    fn from(failure: Failure) -> SourceError {
        match failure {
            Failure::Source(error) | Failure::SessionRefused(error) => error,
            Failure::LocatorLost => SourceError::new(
                Outcome::SourceUnavailable,
                "the org has lost the query's cursor; the next run goes on from the checkpoint".into(),
            ),
            Failure::Unsupported(code) => unsupported(&code),
        }
    }
}

impl Client {
    /// Logs in.
    pub async fn connect(config: Config, patience: Patience) -> Result<Client, SourceError> {
        let http = http::client(config.allow_plaintext, SILENCE).map_err(|error| {
            let message = format!(
                "no HTTPS client can be made ({}); give the container CA certificates, or name them by SSL_CERT_FILE",
                http::describe(error)
            );
            SourceError::new(Outcome::ConfigurationInvalid, message)
        })?;
        let session = login(&http, &config, patience).await?;
        Ok(Client {
            patience,
            pace: Pace::new(config.requests_per_second, config.parts),
            share: Share::new(config.daily_request_share, config.parts),
            session: tokio::sync::Mutex::new(Arc::new(session)),
            quota: Mutex::default(),
            http,
            config,
        })
    }

    /// What the last answer told of the quota.
    pub fn last_quota(&self) -> Option<Quota> {
        *self.quota.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gets `target`, a path with its query, and has `read` read the answer. What `read` refuses is asked for again, as after
    /// any passing error. `subject` says what is asked for, for a person.
    pub async fn get<T>(
        &self,
        target: &str,
        subject: &str,
        read: impl Fn(Answer) -> Result<T, serde_json::Error>,
    ) -> Result<T, Failure> {
        self.ask(&Request::get(target), subject, read).await
    }

    /// Makes a request and has `read` read the answer, as [`Client::get`] does.
    pub async fn ask<T>(
        &self,
        request: &Request<'_>,
        subject: &str,
        read: impl Fn(Answer) -> Result<T, serde_json::Error>,
    ) -> Result<T, Failure> {
        let mut endurance = self.endurance();
        loop {
            let session = self.turn().await;
            let refusal = match self.attempt(&session, request, subject).await {
                Ok(answer) => match read(answer) {
                    Ok(value) => return Ok(value),
                    Err(error) => Refusal::passing(
                        &format!("the answer is cut short or no JSON of a page ({})", position(&error)),
                        None,
                    ),
                },
                Err(refusal) => refusal,
            };
            self.get_over(refusal, &mut endurance, &session, subject).await?;
        }
    }

    /// Begins the tries of one request.
    pub fn endurance(&self) -> Endurance {
        Endurance {
            tries: self.patience.begin(),
            logins: 0,
        }
    }

    /// How patient this client is.
    pub fn patience(&self) -> Patience {
        self.patience
    }

    /// The session to make a request with, once the pace allows one.
    pub async fn turn(&self) -> Arc<Session> {
        let session = self.session.lock().await.clone();
        self.pace.turn().await;
        session
    }

    /// Waits, or logs in anew, where another try helps.
    ///
    /// # Errors
    /// Where none does, or patience has ended.
    pub async fn get_over(
        &self,
        refusal: Refusal,
        endurance: &mut Endurance,
        session: &Arc<Session>,
        subject: &str,
    ) -> Result<(), Failure> {
        match refusal {
            Refusal::Session if endurance.logins < LOGINS => {
                endurance.logins += 1;
                tracing::info!(subject, "the session has ended; logging in again");
                self.renew(session).await.map_err(Failure::Source)
            }
            Refusal::Passing { what, wait } => {
                let Some(delay) = endurance.tries.next_delay(wait) else {
                    return Err(Failure::Source(exhausted(
                        subject,
                        &what,
                        &endurance.tries.spent(),
                        wait,
                    )));
                };
                tracing::warn!(
                    subject,
                    delay_ms = delay.as_millis() as u64,
                    "passing error, trying again: {what}"
                );
                tokio::time::sleep(delay).await;
                Ok(())
            }
            refusal => Err(self.fail(refusal, subject)),
        }
    }

    fn fail(&self, refusal: Refusal, subject: &str) -> Failure {
        match refusal {
            Refusal::Locator => Failure::LocatorLost,
            Refusal::Session => Failure::SessionRefused(last(Refusal::Session, subject, None)),
            Refusal::Unsupported(code) => Failure::Unsupported(code),
            refusal => Failure::Source(last(refusal, subject, self.last_quota())),
        }
    }

    async fn attempt(&self, session: &Session, request: &Request<'_>, subject: &str) -> Result<Answer, Refusal> {
        let Opened { response, asked_at } = self.open(session, request, subject).await?;
        let body = read_body(session, response, subject).await?;
        let body = String::from_utf8(body).map_err(|_| Refusal::passing("the answer is not UTF-8", None))?;
        Ok(Answer { body, asked_at })
    }

    /// Makes a request once, and gives an answer that is a success, its body still to be read.
    pub async fn open(&self, session: &Session, request: &Request<'_>, subject: &str) -> Result<Opened, Refusal> {
        let fatal = |outcome, message| Refusal::Final(SourceError::new(outcome, message));
        let target = request.target;
        if target.len() > URI_LIMIT {
            let message = format!(
                "{subject}: the query is {} bytes long and a URI may have {URI_LIMIT}; map fewer fields of this object",
                target.len()
            );
            return Err(fatal(Outcome::ConfigurationInvalid, message));
        }
        let url = session
            .instance
            .join(target)
            .ok()
            .filter(|url| url.origin() == session.instance.origin());
        let url = url.ok_or_else(|| {
            fatal(
                Outcome::SourceUnavailable,
                format!("{subject}: the org names a next page on another host; it is not asked"),
            )
        })?;
        self.share.take(subject).map_err(Refusal::Final)?;
        let sent = Timestamp::now();
        let mut asking = self
            .http
            .request(request.method.clone(), url)
            .bearer_auth(session.token.expose_secret())
            .header("accept", request.accept)
            .header("sforce-call-options", CALL_OPTIONS);
        if let Some(body) = request.body {
            asking = asking.json(body);
        }
        let response = asking
            .send()
            .await
            .map_err(|error| Refusal::transport(&session.instance, error))?;
        let now = Timestamp::now();
        let (status, headers) = (response.status(), response.headers());
        let asked_at = http::date(headers).map_or(sent, |date| {
            date.saturating_sub(now.duration_since(sent)).unwrap_or(sent)
        });
        let wait = http::retry_after(headers, now);
        self.keep_quota(headers);
        if status.is_success() {
            return Ok(Opened { response, asked_at });
        }
        let body = read_body(session, response, subject).await?;
        if status.is_redirection() {
            return Err(Refusal::redirected(&session.instance));
        }
        Err(classify(status, wait, &body, subject))
    }

    /// Replaces the session that ended, unless another request already has.
    async fn renew(&self, ended: &Arc<Session>) -> Result<(), SourceError> {
        let mut session = self.session.lock().await;
        if Arc::ptr_eq(&session, ended) {
            *session = Arc::new(login(&self.http, &self.config, self.patience).await?);
        }
        Ok(())
    }

    fn keep_quota(&self, headers: &HeaderMap) {
        let header = headers.get("sforce-limit-info").and_then(|value| value.to_str().ok());
        if let Some(quota) = header.and_then(limit_info) {
            self.share.learn(quota);
            *self.quota.lock().unwrap_or_else(PoisonError::into_inner) = Some(quota);
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Client")
            .field("instance", &self.config.instance.as_str())
            .finish_non_exhaustive()
    }
}

async fn read_body(session: &Session, mut response: Response, subject: &str) -> Result<Vec<u8>, Refusal> {
    let mut body = Vec::with_capacity(response.content_length().unwrap_or(1 << 16).min(1 << 23) as usize);
    loop {
        let chunk = response.chunk().await;
        let Some(chunk) = chunk.map_err(|error| Refusal::transport(&session.instance, error))? else {
            return Ok(body);
        };
        if body.len() + chunk.len() > LARGEST_BODY {
            let message = format!("{subject}: an answer of more than 256 MiB");
            return Err(Refusal::Final(SourceError::new(Outcome::SourceUnavailable, message)));
        }
        body.extend_from_slice(&chunk);
    }
}

async fn login(http: &reqwest::Client, config: &Config, patience: Patience) -> Result<Session, SourceError> {
    let mut tries = patience.begin();
    loop {
        match auth::login(http, config, Timestamp::now()).await {
            Ok(session) => return Ok(session),
            Err(Refusal::Passing { what, wait }) => {
                let Some(delay) = tries.next_delay(wait) else {
                    return Err(exhausted("login", &what, &tries.spent(), wait));
                };
                tracing::warn!(
                    delay_ms = delay.as_millis() as u64,
                    "passing error at login, trying again: {what}"
                );
                tokio::time::sleep(delay).await;
            }
            Err(refusal) => return Err(last(refusal, "login", None)),
        }
    }
}

/// Where the end of patience leaves a run.
fn exhausted(subject: &str, what: &str, tries: &str, wait: Option<Duration>) -> SourceError {
    match wait {
        Some(wait) => SourceError {
            outcome: Outcome::SourceThrottled,
            message: format!(
                "{subject}: {what}, and asks to wait for {} s; parked until then",
                wait.as_secs()
            ),
            parked_until: Timestamp::now().checked_add(wait).ok(),
        },
        None => SourceError::new(
            Outcome::SourceUnavailable,
            format!("{subject}: no good answer in {tries}; the last: {what}"),
        ),
    }
}

/// Where a refusal that is not tried again leaves a run.
fn last(refusal: Refusal, subject: &str, quota: Option<Quota>) -> SourceError {
    match refusal {
        Refusal::Final(error) => error,
        Refusal::Quota(wait) => SourceError {
            outcome: Outcome::SourceThrottled,
            message: format!(
                "{subject}: the org's request quota is used up{}; it counts the last 24 hours, so that some of it returns with each \
                 hour. See Setup, Company Information, \"API Requests, Last 24 Hours\"",
                quota
                    .map(|quota| format!(" ({} of {})", quota.used, quota.max))
                    .unwrap_or_default()
            ),
            parked_until: Timestamp::now().checked_add(wait.unwrap_or(PARKED)).ok(),
        },
        Refusal::BulkQuota(wait) => bulk_quota(subject, wait),
        Refusal::Unsupported(code) => unsupported(&code),
        Refusal::Session => SourceError::new(
            Outcome::AuthenticationFailed,
            format!(
                "{subject}: the org gives out sessions and refuses them; check the session policies of the connected app and the \
                 user's login IP ranges"
            ),
        ),
        Refusal::Locator => Failure::LocatorLost.into(),
        Refusal::Passing { what, .. } => SourceError::new(Outcome::SourceUnavailable, format!("{subject}: {what}")),
    }
}

/// A run whose org gives out no more of the Bulk API for now.
pub(super) fn bulk_quota(subject: &str, wait: Option<Duration>) -> SourceError {
    SourceError {
        outcome: Outcome::SourceThrottled,
        message: format!(
            "{subject}: the org's query jobs of the Bulk API are used up; it counts the last 24 hours, so that some of them return \
             with each hour. See Setup, Bulk Data Load Jobs, and DailyBulkV2QueryJobs and DailyBulkV2QueryFileStorageMB of the \
             org's limits"
        ),
        parked_until: Timestamp::now().checked_add(wait.unwrap_or(PARKED)).ok(),
    }
}

fn unsupported(code: &str) -> SourceError {
    SourceError::new(
        Outcome::ConfigurationInvalid,
        format!("the Bulk API does not serve this ({code}); set bulkQuery: Never"),
    )
}

/// What a JSON error says that quotes nothing of the answer: where it stands and, of a page, which column is lacking.
fn position(error: &serde_json::Error) -> String {
    let told = error.to_string();
    if told.starts_with(LACKS) {
        return told;
    }
    format!("line {}, column {}", error.line(), error.column())
}

/// `api-usage=18/15000`, perhaps with `per-app-api-usage=17/250(appName=sample)` beside it:
/// <https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/headers_api_usage.htm>
fn limit_info(header: &str) -> Option<Quota> {
    let usage = header
        .split([';', ','])
        .find_map(|part| part.trim().strip_prefix("api-usage="))?;
    let (used, max) = usage.split_once('/')?;
    Some(Quota {
        used: used.trim().parse().ok()?,
        max: max.trim().parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quota_is_read_from_the_limit_header() {
        let cases = [
            ("api-usage=18/15000", Some((18, 15_000))),
            (
                "api-usage=25/5000; per-app-api-usage=17/250(appName=sample)",
                Some((25, 5_000)),
            ),
            (
                "per-app-api-usage=17/250(appName=sample),api-usage=25/5000",
                Some((25, 5_000)),
            ),
            ("api-usage=18", None),
            ("", None),
        ];
        let read = cases.map(|(header, _)| limit_info(header).map(|quota| (quota.used, quota.max)));
        assert_eq!(read, cases.map(|(_, expected)| expected));
    }
}
