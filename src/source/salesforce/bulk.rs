//! Query jobs of the [Bulk API 2.0](https://developer.salesforce.com/docs/atlas.en-us.api_asynch.meta/api_asynch/queries.htm):
//! whether a reading is one, and a job's life in the org, from its making to its removal. Its results are [`super::results`].

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Limits;
use super::client::{Answer, Client, Failure, Request, bulk_quota};
use super::csv::Kind;
use super::error::is_unsupported;
use super::extract::{Org, Reading};
use super::page::Layout;
use super::soql;
use crate::api::common::Outcome;
use crate::source::{NextPart, ResumePoint, SourceError};

/// What was modified in a shorter time is read by REST, and not even counted: that is what every incremental run reads, and a
/// count would be a second request of each.
const LONG_SPAN: SignedDuration = SignedDuration::from_hours(24);

/// How long the removal of a job may take: a pod that is told to stop has seconds.
const REMOVE_WITHIN: Duration = Duration::from_secs(5);

/// A job that the org still works on.
#[derive(Debug, Default)]
pub(super) struct Unfinished(Mutex<Option<String>>);

impl Unfinished {
    pub fn set(&self, job: Option<&str>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = job.map(str::to_owned);
    }

    pub fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) enum Stage {
    UploadComplete,
    InProgress,
    Aborted,
    JobComplete,
    Failed,
}

/// A job as the org tells of it:
/// <https://developer.salesforce.com/docs/atlas.en-us.api_asynch.meta/api_asynch/query_get_one_job.htm>
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Job {
    pub id: String,
    pub state: Stage,
    #[serde(default)]
    pub error_message: String,
}

/// Begins a query job for the reading, or finds the one that a run before this one has begun. `None`: it is for REST.
///
/// # Errors
/// Where the org's quotas are used up, and as any request's.
pub(super) async fn begin(
    org: &Arc<Org>,
    reading: &Reading<'_>,
    now: Timestamp,
) -> Result<Option<ResumePoint>, SourceError> {
    let (client, selection) = (&org.client, &reading.asked.selection);
    let object = selection.object.as_str();
    let query = soql::select_unordered(object, reading.layout, selection.from);
    let operation = if selection.deleted { "queryAll" } else { "query" };
    let question = question(&[&client.config.data_path, operation, &query, &reading.asked.purpose]);
    if let Some(point) = &reading.asked.resume {
        if point.question == question && client.config.bulk_from.is_some() && is_there(client, object, point).await? {
            tracing::info!(
                object,
                job = point.job,
                "going on with the query job of a run before this one"
            );
            return Ok(Some(point.clone()));
        }
        tracing::info!(
            object,
            job = point.job,
            "a query job of a run before this one is of no use any more"
        );
        remove(client, &point.job).await;
    }
    if !may_be(org, reading, now) || !is_worth_it(org, reading).await? {
        return Ok(None);
    }
    check_limits(client, object).await?;
    let Some((job, asked_at)) = create(org, object, operation, &query).await? else {
        return Ok(None);
    };
    tracing::info!(object, job, "reading by a query job of the Bulk API");
    Ok(Some(ResumePoint {
        job,
        question,
        next: NextPart::First,
        complete_as_of: asked_at,
        settled_until: reading.settled.map_or(asked_at, |settled| asked_at.min(settled)),
        reached: None,
    }))
}

