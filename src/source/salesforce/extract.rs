//! Reading the records of an object, page by page, the next one asked for while the last is worked on: by REST in keyset order,
//! or by the Bulk API in none.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::bulk::{self, Completed, Unfinished};
use super::client::{Client, Failure};
use super::csv::Kind;
use super::page::{Layout, Page};
use super::soql::{self, Start};
use super::{replication, results};
use crate::api::common::Outcome;
use crate::source::{ObjectDescription, ResumePoint, Selection, SourceError};

/// How often in a row a query is asked again for a lost cursor before it reads one record further.
const RESTARTS: u32 = 5;

/// What of an object's schema an extraction rests on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor {
    /// The field that tells when a record was last modified.
    pub stamp: &'static str,
    /// Whether records are kept for a time after they were deleted.
    pub deletable: bool,
    /// Whether the org tells up to when all transactions that wrote such objects have ended.
    pub replicateable: bool,
}

impl Cursor {
    /// The cursor field is asked of the description, not assumed: not every object has `SystemModstamp`, and not every one may
    /// be filtered by it.
    pub fn of(description: &ObjectDescription, replicateable: bool) -> Result<Cursor, SourceError> {
        let field = |name: &str| {
            description
                .fields
                .iter()
                .find(|field| field.name.eq_ignore_ascii_case(name))
        };
        let stamp = ["SystemModstamp", "LastModifiedDate"]
            .into_iter()
            .find(|name| field(name).is_some_and(|field| field.filterable));
        let stamp = stamp.ok_or_else(|| {
            SourceError::new(
                Outcome::ConfigurationInvalid,
                format!(
                    "{}: neither SystemModstamp nor LastModifiedDate can be filtered by, so that the object can't be read \
                     incrementally; map another object, or give the integration user access to these fields",
                    description.object
                ),
            )
        })?;
        Ok(Cursor {
            stamp,
            deletable: field("IsDeleted").is_some(),
            replicateable,
        })
    }
}

/// What of an object's description an extraction rests on.
#[derive(Debug)]
pub(super) struct Schema {
    pub cursor: Cursor,
    /// The kinds of the fields that a query job can have, by their names in lower case.
    pub kinds: HashMap<String, Kind>,
}

impl Schema {
    pub fn of(description: &ObjectDescription, replicateable: bool) -> Result<Schema, SourceError> {
        let kinds = description.fields.iter();
        let kinds = kinds.filter_map(|field| Some((field.name.to_lowercase(), Kind::of(&field.kind)?)));
        Ok(Schema {
            cursor: Cursor::of(description, replicateable)?,
            kinds: kinds.collect(),
        })
    }
}

/// An org and what is known of its objects.
#[derive(Debug)]
pub(super) struct Org {
    pub client: Client,
    schemas: Mutex<HashMap<String, Arc<Schema>>>,
    /// The objects that the Bulk API has refused.
    not_bulk: Mutex<HashSet<String>>,
}

impl Org {
    pub fn new(client: Client) -> Org {
        Org {
            client,
            schemas: Mutex::default(),
            not_bulk: Mutex::default(),
        }
    }

    /// Keeps what a description tells.
    pub fn learn(&self, object: &str, schema: Schema) {
        lock(&self.schemas).insert(object.to_lowercase(), Arc::new(schema));
    }

    /// What the object's description tells; the object is described where it wasn't yet.
    pub async fn schema(&self, object: &str) -> Result<Arc<Schema>, SourceError> {
        let known = lock(&self.schemas).get(&object.to_lowercase()).cloned();
        match known {
            Some(schema) => Ok(schema),
            None => {
                let (description, replicateable) = super::describe(self, object).await?;
                Ok(Arc::new(Schema::of(&description, replicateable)?))
            }
        }
    }

    /// The object's cursor.
    pub async fn cursor(&self, object: &str) -> Result<Cursor, SourceError> {
        Ok(self.schema(object).await?.cursor)
    }

    /// Remembers, for as long as the process lives, that the Bulk API does not serve an object.
    pub fn is_not_bulk(&self, object: &str) {
        lock(&self.not_bulk).insert(object.to_lowercase());
    }

