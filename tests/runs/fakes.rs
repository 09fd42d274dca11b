//! A CRM and a CDP in the test's own process: small, and true to what the protocols promise as far as these tests go.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::jobs::{self, Jobs};
use crate::regulations::{self, Regulations};

const PAGE: usize = 500;

/// One contact of the CRM.
#[derive(Clone, Debug)]
pub struct Contact {
    pub id: String,
    /// In seconds since 1970, as `SystemModstamp` has it.
    pub modified: i64,
    pub deleted: bool,
    pub fields: Map<String, Value>,
}

impl Contact {
    /// What a query shows of a field.
    pub fn value(&self, field: &str) -> Value {
        match field {
            "Id" => json!(self.id),
            "IsDeleted" => json!(self.deleted),
            "SystemModstamp" => {
                let stamp = Timestamp::from_second(self.modified).expect("an instant");
                json!(format!("{stamp:.3}").replace('Z', "+0000"))
            }
            field => self.fields.get(field).cloned().unwrap_or(Value::Null),
        }
    }
}

/// Both services, on one port.
#[derive(Clone, Default)]
pub struct Fakes(Arc<Inner>);

#[derive(Default)]
struct Inner {
    contacts: Mutex<Vec<Contact>>,
    calls: Mutex<Vec<Value>>,
    batches: AtomicU64,
    /// How long the CDP takes to answer, in milliseconds.
    latency: AtomicU64,
    /// What the picklist `Stage__c` offers.
    stages: Mutex<Vec<String>>,
    /// What the CDP does with the next batches: whether it takes them before it fails.
    faults: Mutex<VecDeque<bool>>,
    /// The requests that the CDP has seen, and from which one on it never answers.
    requests: AtomicU64,
    silence: Mutex<Option<Silence>>,
    hung: Notify,
    regulations: Regulations,
    jobs: Jobs,
    /// When the oldest transaction began that is open in the CRM, in seconds since 1970; `None` where the CRM doesn't tell.
    covered: Mutex<Option<i64>>,
}

/// From a request on, the CDP never answers: what a run that is dropped then leaves is what a killed pod does.
#[derive(Clone, Copy, Debug)]
pub struct Silence {
    /// The number of the request, from 1.
    pub from: u64,
    /// Whether the CDP takes that request.
    pub taken: bool,
}

impl Fakes {
    /// Never answers from a request on, counted from now; with none, always answers.
    pub fn silent(&self, silence: Option<Silence>) {
        self.0.requests.store(0, Ordering::Relaxed);
        *self.0.silence.lock().expect("not poisoned") = silence;
    }

    /// Waits until a request gets no answer.
    pub async fn hung(&self) {
        self.0.hung.notified().await;
    }

    /// Counts a request that would change something, and never returns where it is not to be taken. Tells whether it gets no
    /// answer once it is.
    pub async fn heard(&self) -> bool {
        let number = self.0.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let silence = *self.0.silence.lock().expect("not poisoned");
        match silence {
            Some(Silence { from, taken }) if number > from || number == from && !taken => self.hang().await,
            Some(Silence { from, .. }) => number == from,
            None => false,
        }
    }

    /// Never answers.
    pub async fn hang<T>(&self) -> T {
        self.0.hung.notify_one();
        std::future::pending().await
    }

    pub fn regulations(&self) -> &Regulations {
        &self.0.regulations
    }

    /// Notes something among the calls that the CDP has taken.
    pub fn note(&self, what: Value) {
        self.0.calls.lock().expect("not poisoned").push(what);
    }

    /// Of these, who is in the CRM or goes on there as somebody else.
    pub fn living(&self, ids: &[String]) -> Vec<String> {
        let contacts = self.0.contacts.lock().expect("not poisoned");
        let lives = |contact: &&Contact| !contact.deleted || contact.fields.contains_key("MasterRecordId");
        let living = contacts
            .iter()
            .filter(|contact| ids.contains(&contact.id))
            .filter(lives);
        living.map(|contact| contact.id.clone()).collect()
    }

