//! Looking for a profile, by Segment's Profile API: <https://segment.com/docs/unify/profile-api/>.
//!
//! It shows no consent ("Segment does not return a user's consent preferences in a Profile API response"), so that of a
//! suppression nothing can be proved by it; of an erasure, that the profile is gone.

use reqwest::Url;
use secrecy::SecretString;

use super::api::{Api, Scheme};
use crate::api::cdp_sink::{SegmentProfileApi, SegmentSink};
use crate::http::{self, Patience};
use crate::sink::SinkError;

/// A space answers 100 requests a second: <https://segment.com/docs/unify/profile-api-limits/>. Half of them are left to others.
const RATE: u32 = 50;

const MEDIA: &str = "application/json";

/// The profiles of one space.
#[derive(Debug)]
pub(super) struct Profiles {
    api: Api,
    space: String,
}

/// The Profile API of the region that a sink's endpoint is in.
fn endpoint(segment: &SegmentSink, profiles: &SegmentProfileApi) -> Option<String> {
    profiles.endpoint.clone().or_else(|| {
        let base = match Url::parse(&segment.endpoint).ok()?.host_str()? {
            "api.segment.io" => "https://profiles.segment.com",
            "events.eu1.segmentapis.com" => "https://profiles.euw1.segment.com",
            _ => return None,
        };
        Some(base.to_owned())
    })
}

impl Profiles {
    pub fn new(
        http: reqwest::Client,
        segment: &SegmentSink,
        profiles: &SegmentProfileApi,
        token: SecretString,
        patience: Patience,
    ) -> Result<Profiles, String> {
        let endpoint = endpoint(segment, profiles).ok_or(
            "readBack.profileApi.endpoint is needed, since endpoint is none of Segment's own, which would tell the region",
        )?;
        let endpoint = http::endpoint("readBack.profileApi.endpoint", &endpoint, segment.allow_plaintext)?;
        Ok(Profiles {
            api: Api::new(
                http,
                &endpoint,
                ("readBack.profileApi", Scheme::UserName, MEDIA),
                token,
                RATE,
                patience,
            ),
            space: profiles.space_id.clone(),
        })
    }

    /// Whether the API answers, and takes the token. That there is no such profile is an answer.
    pub async fn probe(&self) -> Result<(), SinkError> {
        self.has("ferrygate").await.map(drop)
    }

    /// Whether there is a profile of a user id. The API finds a profile by an id in lower case only, and is asked for the id as it
    /// is as well: <https://segment.com/docs/unify/profile-api/#query-the-users-event-traits>.
    pub async fn has(&self, user: &str) -> Result<bool, SinkError> {
        let lower = user.to_lowercase();
        let mut forms = vec![user];
        if lower != user {
            forms.push(&lower);
        }
        for form in forms {
            let identifier = format!("user_id:{form}");
            let url = self.api.url([
                "v1",
                "spaces",
                &self.space,
                "collections",
                "users",
                "profiles",
                &identifier,
                "metadata",
            ]);
            if self.api.get(&url).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
