//! A record's calls, by the [Segment spec](https://segment.com/docs/connections/spec/): `identify`, `group`, `track` and `alias`.

use std::borrow::Cow;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::json;
use crate::api::CdpSinkSpec;
use crate::api::mapping_version::Entity;
use crate::consent::{Decision, Statement};
use crate::identity::Successor;
use crate::mapping::{Mapped, MappedEvent, Value};
use crate::sink::Provenance;

/// A call of 32 KB or more is refused, or dropped in silence:
/// <https://segment.com/docs/connections/sources/catalog/libraries/server/http-api/#errors>. The smaller KB holds for both.
const CALL_LIMIT: usize = 32_000;

const LIBRARY: &[u8] = concat!(
    "\"library\":{\"name\":\"ferrygate\",\"version\":\"",
    env!("CARGO_PKG_VERSION"),
    "\"}"
)
.as_bytes();

/// Turns mapped records into calls.
#[derive(Clone, Debug)]
pub struct Encoder {
    /// The purposes that the sink requires: a suppression denies them, whether the mapping knows them or not.
    required: Arc<[String]>,
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// How many calls it takes. None, for a deal without an event.
    pub calls: u32,
}

/// Why a record can't become calls. It belongs to the dead letters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A call is longer than the API takes.
    #[error("the {call} call has {bytes} bytes, and the CDP takes less than {CALL_LIMIT}; map fewer or shorter traits")]
    TooLarge {
        /// `identify`, `group`, `track` or `alias`.
        call: &'static str,
        /// The call's length.
        bytes: usize,
    },
    /// The record has no user id, or no group id where it is an account.
    #[error("the record has no {0}, without which the CDP can't tell whom it concerns; map the sink's identity kind")]
    NoIdentity(&'static str),
}

impl Encoder {
    pub(super) fn new(spec: &CdpSinkSpec) -> Encoder {
        Encoder {
            required: spec.consent.require.clone().into(),
        }
    }