    /// Has the picklist `Stage__c` offer these values.
    pub fn offer(&self, stages: &[&str]) {
        let stages = stages.iter().map(|stage| (*stage).to_owned()).collect();
        *self.0.stages.lock().expect("not poisoned") = stages;
    }

    /// Serves on a free port until the runtime ends; returns the base URL.
    pub async fn serve(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let token = json!({"access_token": "00D-token", "instance_url": base, "token_type": "Bearer"});
        let router = Router::new()
            .route("/services/oauth2/token", post(async move || Json(token.clone())))
            .route("/services/data/v62.0/sobjects/Contact/describe", get(describe))
            .route("/services/data/v62.0/sobjects/Contact/updated/", get(updated))
            .route("/services/data/v62.0/query", get(query))
            .route("/services/data/v62.0/queryAll", get(query_all))
            .route("/v1/batch", post(batch))
            .with_state(self.clone())
            .merge(regulations::routes(self))
            .merge(jobs::routes(self));
        tokio::spawn(async move { axum::serve(listener, router).await });
        base
    }

    /// `count` contacts, each a second after the one before it; those whose number divides by 10 share the stamp of their
    /// predecessor.
    pub fn fill(&self, count: usize) {
        let start = Timestamp::now().as_second() - 200_000;
        let contacts = (0..count).map(|number| Contact {
            id: format!("003{number:015}"),
            modified: start
                + i64::try_from(if number % 10 == 0 {
                    number.saturating_sub(1)
                } else {
                    number
                })
                .expect("few"),
            deleted: false,
            fields: json!({
                "Email": format!("Person{number}@Example.com "),
                "Phone": "030 123456",
                "Stage__c": "new",
                "HasOptedOutOfEmail": false,
            })
            .as_object()
            .cloned()
            .expect("an object"),
        });
        *self.0.contacts.lock().expect("not poisoned") = contacts.collect();
    }

    /// Changes a contact, now.
    pub fn change(&self, number: usize, change: impl FnOnce(&mut Contact)) {
        let mut contacts = self.0.contacts.lock().expect("not poisoned");
        let contact = &mut contacts[number];
        contact.modified = Timestamp::now().as_second();
        change(contact);
    }

    /// The id of a contact.
    pub fn id(&self, number: usize) -> String {
        self.0.contacts.lock().expect("not poisoned")[number].id.clone()
    }

    /// Lets the CDP fail on the next batches, and on no others; where `taken`, it has taken the batch by then.
    pub fn fail(&self, taken: impl IntoIterator<Item = bool>) {
        *self.0.faults.lock().expect("not poisoned") = taken.into_iter().collect();
    }

    /// Changes a contact, and its stamp does not tell.
    pub fn change_unseen(&self, number: usize, change: impl FnOnce(&mut Contact)) {
        change(&mut self.0.contacts.lock().expect("not poisoned")[number]);
    }

    /// Removes a contact, from the recycle bin as well.
    pub fn remove(&self, number: usize) {
        self.0.contacts.lock().expect("not poisoned").remove(number);
    }

    /// Makes the CDP slow.
    pub fn slow(&self, latency: Duration) {
        let latency = u64::try_from(latency.as_millis()).expect("short");
        self.0.latency.store(latency, Ordering::Relaxed);
    }

    /// How many batches the CDP has taken.
    pub fn batches(&self) -> u64 {
        self.0.batches.load(Ordering::Relaxed)
    }

    /// The calls that the CDP has taken, and forgets them.
    pub fn take_calls(&self) -> Vec<Value> {
        std::mem::take(&mut *self.0.calls.lock().expect("not poisoned"))
    }

    /// From now on the CRM tells that a transaction is open which began when this contact was modified.
    pub fn open_transaction(&self, number: usize) {
        let modified = self.modified(number);
        *self.0.covered.lock().expect("not poisoned") = Some(modified);
    }

    /// When a contact was modified, in seconds since 1970.
    pub fn modified(&self, number: usize) -> i64 {
        self.0.contacts.lock().expect("not poisoned")[number].modified
    }

    /// The CRM's query jobs.
    pub fn jobs(&self) -> &Jobs {
        &self.0.jobs
    }