/// A result may be had by the version only that made the job:
/// <https://developer.salesforce.com/docs/atlas.en-us.api_asynch.meta/api_asynch/query_get_job_results.htm>
fn question(parts: &[&str]) -> String {
    let digest = Sha256::digest(parts.join("\n"));
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a job's result can still be read, or will be made.
async fn is_there(client: &Client, object: &str, point: &ResumePoint) -> Result<bool, SourceError> {
    if point.next == NextPart::End {
        return Ok(true);
    }
    match look(client, object, &point.job).await {
        Ok(job) => Ok(!matches!(job.state, Stage::Aborted | Stage::Failed)),
        Err(failure) if is_gone(&failure) => Ok(false),
        Err(failure) => Err(failure.into()),
    }
}

/// Whether the reading may be a job's at all: what is switched off, short, refused before, or of a type that jobs don't have, is
/// not.
fn may_be(org: &Org, reading: &Reading<'_>, now: Timestamp) -> bool {
    let selection = &reading.asked.selection;
    let long = selection.from.is_none_or(|from| now.duration_since(from) >= LONG_SPAN);
    let switched_on = org.client.config.bulk_from.is_some();
    switched_on && long && org.may_be_bulk(&selection.object) && kinds(reading).is_some()
}

/// The kinds of the layout's columns, where a job can have them all.
pub(super) fn kinds(reading: &Reading<'_>) -> Option<Arc<[Kind]>> {
    let Layout { columns, .. } = &**reading.layout;
    let known = &reading.schema.kinds;
    columns
        .iter()
        .map(|column| known.get(&column.to_lowercase()).copied())
        .collect()
}

async fn is_worth_it(org: &Org, reading: &Reading<'_>) -> Result<bool, SourceError> {
    let selection = &reading.asked.selection;
    let Some(least) = org.client.config.bulk_from else {
        return Ok(false);
    };
    // Later than an instant, and not at it: a second's records are of no weight here.
    let since = selection.from.map(|from| (reading.schema.cursor.stamp, from));
    let query = soql::count(&selection.object, since);
    let target = soql::target(&org.client.config.data_path, selection.deleted, &query);
    match super::counted(&org.client, &target, &selection.object).await {
        Ok(count) => Ok(count >= least),
        // What can't be counted in two minutes is much.
        Err(Failure::Source(error)) if error.outcome == Outcome::SourceUnavailable => {
            tracing::warn!(object = selection.object, "the records could not be counted: {error}");
            Ok(true)
        }
        Err(failure) => Err(failure.into()),
    }
}

/// Parks a run whose job would be refused. Who may not see the limits learns of them by the refusal.
async fn check_limits(client: &Client, object: &str) -> Result<(), SourceError> {
    let target = format!("{}/limits", client.config.data_path);
    let limits: Result<Limits, Failure> = client
        .get(&target, object, |answer| serde_json::from_str(&answer.body))
        .await;
    match limits {
        Ok(limits) => {
            let both = [limits.daily_query_jobs, limits.daily_query_megabytes];
            if both.into_iter().flatten().any(|limit| limit.remaining <= 0) {
                return Err(bulk_quota(object, None));
            }
            Ok(())
        }
        Err(Failure::Source(error)) if error.outcome == Outcome::SourceThrottled => Err(error),
        Err(Failure::SessionRefused(error)) => Err(error),
        Err(_) => Ok(()),
    }
}

/// Makes a job: <https://developer.salesforce.com/docs/atlas.en-us.api_asynch.meta/api_asynch/query_create_job.htm>. Gives its id,
/// and when the org began with it. `None` where the Bulk API does not serve the object.
async fn create(
    org: &Org,
    object: &str,
    operation: &str,
    query: &str,
) -> Result<Option<(String, Timestamp)>, SourceError> {
    let client = &org.client;
    let target = format!("{}/jobs/query", client.config.data_path);
    let body = json!({
        "operation": operation, "query": query, "contentType": "CSV", "columnDelimiter": "COMMA", "lineEnding": "LF",
    });
    let request = asking(Method::POST, &target, Some(&body));
    let read = |answer: Answer| Ok((serde_json::from_str::<Job>(&answer.body)?, answer.asked_at));
    match client.ask(&request, object, read).await {
        Ok((job, asked_at)) => Ok(Some((job.id, asked_at))),
        Err(Failure::Unsupported(code)) => {
            tracing::info!(object, "the Bulk API does not serve it ({code}); reading by REST");
            org.is_not_bulk(object);
            Ok(None)
        }
        // The org has no Bulk API, or not these fields: REST tells better what is wrong.
        Err(Failure::Source(error)) if error.outcome == Outcome::SchemaDrifted => Ok(None),
        Err(failure) => Err(failure.into()),
    }
}

/// Waits until the result is made, asking ever more seldom.
///
/// # Errors
/// Where the org gave the job up, and as any request's.
pub(super) async fn wait(client: &Client, object: &str, job: &str) -> Result<Completed, SourceError> {
    let patience = client.patience();
    let mut pause = patience.first;
    loop {
        let found = match look(client, object, job).await {
            Ok(found) => found,
            Err(failure) if is_gone(&failure) => return Err(lost(object)),
            Err(failure) => return Err(failure.into()),
        };
        match found.state {
            Stage::UploadComplete | Stage::InProgress => {}
            Stage::JobComplete => return Ok(Completed::Yes),
            Stage::Aborted => {
                return Err(SourceError::new(
                    Outcome::SourceUnavailable,
                    format!("{object}: someone aborted the query job in the org; the next run begins another one"),
                ));
            }
            Stage::Failed => {
                let (code, rest) = found.error_message.rsplit_once(": ").unwrap_or_default();
                let code = code.rsplit([' ', ':']).next().unwrap_or_default();
                if is_unsupported(code, rest) {
                    return Ok(Completed::Unsupported);
                }
                return Err(SourceError::new(
                    Outcome::SourceUnavailable,
                    format!(
                        "{object}: the org gave the query job up ({}); see Setup, Bulk Data Load Jobs. The next run begins another \
                         one; set bulkQuery: Never to read by REST",
                        super::error::code(code).unwrap_or("no code")
                    ),
                ));
            }
        }
        tokio::time::sleep(pause).await;
        pause = pause.mul_f64(1.5).min(patience.longest);
    }
}

/// How the wait for a job's result ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Completed {
    /// The result is made.
    Yes,
    /// The Bulk API turned out not to serve the query.
    Unsupported,
}