    /// Whether the Bulk API may serve an object.
    pub fn may_be_bulk(&self, object: &str) -> bool {
        !lock(&self.not_bulk).contains(&object.to_lowercase())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The pages of a selection.
#[derive(Debug)]
pub struct Extract {
    org: Arc<Org>,
    state: State,
    times: Option<Times>,
    last: Option<ResumePoint>,
    unfinished: Arc<Unfinished>,
}

#[derive(Debug)]
enum State {
    Ready(Box<Asked>),
    Running(mpsc::Receiver<Result<(Page, Times), SourceError>>, Reader),
    Ended,
}

/// What is to be extracted.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub selection: Selection,
    /// Where an extraction before this one can be gone on with.
    pub resume: Option<ResumePoint>,
    /// No watermark may pass this instant.
    pub settled_until: Option<Timestamp>,
    /// What the caller makes of the records: see [`Extract::for_purpose`].
    pub purpose: String,
}

/// Up to which instants of the CRM's clock pages tell all.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub complete_as_of: Timestamp,
    pub settled_until: Timestamp,
}

/// The task that reads ahead; it ends with its extraction.
#[derive(Debug)]
struct Reader(JoinHandle<()>);

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Extract {
    pub(super) fn new(org: Arc<Org>, selection: Selection) -> Extract {
        Extract {
            org,
            state: State::Ready(Box::new(Asked {
                selection,
                resume: None,
                settled_until: None,
                purpose: String::new(),
            })),
            times: None,
            last: None,
            unfinished: Arc::default(),
        }
    }

    /// Goes on where a reading before this one stopped, if it asked for the same and its result is still there.
    #[must_use]
    pub fn going_on_from(mut self, point: Option<ResumePoint>) -> Extract {
        if let State::Ready(asked) = &mut self.state {
            asked.resume = point;
        }
        self
    }

    /// Says what the caller makes of the records. What an extraction for another purpose has read is not gone on with.
    #[must_use]
    pub fn for_purpose(mut self, purpose: String) -> Extract {
        if let State::Ready(asked) = &mut self.state {
            asked.purpose = purpose;
        }
        self
    }

    /// Says that no watermark may pass this instant.
    #[must_use]
    pub fn settling_until(mut self, instant: Option<Timestamp>) -> Extract {
        if let State::Ready(asked) = &mut self.state {
            asked.settled_until = instant;
        }
        self
    }

    /// The next page, in keyset order or with a [`ResumePoint`], or `None` at the end. An expired session, a lost cursor, a page
    /// that arrived damaged and passing errors are recovered from. After an error there are no more pages.
    ///
    /// # Errors
    /// What patience could not mend, by its outcome.
    pub async fn next_page(&mut self) -> Result<Option<Page>, SourceError> {
        if let State::Ready(asked) = &self.state {
            // One page waits while the next is on its way: memory holds three, whatever the object's size.
            let (sender, receiver) = mpsc::channel(1);
            let reading = read_ahead(self.org.clone(), (**asked).clone(), self.unfinished.clone(), sender);
            self.state = State::Running(receiver, Reader(tokio::spawn(reading)));
        }
        let State::Running(pages, _) = &mut self.state else {
            return Ok(None);
        };
        match pages.recv().await {
            Some(Ok((page, times))) => {
                self.times = Some(times);
                self.last = page.resume_point().cloned();
                Ok(Some(page))
            }
            Some(Err(error)) => {
                self.state = State::Ended;
                Err(error)
            }
            None => {
                let State::Running(_, mut reader) = std::mem::replace(&mut self.state, State::Ended) else {
                    return Ok(None);
                };
                match (&mut reader.0).await {
                    Ok(()) => Ok(None),
                    Err(_) => Err(SourceError::new(
                        Outcome::InternalError,
                        "reading pages ended by a defect of Ferrygate".into(),
                    )),
                }
            }
        }
    }

    /// The instant, by the CRM's clock, up to which the pages are complete: when the first query was asked.
    pub fn complete_as_of(&self) -> Option<Timestamp> {
        self.times.map(|times| times.complete_as_of)
    }

    /// The instant, by the CRM's clock, that no watermark may pass: when the first query was asked, or a transaction began that was
    /// open then.
    pub fn settled_until(&self) -> Option<Timestamp> {
        self.times.map(|times| times.settled_until)
    }

    /// Where the reading can be gone on with after the pages that came; `None` where they come in keyset order.
    pub fn resume_point(&self) -> Option<&ResumePoint> {
        self.last.as_ref()
    }

    /// Ends the extraction before its last page: what the org still works on for it is stopped and removed.
    pub async fn close(&mut self) {
        self.state = State::Ended;
        if let Some(job) = self.unfinished.take() {
            bulk::remove(&self.org.client, &job).await;
        }
    }
}