    /// All contacts that a query selects, in keyset order.
    pub fn selected(&self, soql: &str, deleted: bool) -> Vec<Contact> {
        let (total, _) = self.select(soql, deleted, 0);
        let pages = (0..total)
            .step_by(PAGE)
            .map(|offset| self.select(soql, deleted, offset).1);
        pages.flatten().collect()
    }

    /// How many contacts a query selects, and a page of them in keyset order.
    fn select(&self, soql: &str, deleted: bool, offset: usize) -> (usize, Vec<Contact>) {
        let words: Vec<&str> = soql.split_whitespace().collect();
        let after = |sign: &str| {
            let place = words.windows(2).position(|pair| pair == ["SystemModstamp", sign])?;
            words[place + 2].parse::<Timestamp>().ok().map(Timestamp::as_second)
        };
        let contacts = self.0.contacts.lock().expect("not poisoned");
        let mut contacts: Vec<&Contact> = contacts.iter().collect();
        contacts.retain(|contact| deleted || !contact.deleted);
        if let Some(place) = words.iter().position(|word| *word == "IN") {
            contacts.retain(|contact| words[place + 1].contains(&format!("'{}'", contact.id)));
        }
        if let Some(from) = after(">=") {
            contacts.retain(|contact| contact.modified >= from);
        }
        if let Some(from) = after(">") {
            contacts.retain(|contact| contact.modified > from);
        }
        if let Some((_, ids)) = soql.split_once(" WHERE Id IN (") {
            contacts.retain(|contact| ids.contains(&format!("'{}'", contact.id)));
        }
        contacts.sort_by(|left, right| (left.modified, &left.id).cmp(&(right.modified, &right.id)));
        (
            contacts.len(),
            contacts.into_iter().skip(offset).take(PAGE).cloned().collect(),
        )
    }

    fn answer(&self, parameters: &BTreeMap<String, String>, deleted: bool) -> Response {
        let soql = &parameters["q"];
        let offset: usize = parameters
            .get("offset")
            .map_or(0, |offset| offset.parse().expect("a number"));
        let (total, contacts) = self.select(soql, deleted, offset);
        if soql.starts_with("SELECT COUNT()") {
            let total = self.jobs().counted(soql, deleted).unwrap_or(total);
            return Json(json!({"totalSize": total, "done": true, "records": []})).into_response();
        }
        let columns: Vec<&str> = soql["SELECT ".len()..]
            .split(" FROM ")
            .next()
            .unwrap_or_default()
            .split(',')
            .collect();
        let records: Vec<Value> = contacts
            .iter()
            .map(|contact| {
                let mut record = Map::new();
                record.insert(
                    "attributes".into(),
                    json!({"type": "Contact", "url": format!("/c/{}", contact.id)}),
                );
                for column in &columns {
                    record.insert((*column).to_owned(), contact.value(column));
                }
                Value::Object(record)
            })
            .collect();
        let next = offset + records.len();
        let mut page = json!({"totalSize": total, "done": next >= total, "records": records});
        if next < total {
            let resource = if deleted { "queryAll" } else { "query" };
            let soql = soql.replace(' ', "+").replace('>', "%3E").replace('=', "%3D");
            page["nextRecordsUrl"] = json!(format!("/services/data/v62.0/{resource}?offset={next}&q={soql}"));
        }
        Json(page).into_response()
    }
}

async fn query(State(fakes): State<Fakes>, Query(parameters): Query<BTreeMap<String, String>>) -> Response {
    fakes.answer(&parameters, false)
}

async fn query_all(State(fakes): State<Fakes>, Query(parameters): Query<BTreeMap<String, String>>) -> Response {
    fakes.answer(&parameters, true)
}