async fn look(client: &Client, object: &str, job: &str) -> Result<Job, Failure> {
    let target = target(client, job);
    client
        .get(&target, object, |answer| serde_json::from_str(&answer.body))
        .await
}

/// Whether the org knows a job no more, as the answer to a request for it.
pub(super) fn is_gone(failure: &Failure) -> bool {
    matches!(failure, Failure::Source(error) if error.outcome == Outcome::SchemaDrifted)
}

/// A job's result went away while it was read.
pub(super) fn lost(object: &str) -> SourceError {
    SourceError::new(
        Outcome::SourceUnavailable,
        format!("{object}: the org knows the query job no more; the next run begins another one"),
    )
}

/// Aborts a job where it is not at its end, and removes it with its result. A job that stays is removed by the org after seven days.
/// <https://developer.salesforce.com/docs/atlas.en-us.api_asynch.meta/api_asynch/query_delete_job.htm>
pub(super) async fn remove(client: &Client, job: &str) {
    let removal = async {
        match end(client, job, Method::DELETE, None).await {
            // "The job is not terminated."
            Err(Failure::Source(error)) if error.outcome == Outcome::ConfigurationInvalid => {
                end(client, job, Method::PATCH, Some(json!({"state": "Aborted"}))).await?;
                end(client, job, Method::DELETE, None).await
            }
            ended => ended,
        }
    };
    match tokio::time::timeout(REMOVE_WITHIN, removal).await {
        Ok(Ok(())) => tracing::info!(job, "the query job is removed"),
        Ok(Err(failure)) if is_gone(&failure) => {}
        Ok(Err(failure)) => tracing::warn!(
            job,
            "the query job could not be removed: {}",
            SourceError::from(failure)
        ),
        Err(_) => tracing::warn!(job, "the query job could not be removed in time"),
    }
}

async fn end(client: &Client, job: &str, method: Method, body: Option<Value>) -> Result<(), Failure> {
    let target = target(client, job);
    client
        .ask(&asking(method, &target, body.as_ref()), "query job", |_| Ok(()))
        .await
}

fn asking<'a>(method: Method, target: &'a str, body: Option<&'a Value>) -> Request<'a> {
    Request {
        method,
        body,
        ..Request::get(target)
    }
}

/// The path of a job.
pub(super) fn target(client: &Client, job: &str) -> String {
    format!("{}/jobs/query/{job}", client.config.data_path)
}
