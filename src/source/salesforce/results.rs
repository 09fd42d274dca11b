//! The result of a query job, part by part:
//! <https://developer.salesforce.com/docs/atlas.en-us.api_asynch.meta/api_asynch/query_get_job_results.htm>
//!
//! Each answer names the next part in a header, before its body: so a few parts are on their way at once, and are handed on in
//! their order. (`resultPages` would name five parts at a time, as large as the org likes: memory could not be bounded.)

use std::collections::VecDeque;
use std::sync::Arc;

use reqwest::header::HeaderMap;
use tokio::sync::oneshot;
use tokio_util::task::AbortOnDropHandle;

use super::bulk::{self, Completed, Unfinished};
use super::client::{Failure, LARGEST_BODY, Opened, Request};
use super::csv::{Broken, Kind, Reader};
use super::error::Refusal;
use super::extract::{Org, Pages, Reading, Times};
use super::page::{Layout, Page};
use crate::api::common::Outcome;
use crate::api::sync_pipeline::Watermark;
use crate::source::{NextPart, ResumePoint, SourceError};

/// How many parts are on their way at once, or wait to be handed on.
const AHEAD: usize = 2;

/// How large a part is to be: large enough that a request's own time is small beside it, small enough that memory is.
const PART_BYTES: usize = 1 << 20;
/// How many records the first part has, and one at the least and the most.
const FIRST_RECORDS: usize = 2_000;
const RECORDS: std::ops::RangeInclusive<usize> = 200..=50_000;

/// Reads from `point` on, and hands on pages that each say where to go on after them. The first one has no record: by it the job
/// is known before there is anything else to know. Nothing else was handed on where the Bulk API turns out not to serve the query.
pub(super) async fn read(
    org: &Arc<Org>,
    reading: &Reading<'_>,
    point: ResumePoint,
    unfinished: &Unfinished,
    pages: &Pages,
) -> Result<Completed, SourceError> {
    let job = point.job.clone();
    let read = parts(org, reading, point, unfinished, pages).await;
    unfinished.set(None);
    let of_no_use = match &read {
        Ok(completed) => *completed == Completed::Unsupported,
        Err(error) => !is_passing(error.outcome),
    };
    if of_no_use {
        bulk::remove(&org.client, &job).await;
    }
    read
}

/// Whether a later run may go on with the result.
fn is_passing(outcome: Outcome) -> bool {
    matches!(
        outcome,
        Outcome::SourceUnavailable | Outcome::SourceThrottled | Outcome::AuthenticationFailed
    )
}

async fn parts(
    org: &Arc<Org>,
    reading: &Reading<'_>,
    mut point: ResumePoint,
    unfinished: &Unfinished,
    pages: &Pages,
) -> Result<Completed, SourceError> {
    let object = reading.asked.selection.object.as_str();
    let times = Times {
        complete_as_of: point.complete_as_of,
        settled_until: point.settled_until,
    };
    let kinds = bulk::kinds(reading).ok_or_else(|| bulk::lost(object))?;
    let mut known = Page::of_csv(reading.layout, &kinds, String::new(), Vec::new(), Vec::new());
    known.resume_at(point.clone());
    unfinished.set(Some(&point.job));
    if pages.send(Ok((known, times))).await.is_err() || point.next == NextPart::End {
        return Ok(Completed::Yes);
    }
    if bulk::wait(&org.client, object, &point.job).await? == Completed::Unsupported {
        tracing::info!(object, "the Bulk API does not serve it; reading by REST");
        org.is_not_bulk(object);
        return Ok(Completed::Unsupported);
    }
    unfinished.set(None);
    let mut parts = Parts {
        org,
        object,
        job: &point.job.clone(),
        layout: reading.layout,
        kinds: &kinds,
        records: FIRST_RECORDS,
        under_way: VecDeque::new(),
        next: Next::Known(point.next.clone()),
    };
    while let Some(part) = parts.next().await? {
        let Part { mut page, after } = part;
        if let Some((stamp, id)) = page.greatest_until(point.settled_until) {
            let reached = point
                .reached
                .as_ref()
                .map(|reached| (reached.stamp, reached.id.as_str()));
            if reached.is_none_or(|reached| reached < (stamp, &*id)) {
                let id = id.into_owned();
                point.reached = Some(Watermark { stamp, id });
            }
        }
        point.next = after;
        page.resume_at(point.clone());
        if pages.send(Ok((page, times))).await.is_err() {
            break;
        }
    }
    Ok(Completed::Yes)
}

/// A part that was read, and the one after it.
struct Part {
    page: Page,
    after: NextPart,
}

/// What comes after the last part that was asked for.
enum Next {
    Known(NextPart),
    /// Its answer has not begun yet.
    Told(oneshot::Receiver<NextPart>),
}