async fn describe(State(fakes): State<Fakes>) -> Json<Value> {
    let stages = fakes.0.stages.lock().expect("not poisoned").clone();
    let values = |name: &str| match name {
        "Stage__c" => stages
            .iter()
            .map(|value| json!({"value": value, "active": true}))
            .collect(),
        _ => Vec::new(),
    };
    let field = |(name, kind): (&str, &str)| json!({"name": name, "type": kind, "length": 80, "filterable": true, "picklistValues": values(name)});
    let fields = [
        ("Id", "id"),
        ("IsDeleted", "boolean"),
        ("SystemModstamp", "datetime"),
        ("Email", "email"),
        ("Phone", "phone"),
        ("Stage__c", "picklist"),
        ("HasOptedOutOfEmail", "boolean"),
        ("MasterRecordId", "reference"),
        ("Consented__c", "datetime"),
    ];
    let replicateable = fakes.0.covered.lock().expect("not poisoned").is_some();
    Json(json!({"name": "Contact", "replicateable": replicateable, "fields": fields.map(field)}))
}

async fn updated(State(fakes): State<Fakes>) -> Json<Value> {
    let covered = fakes
        .0
        .covered
        .lock()
        .expect("not poisoned")
        .expect("a replicateable object");
    let covered = Timestamp::from_second(covered).expect("an instant");
    Json(json!({"ids": [], "latestDateCovered": format!("{covered:.3}").replace('Z', "+0000")}))
}

async fn batch(State(fakes): State<Fakes>, Json(body): Json<Value>) -> Response {
    let latency = fakes.0.latency.load(Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(latency)).await;
    let hangs = fakes.heard().await;
    let fault = fakes.0.faults.lock().expect("not poisoned").pop_front();
    if fault != Some(false) {
        let mut calls = body["batch"].as_array().cloned().unwrap_or_default();
        calls
            .iter_mut()
            .for_each(|call| call["sentAt"] = body["sentAt"].clone());
        fakes.0.calls.lock().expect("not poisoned").extend(calls);
        fakes.0.batches.fetch_add(1, Ordering::Relaxed);
    }
    if hangs {
        fakes.hang::<()>().await;
    }
    if fault.is_some() {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    (StatusCode::OK, Json(json!({"success": true}))).into_response()
}

/// Writes the manifests of a pipeline from this CRM to this CDP into a folder.
pub fn write_manifests(folder: &Path, base: &str) {
    let manifests = MANIFESTS.replace("BASE", base);
    std::fs::write(folder.join("all.yaml"), manifests).expect("written");
}

const MANIFESTS: &str = r#"
apiVersion: v1
kind: Secret
metadata: {name: credentials}
stringData: {clientId: client, clientSecret: secret, writeKey: write-key}
---
apiVersion: ferrygate.io/v1alpha1
kind: CrmSource
metadata: {name: crm}
spec:
  salesforce:
    instanceUrl: BASE
    allowPlaintext: true
    auth:
      clientCredentials:
        clientId: {secretKeyRef: {name: credentials, key: clientId}}
        clientSecret: {secretKeyRef: {name: credentials, key: clientSecret}}
---
apiVersion: ferrygate.io/v1alpha1
kind: CdpSink
metadata: {name: cdp}
spec:
  segment:
    endpoint: BASE/v1
    allowPlaintext: true
    writeKey: {secretKeyRef: {name: credentials, key: writeKey}}
  identity: {userId: crm_id}
  consent: {require: [marketing_email]}
---
apiVersion: ferrygate.io/v1alpha1
kind: MappingVersion
metadata: {name: customer-1.0.0}
spec:
  mapping: customer
  version: 1.0.0
  objects:
  - object: Contact
    entity: Person
    identity: [{kind: crm_id, from: Id}]
    traits:
    - {trait: email, from: Email, type: String, transforms: [{trim: {}}, {lower: {}}], classification: Personal}
    - {trait: phone, from: Phone, type: String, transforms: [{e164: {default: DE}}], classification: Personal}
    events:
    - {name: Stage Changed, when: {changed: Stage__c}, properties: [{property: stage, from: Stage__c, type: String}]}
    consent:
    - {purpose: marketing_email, from: HasOptedOutOfEmail, granted: value == false}
---
apiVersion: ferrygate.io/v1alpha1
kind: SyncPipeline
metadata: {name: customers}
spec:
  sourceRef: {name: crm}
  sinkRef: {name: cdp}
  mappingRef: {name: customer, version: "^1"}
  streams:
  - {name: contacts, object: Contact, schedule: {every: 5m}, deletes: Suppress}
"#;
