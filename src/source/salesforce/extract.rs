//! Reading the records of an object, page by page, the next one asked for while the last is worked on.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::client::{Client, Failure};
use super::page::{Layout, Page};
use super::replication;
use super::soql::{self, Start};
use crate::api::common::Outcome;
use crate::source::{ObjectDescription, Selection, SourceError};

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

/// An org and what is known of its objects.
#[derive(Debug)]
pub(super) struct Org {
    pub client: Client,
    cursors: Mutex<HashMap<String, Cursor>>,
}

impl Org {
    pub fn new(client: Client) -> Org {
        Org {
            client,
            cursors: Mutex::default(),
        }
    }

    /// Keeps what a description tells of the cursor.
    pub fn learn(&self, object: &str, cursor: Cursor) {
        self.cursors
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(object.to_lowercase(), cursor);
    }

    /// The object's cursor; the object is described where it wasn't yet.
    pub async fn cursor(&self, object: &str) -> Result<Cursor, SourceError> {
        let known = self
            .cursors
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&object.to_lowercase())
            .copied();
        match known {
            Some(cursor) => Ok(cursor),
            None => {
                let (description, replicateable) = super::describe(self, object).await?;
                Cursor::of(&description, replicateable)
            }
        }
    }
}

/// The pages of a selection.
#[derive(Debug)]
pub struct Extract {
    state: State,
    complete_as_of: Option<Timestamp>,
}

#[derive(Debug)]
enum State {
    Ready(Arc<Org>, Selection),
    Running(mpsc::Receiver<Result<(Page, Timestamp), SourceError>>, Reader),
    Ended,
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
            state: State::Ready(org, selection),
            complete_as_of: None,
        }
    }

    /// The next page in keyset order, or `None` at the end. An expired session, a lost cursor, a page that arrived damaged and
    /// passing errors are recovered from. After an error there are no more pages.
    ///
    /// # Errors
    /// What patience could not mend, by its outcome.
    pub async fn next_page(&mut self) -> Result<Option<Page>, SourceError> {
        if let State::Ready(org, selection) = &self.state {
            // One page waits while the next is on its way: memory holds three, whatever the object's size.
            let (sender, receiver) = mpsc::channel(1);
            let task = tokio::spawn(read_ahead(org.clone(), selection.clone(), sender));
            self.state = State::Running(receiver, Reader(task));
        }
        let State::Running(pages, _) = &mut self.state else {
            return Ok(None);
        };
        match pages.recv().await {
            Some(Ok((page, as_of))) => {
                self.complete_as_of = Some(as_of);
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
        self.complete_as_of
    }
}

async fn read_ahead(org: Arc<Org>, selection: Selection, pages: mpsc::Sender<Result<(Page, Timestamp), SourceError>>) {
    if let Err(error) = read(&org, &selection, &pages).await {
        // Nobody listens any more: the extraction was dropped.
        let _ = pages.send(Err(error)).await;
    }
}

async fn read(
    org: &Org,
    selection: &Selection,
    pages: &mpsc::Sender<Result<(Page, Timestamp), SourceError>>,
) -> Result<(), SourceError> {
    let object = selection.object.as_str();
    check_names(selection)?;
    let cursor = org.cursor(object).await?;
    let deleted = (selection.deleted && cursor.deletable).then_some("IsDeleted");
    let layout = Arc::new(Layout::new(&selection.fields, cursor.stamp, deleted));
    // Asked before the records are, so that it holds for all of them.
    let covered = if cursor.replicateable {
        replication::covered(org, object).await?
    } else {
        None
    };
    let query = |start: Start<'_>| {
        soql::target(
            &org.client.config.data_path,
            selection.deleted,
            &soql::select(object, &layout, start),
        )
    };

    let mut target = query(selection.from.map_or(Start::Everything, Start::At));
    let (mut as_of, mut reached, mut position, mut restarts, mut on_cursor) = (None, None, None, 0, false);
    loop {
        let answered = org
            .client
            .get(&target, object, |answer| {
                Ok((Page::parse(answer.body, &layout)?, answer.asked_at))
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
        let safe = covered.map_or(as_of, |covered| as_of.min(covered));
        position = page.last_until(safe).or(position);
        page.settle(position.clone());
        let next = page.next.take();
        if pages.send(Ok((page, as_of))).await.is_err() {
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