/// The parts that are on their way.
struct Parts<'a> {
    org: &'a Arc<Org>,
    object: &'a str,
    job: &'a str,
    layout: &'a Arc<Layout>,
    kinds: &'a Arc<[Kind]>,
    /// How many records the next part is to have.
    records: usize,
    under_way: VecDeque<AbortOnDropHandle<Result<Part, Failure>>>,
    next: Next,
}

impl Parts<'_> {
    /// The next part, in order; meanwhile those after it are asked for.
    async fn next(&mut self) -> Result<Option<Part>, SourceError> {
        loop {
            if self.under_way.len() < AHEAD
                && let Next::Known(next) = &self.next
                && *next != NextPart::End
            {
                self.ask();
                continue;
            }
            let Some(first) = self.under_way.front_mut() else {
                return Ok(None);
            };
            let read = match &mut self.next {
                Next::Told(told) => tokio::select! {
                    biased;
                    next = told => {
                        // Where the answer never came, the part itself tells why.
                        self.next = Next::Known(next.unwrap_or(NextPart::End));
                        continue;
                    }
                    read = first => read,
                },
                Next::Known(_) => first.await,
            };
            self.under_way.pop_front();
            let read = read.map_err(|_| {
                SourceError::new(
                    Outcome::InternalError,
                    "reading a result ended by a defect of Ferrygate".into(),
                )
            })?;
            let part = match read {
                Ok(part) => part,
                Err(failure) if bulk::is_gone(&failure) => return Err(bulk::lost(self.object)),
                Err(failure) => return Err(failure.into()),
            };
            if !part.page.is_empty() {
                let records = PART_BYTES.saturating_mul(part.page.len()) / part.page.bytes().max(1);
                self.records = records.clamp(*RECORDS.start(), *RECORDS.end());
            }
            return Ok(Some(part));
        }
    }

    fn ask(&mut self) {
        let (tell, told) = oneshot::channel();
        let Next::Known(next) = std::mem::replace(&mut self.next, Next::Told(told)) else {
            return;
        };
        let mut target = format!(
            "{}/results?maxRecords={}",
            bulk::target(&self.org.client, self.job),
            self.records
        );
        if let NextPart::Named(locator) = next {
            target.push_str("&locator=");
            target.extend(url::form_urlencoded::byte_serialize(locator.as_bytes()));
        }
        let fetch = fetch(
            self.org.clone(),
            self.object.to_owned(),
            target,
            self.records,
            self.layout.clone(),
            self.kinds.clone(),
            tell,
        );
        self.under_way.push_back(AbortOnDropHandle::new(tokio::spawn(fetch)));
    }
}

/// Reads one part; tells what comes after it as soon as that is known.
async fn fetch(
    org: Arc<Org>,
    object: String,
    target: String,
    records: usize,
    layout: Arc<Layout>,
    kinds: Arc<[Kind]>,
    tell: oneshot::Sender<NextPart>,
) -> Result<Part, Failure> {
    let client = &org.client;
    let request = Request {
        accept: "text/csv",
        ..Request::get(&target)
    };
    let mut tell = Some(tell);
    let mut endurance = client.endurance();
    loop {
        let session = client.turn().await;
        let attempt = async {
            let Opened { mut response, .. } = client.open(&session, &request, &object).await?;
            let (expected, after) = described(response.headers())
                .ok_or_else(|| Refusal::passing("the answer is no part of a result", None))?;
            if let Some(tell) = tell.take() {
                // Nobody waits for it where the reading has ended.
                let _ = tell.send(after.clone());
            }
            let mut reader = Reader::new(&layout, &kinds);
            let bytes = response.content_length().unwrap_or_default().min(LARGEST_BODY as u64);
            reader.reserve(expected.min(records), bytes as usize);
            let damaged = |Broken(why)| Refusal::passing(&format!("the part of the result is damaged: {why}"), None);
            loop {
                let chunk = response.chunk().await;
                let Some(chunk) = chunk.map_err(|error| Refusal::transport(&session.instance, error))? else {
                    break;
                };
                if reader.len() + chunk.len() > LARGEST_BODY {
                    return Err(Refusal::Final(SourceError::new(
                        Outcome::SourceUnavailable,
                        format!("{object}: a part of a result of more than 256 MiB"),
                    )));
                }
                reader.feed(&chunk).map_err(damaged)?;
            }
            let page = reader.finish(expected).map_err(damaged)?;
            Ok(Part { page, after })
        };
        match attempt.await {
            Ok(part) => return Ok(part),
            Err(refusal) => client.get_over(refusal, &mut endurance, &session, &object).await?,
        }
    }
}

/// How many records a part has, and what comes after it: the text `null` says that nothing does.
fn described(headers: &HeaderMap) -> Option<(usize, NextPart)> {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    let records = text("sforce-numberofrecords")?.trim().parse().ok()?;
    let after = match text("sforce-locator")?.trim() {
        "" => return None,
        "null" => NextPart::End,
        locator => NextPart::Named(locator.to_owned()),
    };
    Some((records, after))
}
