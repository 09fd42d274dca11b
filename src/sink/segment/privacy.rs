//! Erasing people, by the regulations of Segment's Public API:
//! <https://docs.segmentapis.com/tag/Deletion-and-Suppression>. It knows no idempotency key; what was asked for stands in the
//! list of regulations.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reqwest::{Method, Url};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;

use super::api::{Answer, Api, Scheme, refused};
use crate::api::cdp_sink::{SegmentPrivacyApi, SegmentSink};
use crate::http::{self, Patience};
use crate::sink::{Asked, SinkError, Sought, Standing, subjects_hash};

/// So many user ids may be erased by one call, of 4 MB at most, which so many ids of CRM records never have:
/// <https://segment.com/docs/privacy/faq/#how-many-deletion-requests-can-i-send>.
pub const MOST_SUBJECTS: usize = 5_000;

/// 600 regulations may be created in a minute: <https://docs.segmentapis.com/tag/Deletion-and-Suppression>.
const RATE: u32 = 10;

/// The version of the API that is spoken: <https://docs.segmentapis.com/tag/Getting-Started>.
const MEDIA: &str = "application/vnd.segment.v1+json";

/// Regulations in a page of the list, and the most pages that are looked through: the list may name every one of the last 90
/// days, each with its people.
const PAGE: usize = 10;
const PAGES: usize = 20;

/// How far this clock may be from Segment's.
const SKEW: SignedDuration = SignedDuration::from_mins(10);

/// Where the erasure of people is asked for.
#[derive(Debug)]
pub(super) struct Privacy {
    api: Api,
    /// Of which source, or of the workspace.
    source: Option<String>,
    kind: &'static str,
}

/// The Public API of the region that a sink's endpoint is in: <https://docs.segmentapis.com/tag/Getting-Started>.
pub fn privacy_endpoint(segment: &SegmentSink) -> Option<String> {
    let stated = segment.privacy_api.as_ref()?.endpoint.clone();
    stated.or_else(|| {
        let base = match Url::parse(&segment.endpoint).ok()?.host_str()? {
            "api.segment.io" => "https://api.segmentapis.com",
            "events.eu1.segmentapis.com" => "https://eu1.api.segmentapis.com",
            _ => return None,
        };
        Some(base.to_owned())
    })
}

#[derive(Deserialize)]
struct Data<T> {
    data: T,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Created {
    regulate_id: String,
}

#[derive(Deserialize)]
struct Found {
    regulation: Regulation,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Regulation {
    overall_status: String,
}

#[derive(Deserialize)]
struct List {
    regulations: Vec<Listed>,
    #[serde(default)]
    pagination: Pagination,
}

#[derive(Default, Deserialize)]
struct Pagination {
    #[serde(default)]
    next: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    id: String,
    #[serde(default)]
    subjects: Vec<String>,
    created_at: Timestamp,
    regulation_type: String,
}

impl Privacy {
    pub fn new(
        http: reqwest::Client,
        segment: &SegmentSink,
        privacy: &SegmentPrivacyApi,
        token: SecretString,
        patience: Patience,
    ) -> Result<Privacy, String> {
        let endpoint = privacy_endpoint(segment).ok_or(
            "privacyApi.endpoint is needed, since endpoint is none of Segment's own, which would tell the region",
        )?;
        let endpoint = http::endpoint("privacyApi.endpoint", &endpoint, segment.allow_plaintext)?;
        if endpoint.query().is_some() || endpoint.fragment().is_some() {
            return Err("privacyApi.endpoint must be the API's base, for example https://api.segmentapis.com".into());
        }
        Ok(Privacy {
            api: Api::new(
                http,
                &endpoint,
                ("privacyApi", Scheme::Bearer, MEDIA),
                token,
                RATE,
                patience,
            ),
            source: privacy.source_id.clone(),
            kind: privacy.regulation.as_str(),
        })
    }

    /// The type of its regulations, in the API's word.
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// Whether the API answers, and takes the token.
    pub async fn probe(&self) -> Result<(), SinkError> {
        match self.api.get(&self.page(1, None)).await? {
            Some(_) => Ok(()),
            None => Err(self.missing()),
        }
    }

