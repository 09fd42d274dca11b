//! What a mapping makes of an example's record, as JSON.

use std::borrow::Cow;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::example::{Example, field};
use crate::api::mapping_version::{Entity, MappingVersionSpec, ObjectMapping};
use crate::api::{CdpSinkSpec, Classification};
use crate::consent::{Decision, Gate};
use crate::mapping::{Mapped, MappedEvent, Plan, Rejection, Trigger};
use crate::record::{Field, Record};
use crate::sink::segment::json::typed;

/// What became of a record.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The items, by the names of an example's parts.
    Mapped(Map<String, Value>),
    /// A rule rejected it.
    Rejected(Rejection),
}

/// A sink that takes every identity of an object and may hold every trait.
pub(super) fn canonical_sink(spec: &MappingVersionSpec, object: &str) -> Result<CdpSinkSpec, String> {
    let Some(mapping) = spec.objects.iter().find(|mapping| mapping.object == object) else {
        let there: Vec<&str> = spec.objects.iter().map(|mapping| mapping.object.as_str()).collect();
        return Err(format!(
            "object: the mapping has no object {object:?}; it has {}",
            there.join(", ")
        ));
    };
    let own = mapping.identity.first().map(|identity| &identity.kind);
    let subject = mapping.subject.as_ref().map(|subject| &subject.kind);
    let group = mapping.group.as_ref().map(|group| &group.kind);
    let (user, group) = match mapping.entity {
        Entity::Person => (own, group),
        Entity::Account => (subject.or(own), own),
        Entity::Deal => (subject, None),
        Entity::Membership => (subject, group),
    };
    let others = mapping.identity.iter().map(|identity| &identity.kind);
    let others: Vec<&String> = others.filter(|kind| Some(*kind) != user).collect();
    let sink = json!({
        "identity": {"userId": user, "groupId": group, "externalIds": others},
        "maxClassification": Classification::Sensitive,
    });
    serde_json::from_value(sink).map_err(|error| error.to_string())
}

/// Maps an example's record.
///
/// # Errors
/// Where the record is none that a CRM could send.
pub(super) fn map(
    example: &Example,
    plan: &Plan,
    sink: &CdpSinkSpec,
    spec: &MappingVersionSpec,
) -> Result<Outcome, String> {
    let stamp = example.modified.unwrap_or(Timestamp::UNIX_EPOCH);
    let now = fields_of(&example.record, plan)?;
    let fields: Vec<Field<'_>> = now.iter().map(Owned::field).collect();
    let record = Record {
        id: Cow::Borrowed("example"),
        stamp,
        deleted: example.deleted,
        fields: &fields,
    };
    let before = match &example.previous {
        Some(previous) => Some(fields_of(previous, plan)?),
        None => None,
    };
    let before: Option<Vec<Field<'_>>> = before.as_ref().map(|owned| owned.iter().map(Owned::field).collect());
    let before = before.as_ref().map(|fields| Record {
        id: Cow::Borrowed("example"),
        stamp,
        deleted: false,
        fields,
    });
    // What was rejected was not delivered, so that this is the first time.
    let delivered = before.as_ref().and_then(|before| plan.map(before).ok());
    let mapped = if example.deleted {
        plan.map_deleted(&record)
    } else {
        plan.map(&record)
    };
    let object = spec.objects.iter().find(|mapping| mapping.object == example.object);
    Ok(match mapped {
        Ok(mut mapped) => {
            let now = example.now.unwrap_or_else(|| latest(stamp, &mapped));
            let (entity, deleted) = (mapped.entity, example.deleted);
            let ruling = Gate::new(sink).decide(entity, &mut mapped.consent, deleted, now);
            let mut items = items(&mapped, delivered.as_ref(), object, sink);
            items.insert("suppressed".to_owned(), json!(ruling.decision == Decision::Suppress));
            Outcome::Mapped(items)
        }
        Err(rejection) => Outcome::Rejected(rejection),
    })
}

/// The clock where an example states none.
fn latest(modified: Timestamp, mapped: &Mapped<'_>) -> Timestamp {
    let evidence = mapped.consent.iter().filter_map(|statement| statement.evidence);
    evidence.fold(modified, Timestamp::max)
}