/// Where pages go.
pub(super) type Pages = mpsc::Sender<Result<(Page, Times), SourceError>>;

async fn read_ahead(org: Arc<Org>, asked: Asked, unfinished: Arc<Unfinished>, pages: Pages) {
    if let Err(error) = read(&org, &asked, &unfinished, &pages).await {
        // Nobody listens any more: the extraction was dropped.
        let _ = pages.send(Err(error)).await;
    }
}

async fn read(org: &Arc<Org>, asked: &Asked, unfinished: &Unfinished, pages: &Pages) -> Result<(), SourceError> {
    let selection = &asked.selection;
    let object = selection.object.as_str();
    check_names(selection)?;
    let schema = org.schema(object).await?;
    let cursor = schema.cursor;
    let deleted = (selection.deleted && cursor.deletable).then_some("IsDeleted");
    let layout = Arc::new(Layout::new(&selection.fields, cursor.stamp, deleted));
    // Asked before the records are, so that it holds for all of them.
    let covered = if cursor.replicateable {
        replication::covered(org, object).await?
    } else {
        None
    };
    let settled = [covered, asked.settled_until].into_iter().flatten().min();
    let reading = Reading {
        asked,
        schema: &schema,
        layout: &layout,
        settled,
    };
    if let Some(point) = bulk::begin(org, &reading, Timestamp::now()).await?
        && results::read(org, &reading, point, unfinished, pages).await? == Completed::Yes
    {
        return Ok(());
    }
    by_query(org, &reading, pages).await
}

/// One reading, with what is known before its first record.
pub(super) struct Reading<'a> {
    pub asked: &'a Asked,
    pub schema: &'a Schema,
    pub layout: &'a Arc<Layout>,
    /// No watermark may pass this instant, nor the one at which the reading begins.
    pub settled: Option<Timestamp>,
}

/// Reads by REST, in keyset order.
async fn by_query(org: &Org, reading: &Reading<'_>, pages: &Pages) -> Result<(), SourceError> {
    let Reading {
        asked, layout, settled, ..
    } = *reading;
    let selection = &asked.selection;
    let object = selection.object.as_str();
    let query = |start: Start<'_>| {
        soql::target(
            &org.client.config.data_path,
            selection.deleted,
            &soql::select(object, layout, start),
        )
    };

    let mut target = query(selection.from.map_or(Start::Everything, Start::At));
    let (mut as_of, mut reached, mut position, mut restarts, mut on_cursor) = (None, None, None, 0, false);
    loop {
        let answered = org
            .client
            .get(&target, object, |answer| {
                Ok((Page::parse(answer.body, layout)?, answer.asked_at))
            })
            .await;
        let (mut page, asked_at) = match answered {
            Ok(answered) => answered,
            // At most ten cursors are open for a user, each for a limited time, and the session may bind one:
            // <https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/resources_query_more_results.htm>
            Err(Failure::LocatorLost | Failure::SessionRefused(_)) if on_cursor && restarts < RESTARTS => {
                restarts += 1;
                tracing::info!(
                    object,
                    restarts,
                    "the query's cursor is lost; asking again after the last record"
                );
                target = query(match (&reached, selection.from) {
                    (Some(reached), _) => Start::After(reached),
                    (None, Some(from)) => Start::At(from),
                    (None, None) => Start::Everything,
                });
                on_cursor = false;
                continue;
            }
            Err(failure) => return Err(failure.into()),
        };
        let as_of = *as_of.get_or_insert(asked_at);
        if let Some(last) = page.last_until(as_of) {
            reached = Some(last);
            restarts = 0;
        }
        let times = Times {
            complete_as_of: as_of,
            settled_until: settled.map_or(as_of, |settled| as_of.min(settled)),
        };
        position = page.last_until(times.settled_until).or(position);
        page.settle(position.clone());
        let next = page.next.take();
        if pages.send(Ok((page, times))).await.is_err() {
            return Ok(());
        }
        match next {
            Some(next) => (target, on_cursor) = (next, true),
            None => return Ok(()),
        }
    }
}

pub(super) fn check_names(selection: &Selection) -> Result<(), SourceError> {
    match std::iter::once(&selection.object)
        .chain(&selection.fields)
        .find(|name| !soql::is_name(name))
    {
        Some(name) => Err(SourceError::new(
            Outcome::ConfigurationInvalid,
            format!("{name:?} is not the API name of an object or a field: letters, digits and underscores"),
        )),
        None => Ok(()),
    }
}
