//! What the workspace has received: events in order, once for each `messageId`, and what was refused.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::event::{Head, Kind, Refusal, corrected, instant};

/// How many refusals are remembered one by one; the counts know them all.
const REMEMBERED: usize = 10_000;

#[derive(Debug)]
pub struct Event {
    pub kind: Kind,
    user: Option<Box<str>>,
    message: Box<str>,
    received: Timestamp,
    sent: Option<Timestamp>,
    original: Option<Timestamp>,
    /// The event as it came.
    body: Box<str>,
    /// `context` and `integrations` of the batch that it came in.
    shared: Option<Arc<Map<String, Value>>>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Refused {
    pub reason: Refusal,
    pub message_id: Option<String>,
    pub user_id: Option<String>,
}

#[derive(Debug, Default)]
struct Kept {
    requests: u64,
    accepted: u64,
    duplicates: u64,
    by_type: BTreeMap<&'static str, u64>,
    by_reason: BTreeMap<Refusal, u64>,
    refused: Vec<Refused>,
    seen: HashSet<u128>,
    events: Vec<Event>,
    by_user: HashMap<Box<str>, Vec<u32>>,
    suppressed: HashSet<String>,
}

/// `received = accepted + rejected`, `accepted = distinct + duplicates`; `byType` counts the distinct ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    pub requests: u64,
    pub received: u64,
    pub accepted: u64,
    pub distinct: u64,
    pub duplicates: u64,
    pub rejected: u64,
    pub by_type: BTreeMap<String, u64>,
    pub by_reason: BTreeMap<String, u64>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Filter {
    pub user_id: Option<String>,
    #[serde(rename = "type")]
    pub kind: Option<Kind>,
    pub message_id: Option<String>,
    pub offset: usize,
    pub limit: Option<usize>,
}

#[derive(Debug)]
pub struct Store {
    kept: Mutex<Kept>,
    /// Beyond these, events are counted and known by their `messageId`, but not kept.
    most_events: usize,
}

/// What all events of a request share.
pub struct Delivery {
    pub received: Timestamp,
    pub sent: Option<Timestamp>,
    pub shared: Option<Arc<Map<String, Value>>>,
}

impl Store {
    pub fn new(most_events: usize) -> Self {
        Self {
            kept: Mutex::default(),
            most_events,
        }
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn count_request(&self) {
        self.kept().requests += 1;
    }

    pub fn reset(&self) {
        *self.kept() = Kept::default();
    }

    pub fn refuse(&self, reason: Refusal, head: Option<&Head<'_>>) {
        let mut kept = self.kept();
        *kept.by_reason.entry(reason).or_default() += 1;
        if kept.refused.len() < REMEMBERED {
            let message_id = head.and_then(|head| head.message_id.as_deref()).map(str::to_owned);
            let user_id = head.and_then(|head| head.user_id.as_deref()).map(str::to_owned);
            kept.refused.push(Refused {
                reason,
                message_id,
                user_id,
            });
        }
    }

    /// Takes an event, unless one of its `messageId` was taken before: over all sources, and without end.
    /// <https://segment.com/docs/guides/duplicate-data/>
    pub fn accept(&self, kind: Kind, head: &Head<'_>, body: &str, delivery: &Delivery) {
        let mut kept = self.kept();
        kept.accepted += 1;
        // An event without an id is given one.
        let message = match head.message_id.as_deref() {
            Some(id) => id.to_owned(),
            None => format!("api-{}", kept.accepted),
        };
        if !kept.seen.insert(hash(&message)) {
            kept.duplicates += 1;
            return;
        }
        *kept.by_type.entry(kind.name()).or_default() += 1;
        if kept.events.len() >= self.most_events {
            return;
        }
        let user: Option<Box<str>> = head.user_id.as_deref().map(Into::into);
        let place = u32::try_from(kept.events.len()).unwrap_or(u32::MAX);
        if let Some(user) = &user {
            kept.by_user.entry(user.clone()).or_default().push(place);
        }
        kept.events.push(Event {
            kind,
            user,
            message: message.into(),
            received: delivery.received,
            sent: instant(head.sent_at.as_deref()).or(delivery.sent),
            original: instant(head.original_timestamp.as_deref().or(head.timestamp.as_deref())),
            body: body.into(),
            shared: delivery.shared.clone(),
        });
    }

    pub fn counts(&self) -> Counts {
        let kept = self.kept();
        let rejected = kept.by_reason.values().sum();
        Counts {
            requests: kept.requests,
            received: kept.accepted + rejected,
            accepted: kept.accepted,
            distinct: kept.accepted - kept.duplicates,
            duplicates: kept.duplicates,
            rejected,
            by_type: kept
                .by_type
                .iter()
                .map(|(kind, count)| ((*kind).to_owned(), *count))
                .collect(),
            by_reason: kept
                .by_reason
                .iter()
                .map(|(reason, count)| (name(*reason), *count))
                .collect(),
        }
    }

    pub fn refused(&self) -> Vec<Refused> {
        self.kept().refused.clone()
    }

    /// `{"matching": n, "events": […]}`, oldest first, each as Segment passes it on.
    pub fn events(&self, filter: &Filter) -> Value {
        let kept = self.kept();
        let of_user: Option<Vec<u32>> = filter
            .user_id
            .as_ref()
            .map(|user| kept.by_user.get(user.as_str()).cloned().unwrap_or_default());
        let all = 0..u32::try_from(kept.events.len()).unwrap_or(u32::MAX);
        let matching: Vec<&Event> = of_user
            .unwrap_or_else(|| all.collect())
            .into_iter()
            .map(|place| &kept.events[place as usize])
            .filter(|event| filter.kind.is_none_or(|kind| kind == event.kind))
            .filter(|event| filter.message_id.as_ref().is_none_or(|id| **id == *event.message))
            .collect();
        let page = matching.iter().skip(filter.offset).take(filter.limit.unwrap_or(100));
        json!({"matching": matching.len(), "events": page.map(|event| event.whole()).collect::<Vec<_>>()})
    }

    /// The profile that the user's events make, in the order in which they were received.
    pub fn profile(&self, user: &str) -> Option<Value> {
        let kept = self.kept();
        let places = kept.by_user.get(user)?;
        let mut profile = Profile::default();
        for place in places {
            profile.add(&kept.events[*place as usize]);
        }
        Some(json!({
            "userId": user,
            "anonymousIds": profile.anonymous,
            "traits": profile.traits,
            "consent": profile.consent,
            "externalIds": profile.external_ids,
            "groups": profile.groups,
            "events": profile.events,
            "lastMessageId": profile.last_message,
        }))
    }

    /// Forgets what the user's events held, and who they were of.
    pub fn erase(&self, user: &str) {
        let mut kept = self.kept();
        let kept = &mut *kept;
        for place in kept.by_user.remove(user).unwrap_or_default() {
            let event = &mut kept.events[place as usize];
            (event.user, event.body, event.shared) = (None, "{}".into(), None);
        }
    }

    /// Has a user's events be lost from now on, or taken again.
    pub fn suppress(&self, user: &str, suppressed: bool) {
        let mut kept = self.kept();
        if suppressed {
            kept.suppressed.insert(user.to_owned());
        } else {
            kept.suppressed.remove(user);
        }
    }

    pub fn is_suppressed(&self, user: &str) -> bool {
        self.kept().suppressed.contains(user)
    }

    /// The users that any event named, in no order.
    pub fn users(&self) -> Vec<String> {
        self.kept().by_user.keys().map(|user| user.to_string()).collect()
    }
}

#[derive(Default)]
struct Profile {
    anonymous: Vec<Value>,
    traits: Map<String, Value>,
    consent: Value,
    external_ids: Vec<Value>,
    groups: BTreeMap<String, Map<String, Value>>,
    events: BTreeMap<&'static str, u64>,
    last_message: String,
}

impl Profile {
    fn add(&mut self, event: &Event) {
        *self.events.entry(event.kind.name()).or_default() += 1;
        self.last_message = event.message.to_string();
        let whole = event.whole();
        let object = |value: &Value| value.as_object().cloned().unwrap_or_default();
        let context = &whole["context"];
        remember(&mut self.anonymous, whole.get("anonymousId").filter(|id| !id.is_null()));
        for id in context["externalIds"].as_array().into_iter().flatten() {
            remember(&mut self.external_ids, Some(id));
        }
        if let Some(consent) = context.get("consent") {
            self.consent = consent.clone();
        }
        match event.kind {
            Kind::Identify => self.traits.extend(object(&whole["traits"])),
            Kind::Group => {
                let group = whole["groupId"]
                    .as_str()
                    .map_or_else(|| whole["groupId"].to_string(), str::to_owned);
                self.groups.entry(group).or_default().extend(object(&whole["traits"]));
            }
            _ => {}
        }
    }
}

fn remember(known: &mut Vec<Value>, value: Option<&Value>) {
    if let Some(value) = value.filter(|value| !known.contains(value)) {
        known.push(value.clone());
    }
}

impl Event {
    /// The event as it is passed on: with its batch's context, and with the four timestamps.
    fn whole(&self) -> Value {
        let mut event: Map<String, Value> = serde_json::from_str(&self.body).unwrap_or_default();
        for (name, shared) in self.shared.iter().flat_map(|shared| shared.iter()) {
            let own = event.get(name).and_then(Value::as_object).cloned().unwrap_or_default();
            let mut merged = shared.as_object().cloned().unwrap_or_default();
            merged.extend(own);
            event.insert(name.clone(), Value::Object(merged));
        }
        event.remove("writeKey");
        let timestamp = corrected(self.received, self.sent, self.original);
        event.insert("type".into(), json!(self.kind));
        event.insert("messageId".into(), json!(self.message));
        event.insert("receivedAt".into(), json!(self.received));
        event.insert("sentAt".into(), json!(self.sent));
        event.insert("originalTimestamp".into(), json!(self.original));
        event.insert("timestamp".into(), json!(timestamp));
        if let Some(user) = &self.user {
            event.insert("userId".into(), json!(user));
        }
        Value::Object(event)
    }
}

fn name(reason: Refusal) -> String {
    json!(reason).as_str().unwrap_or_default().to_owned()
}

/// Enough bits that two ids of a test never meet.
fn hash(message: &str) -> u128 {
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (salt, message).hash(&mut hasher);
        u128::from(hasher.finish())
    };
    half(0) << 64 | half(1)
}