/// The parts of an example, from what was mapped. `delivered` is the record at its last delivery.
fn items(
    mapped: &Mapped<'_>,
    delivered: Option<&Mapped<'_>>,
    object: Option<&ObjectMapping>,
    sink: &CdpSinkSpec,
) -> Map<String, Value> {
    let mut identity: Map<String, Value> = mapped
        .external_ids
        .iter()
        .map(|external| (external.sent_as.to_owned(), json!(external.id)))
        .collect();
    let (mut group, mut subject) = (Value::Null, Value::Null);
    let mut own = |kind: Option<&String>, id: &Option<Cow<'_, str>>| {
        if let (Some(kind), Some(id)) = (kind, id) {
            identity.insert(kind.clone(), json!(id));
        }
    };
    match mapped.entity {
        Entity::Person => {
            own(Some(&sink.identity.user_id), &mapped.user_id);
            group = json!(mapped.group_id);
        }
        Entity::Account => {
            own(sink.identity.group_id.as_ref(), &mapped.group_id);
            if object.is_some_and(|object| object.subject.is_some()) {
                subject = json!(mapped.user_id);
            }
        }
        Entity::Deal => subject = json!(mapped.user_id),
        Entity::Membership => {
            subject = json!(mapped.user_id);
            group = json!(mapped.group_id);
        }
    }
    let traits = mapped
        .traits
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value_of(value)));
    let consent = mapped
        .consent
        .iter()
        .map(|statement| (statement.purpose.to_owned(), json!(statement.is_granted())));
    let denied = mapped.consent.iter().filter_map(|statement| {
        let denial = statement.granted.err()?;
        Some((statement.purpose.to_owned(), json!(denial.to_string())))
    });
    let events = mapped.events.iter().filter(|event| fires(event, delivered)).map(event);
    let parts = [
        ("identity", Value::Object(identity)),
        ("group", group),
        ("subject", subject),
        ("traits", traits.collect::<Map<_, _>>().into()),
        ("consent", consent.collect::<Map<_, _>>().into()),
        ("denied", denied.collect::<Map<_, _>>().into()),
        ("events", events.collect::<Vec<_>>().into()),
    ];
    parts.into_iter().map(|(name, part)| (name.to_owned(), part)).collect()
}

/// Whether an event happens, as a run decides it.
fn fires(event: &MappedEvent<'_>, delivered: Option<&Mapped<'_>>) -> bool {
    let Some(delivered) = delivered else { return true };
    let before = delivered.events.iter().find(|before| before.name == event.name);
    match event.trigger {
        Trigger::Created => false,
        Trigger::Changed { .. } => before.is_some_and(|before| before.trigger != event.trigger),
    }
}

fn event(event: &MappedEvent<'_>) -> Value {
    let properties = event.properties.iter();
    let properties: Map<_, _> = properties
        .map(|(name, value)| ((*name).to_owned(), value_of(value)))
        .collect();
    json!({"name": event.sent_as, "at": event.at.to_string(), "properties": properties})
}

/// A value as it is delivered.
fn value_of(value: &crate::mapping::Value<'_>) -> Value {
    let mut bytes = Vec::new();
    typed(&mut bytes, value);
    serde_json::from_slice(&bytes).unwrap_or_default()
}

/// A field's value, with the text that a record borrows.
enum Owned {
    Null,
    Text(String),
    Number(String),
    Boolean(bool),
}

impl Owned {
    fn field(&self) -> Field<'_> {
        match self {
            Owned::Null => Field::Null,
            Owned::Text(text) => Field::Text(Cow::Borrowed(text)),
            Owned::Number(digits) => Field::Number(digits),
            Owned::Boolean(flag) => Field::Boolean(*flag),
        }
    }
}

/// The fields that a plan reads, in its order.
fn fields_of(record: &Map<String, Value>, plan: &Plan) -> Result<Vec<Owned>, String> {
    let read = |name: &String| match field(record, name) {
        None | Some(Value::Null) => Ok(Owned::Null),
        Some(Value::String(text)) => Ok(Owned::Text(text.clone())),
        Some(Value::Number(number)) => Ok(Owned::Number(number.to_string())),
        Some(Value::Bool(flag)) => Ok(Owned::Boolean(*flag)),
        Some(_) => Err(format!("record.{name}: a field is text, a number, true, false or null")),
    };
    plan.fields().iter().map(read).collect()
}