    /// Asks for the erasure of these people, at most [`MOST_SUBJECTS`]. A try that may have arrived is looked for before the
    /// next one is made.
    pub async fn erase(&self, subjects: &[String], known: Vec<String>) -> Result<Asked, SinkError> {
        let body = json!({"regulationType": self.kind, "subjectType": "USER_ID", "subjectIds": subjects}).to_string();
        let sought = Sought {
            since: Timestamp::now(),
            subjects: subjects_hash(subjects.iter().map(String::as_str)),
            known,
        };
        let mut tries = self.api.patience().begin();
        let mut doubt = false;
        loop {
            if doubt && let Some(regulation) = self.find(&sought).await? {
                return Ok(Asked::Taken(regulation));
            }
            let answer = self
                .api
                .attempt(Method::POST, self.list(), Some(body.clone().into_bytes()))
                .await?;
            let (what, wait) = match answer {
                Answer::Good(answer) => match serde_json::from_slice::<Data<Created>>(&answer) {
                    Ok(created) => return Ok(Asked::Taken(created.data.regulate_id)),
                    Err(_) => {
                        doubt = true;
                        ("an answer without a regulateId".to_owned(), None)
                    }
                },
                Answer::Refused(status) => {
                    return Ok(Asked::Refused(format!(
                        "the CDP refuses to erase the user id ({status}); look in Segment at Privacy > Deletion and Suppression, \
                         and ask for the erasure there by hand. It is asked for again in a day"
                    )));
                }
                Answer::Missing => return Err(self.missing()),
                Answer::Limited(wait) => ("the CDP answered 429".to_owned(), wait),
                Answer::Passing { what, wait } => {
                    doubt = true;
                    (what, wait)
                }
            };
            let Some(delay) = tries.next_delay(wait) else {
                return match wait {
                    Some(wait) if !doubt => Ok(Asked::Later(later(wait))),
                    _ => Err(self.api.unavailable(&tries.spent(), &what)),
                };
            };
            tracing::warn!(
                delay_ms = delay.as_millis() as u64,
                "passing error of the CDP's privacy API, trying again: {what}"
            );
            tokio::time::sleep(delay).await;
        }
    }

    /// Looks for a request in the list of regulations.
    pub async fn find(&self, sought: &Sought) -> Result<Option<String>, SinkError> {
        let since = sought.since.checked_sub(SKEW).unwrap_or(Timestamp::MIN);
        let mut cursor: Option<String> = None;
        for _ in 0..PAGES {
            let Some(body) = self.api.get(&self.page(PAGE, cursor.as_deref())).await? else {
                return Ok(None);
            };
            let page: Data<List> = self.parsed(&body)?;
            let found = page.data.regulations.into_iter().find(|listed| {
                listed.created_at >= since
                    && listed.regulation_type == self.kind
                    && !sought.known.contains(&listed.id)
                    && subjects_hash(listed.subjects.iter().map(String::as_str)) == sought.subjects
            });
            if let Some(found) = found {
                return Ok(Some(found.id));
            }
            match page.data.pagination.next {
                Some(next) if !next.is_empty() => cursor = Some(next),
                _ => break,
            }
        }
        Ok(None)
    }

    /// How a regulation stands.
    pub async fn standing(&self, regulation: &str) -> Result<Standing, SinkError> {
        let url = self.api.url(["regulations", regulation]);
        let Some(body) = self.api.get(&url).await? else {
            return Ok(Standing::Failed {
                status: "NOT_FOUND".into(),
                advice: format!(
                    "the CDP does not know regulation {regulation} any more (404), and never said that it was done: Segment \
                     forgets a regulation after 90 days. Look in Segment whether the person is erased"
                ),
            });
        };
        let found: Data<Found> = self.parsed(&body)?;
        let status = found.data.regulation.overall_status;
        Ok(match status.as_str() {
            "FINISHED" => Standing::Finished(status),
            "FAILED" | "INVALID" | "NOT_SUPPORTED" | "PARTIAL_SUCCESS" => Standing::Failed {
                advice: format!(
                    "the CDP ended the erasure as {status} (regulation {regulation}): Segment shows under Privacy > Deletion \
                     and Suppression which destination still has the person's data; delete it there by hand"
                ),
                status,
            },
            _ => Standing::Running,
        })
    }

    fn list(&self) -> Url {
        let source = self.source.iter().flat_map(|source| ["sources", source.as_str()]);
        self.api.url(["regulations"].into_iter().chain(source))
    }

    /// A page of the list: <https://docs.segmentapis.com/tag/Pagination>.
    fn page(&self, count: usize, cursor: Option<&str>) -> Url {
        let mut url = self.list();
        url.query_pairs_mut()
            .append_pair("pagination.count", &count.to_string())
            .extend_pairs(cursor.map(|cursor| ("pagination.cursor", cursor)));
        url
    }

    fn missing(&self) -> SinkError {
        refused(format!(
            "{} has no regulations (404); correct privacyApi.endpoint or privacyApi.sourceId of spec.segment",
            self.api.shown()
        ))
    }

    fn parsed<'b, T: Deserialize<'b>>(&self, body: &'b [u8]) -> Result<T, SinkError> {
        // Its words may repeat what was sent.
        serde_json::from_slice(body)
            .map_err(|_| self.api.unavailable("1 try", "an answer that is not of the API's form"))
    }
}

fn later(wait: Duration) -> Timestamp {
    let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
    Timestamp::now().checked_add(wait).unwrap_or(Timestamp::MAX)
}