    /// Appends the calls for one record to `out`, with commas between them. `events` are the ones that fire.
    ///
    /// A person becomes an `identify`, a `group` where it belongs to one, and a `track` an event; an account a `group`; a deal
    /// its events, as the person's whom it concerns; a membership the person's `group`. A suppressed person becomes an `identify`
    /// with every purpose denied and nothing else, a suppressed account a `group` without traits, and a suppressed deal nothing: that
    /// a deal was deleted takes no consent from a person. Nor does a suppressed membership become anything: Segment has no call that
    /// takes a person out of a group. <https://www.twilio.com/docs/segment/connections/spec/group>
    ///
    /// # Errors
    /// Where the record must go to the dead letters. `out` is then as it was.
    pub fn encode(
        &self,
        mapped: &Mapped<'_>,
        decision: Decision,
        events: &[&MappedEvent<'_>],
        provenance: &Provenance<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Encoded, EncodeError> {
        self.append(mapped, decision, provenance, out, |calls| {
            calls.profile()?;
            calls.events(events)
        })
    }

    /// Appends the calls for events alone: for a record whose profile the CDP holds as it is.
    ///
    /// # Errors
    /// As [`Encoder::encode`].
    pub fn encode_events(
        &self,
        mapped: &Mapped<'_>,
        events: &[&MappedEvent<'_>],
        provenance: &Provenance<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Encoded, EncodeError> {
        self.append(mapped, Decision::Activate, provenance, out, |calls| {
            calls.events(events)
        })
    }

    /// Appends the calls for a person's record that goes on as another one: an `identify` with every purpose denied, then an
    /// `alias` to the other's user id. CDPs that merge by it (as many of Segment's destinations do) let the second id's profile
    /// stand; Segment Unify leaves the two apart, and there the first is no longer activated:
    /// <https://www.twilio.com/docs/segment/connections/spec/alias>.
    ///
    /// # Errors
    /// As [`Encoder::encode`].
    pub fn encode_successor(
        &self,
        mapped: &Mapped<'_>,
        successor: &Successor<'_>,
        provenance: &Provenance<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Encoded, EncodeError> {
        self.append(mapped, Decision::Suppress, provenance, out, |calls| {
            calls.profile()?;
            calls.alias(successor.id)
        })
    }

    fn append(
        &self,
        mapped: &Mapped<'_>,
        decision: Decision,
        provenance: &Provenance<'_>,
        out: &mut Vec<u8>,
        write: impl FnOnce(&mut Calls<'_>) -> Result<(), EncodeError>,
    ) -> Result<Encoded, EncodeError> {
        let start = out.len();
        let mut record = Calls {
            mapped,
            decision,
            provenance,
            required: &self.required,
            out,
            count: 0,
        };
        let written = write(&mut record);
        let calls = record.count;
        if written.is_err() {
            out.truncate(start);
        }
        written.map(|()| Encoded { calls })
    }
}

/// The calls of one record, as they are written.
struct Calls<'a> {
    mapped: &'a Mapped<'a>,
    decision: Decision,
    provenance: &'a Provenance<'a>,
    required: &'a [String],
    out: &'a mut Vec<u8>,
    count: u32,
}

impl Calls<'_> {
    fn profile(&mut self) -> Result<(), EncodeError> {
        let activate = self.decision == Decision::Activate;
        match self.mapped.entity {
            Entity::Person => {
                self.identify()?;
                if activate && self.mapped.group_id.is_some() {
                    self.membership(&[])?;
                }
            }
            Entity::Account => self.account()?,
            Entity::Membership if activate => self.membership(&self.mapped.traits)?,
            Entity::Membership | Entity::Deal => {}
        }
        Ok(())
    }

    fn events(&mut self, events: &[&MappedEvent<'_>]) -> Result<(), EncodeError> {
        if self.decision == Decision::Activate {
            for event in events {
                self.track(event)?;
            }
        }
        Ok(())
    }

    fn identify(&mut self) -> Result<(), EncodeError> {
        let (user, activate) = (
            identity(&self.mapped.user_id, "user id")?,
            self.decision == Decision::Activate,
        );
        let mapped = self.mapped;
        self.call("identify", |calls, out| {
            out.extend_from_slice(b",\"userId\":");
            json::text(out, user);
            calls.stamp(out);
            if activate {
                out.extend_from_slice(b",\"traits\":");
                json::values(out, &mapped.traits);
            }
            out.extend_from_slice(b",\"context\":{");
            calls.consent(out);
            if activate {
                external_ids(out, mapped);
                if let Some(group) = &mapped.group_id {
                    out.extend_from_slice(b"\"groupId\":");
                    json::text(out, group);
                    out.push(b',');
                }
            }
        })
    }

    fn alias(&mut self, successor: &str) -> Result<(), EncodeError> {
        let previous = identity(&self.mapped.user_id, "user id")?;
        self.call("alias", |calls, out| {
            out.extend_from_slice(b",\"previousId\":");
            json::text(out, previous);
            out.extend_from_slice(b",\"userId\":");
            json::text(out, successor);
            calls.stamp(out);
            out.extend_from_slice(b",\"context\":{");
        })
    }

    /// The person's group. What is known of the group itself comes with its own record: a `group` call's traits are the group's, and
    /// those of the person in it (a role) stand in its context.
    /// <https://www.twilio.com/docs/segment/connections/spec/common#context>
    fn membership(&mut self, of_person: &[(&str, Value<'_>)]) -> Result<(), EncodeError> {
        let (user, group) = (
            identity(&self.mapped.user_id, "user id")?,
            identity(&self.mapped.group_id, "group id")?,
        );
        self.call("group", |calls, out| {
            out.extend_from_slice(b",\"userId\":");
            json::text(out, user);
            out.extend_from_slice(b",\"groupId\":");
            json::text(out, group);
            calls.stamp(out);
            out.extend_from_slice(b",\"traits\":{},\"context\":{");
            calls.consent(out);
            if !of_person.is_empty() {
                out.extend_from_slice(b"\"traits\":");
                json::values(out, of_person);
                out.push(b',');
            }
        })
    }

    /// Every call names a user id or an anonymous id; an account has an anonymous id of its own, the same each time:
    /// <https://segment.com/docs/connections/spec/group/>.
    fn account(&mut self) -> Result<(), EncodeError> {
        let (group, mapped, activate) = (
            identity(&self.mapped.group_id, "group id")?,
            self.mapped,
            self.decision == Decision::Activate,
        );
        let anonymous = Sha256::new_with_prefix("ferrygate account\0")
            .chain_update(group)
            .finalize();
        self.call("group", |calls, out| {
            match &mapped.user_id {
                Some(user) => {
                    out.extend_from_slice(b",\"userId\":");
                    json::text(out, user);
                }
                None => {
                    out.extend_from_slice(b",\"anonymousId\":\"");
                    json::hex(out, &anonymous);
                    out.push(b'"');
                }
            }
            out.extend_from_slice(b",\"groupId\":");
            json::text(out, group);
            calls.stamp(out);
            if activate {
                out.extend_from_slice(b",\"traits\":");
                json::values(out, &mapped.traits);
            }
            out.extend_from_slice(b",\"context\":{");
            calls.consent(out);
            if activate {
                external_ids(out, mapped);
            }
        })
    }

    fn track(&mut self, event: &MappedEvent<'_>) -> Result<(), EncodeError> {
        let user = identity(&self.mapped.user_id, "user id")?;
        self.call("track", |calls, out| {
            out.extend_from_slice(b",\"userId\":");
            json::text(out, user);
            out.extend_from_slice(b",\"event\":");
            json::text(out, event.sent_as);
            out.extend_from_slice(b",\"timestamp\":");
            json::timestamp(out, event.at);
            out.extend_from_slice(b",\"properties\":");
            json::values(out, &event.properties);
            out.extend_from_slice(b",\"context\":{");
            calls.consent(out);
        })
    }

    /// One call: its type, what `content` writes up to the middle of `context`, where it came from, and its id.
    fn call(&mut self, kind: &'static str, content: impl FnOnce(&Self, &mut Vec<u8>)) -> Result<(), EncodeError> {
        let mut out = std::mem::take(self.out);
        if self.count > 0 {
            out.push(b',');
        }
        let start = out.len();
        out.extend_from_slice(b"{\"type\":\"");
        out.extend_from_slice(kind.as_bytes());
        out.push(b'"');
        content(self, &mut out);
        let id = self.message_id(&out[start..]);
        out.extend_from_slice(LIBRARY);
        self.origin(&mut out);
        out.extend_from_slice(b"},\"messageId\":\"");
        json::hex(&mut out, &id[..20]);
        out.extend_from_slice(b"\"}");
        let bytes = out.len() - start;
        *self.out = out;
        self.count += 1;
        if bytes >= CALL_LIMIT {
            return Err(EncodeError::TooLarge { call: kind, bytes });
        }
        Ok(())
    }

    /// The id by which the CDP recognises what it is sent twice. It covers which record it is, for which pipeline, by which
    /// mapping version, and the call's content with the record's version in it: stamps have a second's precision, and a
    /// second change within that second must not be taken for the first. Which run sends it is no part of it. De-duplication
    /// is global, over all sources: <https://segment.com/docs/connections/sources/catalog/libraries/server/http-api/#max-request-size>
    fn message_id(&self, content: &[u8]) -> [u8; 32] {
        let Provenance {
            pipeline,
            object,
            record_id,
            mapping,
            mapping_version,
            ..
        } = self.provenance;
        let mut hash = Sha256::new();
        for part in [pipeline, object, record_id, mapping, mapping_version] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        hash.update(content);
        hash.finalize().into()
    }

    fn origin(&self, out: &mut Vec<u8>) {
        let provenance = self.provenance;
        let parts: [(&[u8], &str); 7] = [
            (b",\"ferrygate\":{\"pipeline\":", provenance.pipeline),
            (b",\"stream\":", provenance.stream),
            (b",\"run\":", provenance.run),
            (b",\"mapping\":", provenance.mapping),
            (b",\"mappingVersion\":", provenance.mapping_version),
            (b",\"object\":", provenance.object),
            (b",\"recordId\":", provenance.record_id),
        ];
        for (name, part) in parts {
            out.extend_from_slice(name);
            json::text(out, part);
        }
        out.extend_from_slice(b",\"extractedAt\":");
        json::timestamp(out, provenance.extracted_at);
        out.push(b'}');
    }

    fn stamp(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b",\"timestamp\":");
        json::timestamp(out, self.provenance.stamp);
    }

    /// Each purpose once; a statement that denies outweighs one that grants. A suppressed person's are all denied, also those
    /// that the sink does not require: with one that is true, the CDP would still hand the person on to that category's
    /// destinations.
    /// <https://segment.com/docs/privacy/consent-management/consent-in-segment-connections/>
    fn consent(&self, out: &mut Vec<u8>) {
        let known = self.mapped.consent.as_slice();
        let denied = self.decision == Decision::Suppress;
        let granted = |purpose: &str| {
            let mut statements = known.iter().filter(|statement| statement.purpose == purpose);
            !denied && statements.all(Statement::is_granted)
        };
        let first = |position: usize, purpose: &str| known[..position].iter().all(|other| other.purpose != purpose);
        let once = known
            .iter()
            .enumerate()
            .filter(|(position, statement)| first(*position, statement.purpose));
        let suppressed = denied && self.mapped.entity == Entity::Person;
        let required = if suppressed { self.required } else { &[] };
        let unknown = required.iter().filter(|required| first(known.len(), required));
        let mut purposes = once
            .map(|(_, statement)| (statement.sent_as, granted(statement.purpose)))
            .chain(unknown.map(|required| (required.as_str(), false)))
            .peekable();
        if purposes.peek().is_some() {
            out.extend_from_slice(b"\"consent\":{\"categoryPreferences\":");
            json::flags(out, purposes);
            out.extend_from_slice(b"},");
        }
    }
}

fn identity<'a>(id: &'a Option<Cow<'_, str>>, name: &'static str) -> Result<&'a str, EncodeError> {
    id.as_deref()
        .filter(|id| !id.is_empty())
        .ok_or(EncodeError::NoIdentity(name))
}

/// <https://segment.com/docs/unify/identity-resolution/externalids/>
fn external_ids(out: &mut Vec<u8>, mapped: &Mapped<'_>) {
    if mapped.external_ids.is_empty() {
        return;
    }
    out.extend_from_slice(b"\"externalIds\":[");
    for (position, external) in mapped.external_ids.iter().enumerate() {
        out.extend_from_slice(if position == 0 {
            b"{\"id\":".as_slice()
        } else {
            b",{\"id\":"
        });
        json::text(out, &external.id);
        out.extend_from_slice(b",\"type\":");
        json::text(out, external.sent_as);
        out.extend_from_slice(b",\"collection\":\"users\",\"encoding\":\"none\"}");
    }
    out.extend_from_slice(b"],");
}
