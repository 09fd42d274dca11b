//! The control interface, under `/_control/`: how a test arranges the org. It is no part of the CRM's protocol, needs no
//! session, and counts against no quota.
//!
//! | request | body → answer |
//! | --- | --- |
//! | `GET /_control/state` | → `{now, records: {Contact: {live, deleted}}, sessions, quota: {used, allowed}, openTransactions}` |
//! | `POST /_control/seed` | `{"contacts": 20000, "accounts": 2000, "leads": 0, "opportunities": 0, "randomSeed": 1, "from": "…Z", "to": "…Z", "tie": {"position": 1999, "records": 3}}` → what was made |
//! | `POST /_control/changes` | `{"at": "…Z", "changes": [CHANGE, …]}` → `{"ids": […]}`; `at` is the stamp, now when left out |
//! | `GET /_control/records/{id}` | → the record, with all its fields |
//! | `POST /_control/transactions` | `{"name": "late", "started": "…Z", "changes": [CHANGE, …]}`: not seen until committed; `started` is now when left out |
//! | `POST /_control/transactions/{name}/commit` | → `{"ids": […]}`; the records carry the stamp of the start |
//! | `DELETE /_control/transactions/{name}` | rolled back |
//! | `POST /_control/fields` | `{"object": "Contact", "name": "Shoe_Size__c", "type": "double", "label": "Shoe Size", "length": 0}` |
//! | `DELETE /_control/fields/{object}/{name}` | the field vanishes from the schema |
//! | `PUT /_control/clock` | `{"fixed": "…Z"}`, `{"offsetSeconds": -3600}`, or `{}` for the real time |
//! | `POST /_control/sessions/expire` | → `{"expired": 2}` |
//! | `PUT /_control/quota` | `{"used": 15000, "allowed": 15000}`, either one |
//! | `PUT /_control/bulk` | `{"notServed": ["Contact"], "held": true, "fails": "InternalServerError: …", "jobsLeft": 0, "megabytesLeft": 0, "largestPart": 500}`, any of them: see [`bulk`](super::bulk) |
//! | `DELETE /_control/bulk` | every query job is gone |
//! | `PUT /_control/credentials` | `{"revoked": true}`, or any of `clientId`, `clientSecret`, `username`, `publicKey` |
//! | `POST /_control/reset` | an empty org; sessions stay |
//! | `/_control/faults`, `/_control/requests` | see [`faults`](super::super::faults), [`received`](super::super::received) |
//!
//! A `CHANGE` is `{"op": "create", "object": "Contact", "fields": {"LastName": "Kim"}}`, `{"op": "update", "id": "003…",
//! "fields": {…}}`, `{"op": "delete", "id": "003…"}`, `{"op": "undelete", …}`, or `{"op": "merge", "id": "003…", "into":
//! "003…"}`. It is made as it says: invalid emails and missing required fields are stored, which an older integration
//! could have left behind; only types and names are checked.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::routing::{delete, get, post, put};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::{ApiError, Result};
use super::id::RecordId;
use super::org::{Change, Org, Transaction, known};
use super::schema::{Field, FieldType};
use super::seed::{Seed, Seeded, seed};
use super::soql;
use super::time::{Millis, datetime, parse_datetime};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Changes {
    at: Option<String>,
    changes: Vec<Change>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewTransaction {
    name: String,
    started: Option<String>,
    changes: Vec<Change>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewField {
    object: String,
    name: String,
    #[serde(rename = "type")]
    kind: FieldType,
    label: Option<String>,
    length: Option<usize>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ClockSetting {
    fixed: Option<String>,
    #[serde(default)]
    offset_seconds: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct QuotaSetting {
    used: Option<u64>,
    allowed: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CredentialsSetting {
    revoked: Option<bool>,
    client_id: Option<String>,
    client_secret: Option<String>,
    username: Option<String>,
    public_key: Option<String>,
}

pub fn routes(org: &Arc<Org>) -> Router {
    Router::new()
        .route("/_control/state", get(state))
        .route("/_control/seed", post(fill))
        .route("/_control/changes", post(change))
        .route("/_control/records/{id}", get(record))
        .route("/_control/transactions", post(begin))
        .route("/_control/transactions/{name}", delete(roll_back))
        .route("/_control/transactions/{name}/commit", post(commit))
        .route("/_control/fields", post(add_field))
        .route("/_control/fields/{object}/{name}", delete(remove_field))
        .route("/_control/clock", put(set_clock))
        .route("/_control/sessions/expire", post(expire))
        .route("/_control/quota", put(set_quota))
        .route("/_control/bulk", put(set_bulk).delete(lose_bulk))
        .route("/_control/credentials", put(set_credentials))
        .route("/_control/reset", post(async |State(org): State<Arc<Org>>| org.reset()))
        .with_state(org.clone())
}

async fn state(State(org): State<Arc<Org>>) -> Json<Value> {
    let (used, allowed) = org.quota.used_and_allowed();
    let open: BTreeMap<String, String> = org
        .open_transactions()
        .into_iter()
        .map(|(name, started)| (name, datetime(started)))
        .collect();
    let data = org.read();
    let counts = |table: &super::data::Table| {
        let deleted = table.rows.iter().filter(|row| row.deleted).count();
        (
            table.schema.name.clone(),
            json!({"live": table.rows.len() - deleted, "deleted": deleted}),
        )
    };
    let records: BTreeMap<String, Value> = data.tables.iter().map(counts).collect();
    Json(json!({
        "now": datetime(org.now()),
        "records": records,
        "sessions": org.sessions.count(),
        "quota": {"used": used, "allowed": allowed},
        "openTransactions": open,
    }))
}

async fn fill(State(org): State<Arc<Org>>, Json(what): Json<Seed>) -> Json<Seeded> {
    let now = org.now();
    Json(seed(&mut org.write(), &what, now))
}

async fn change(State(org): State<Arc<Org>>, Json(what): Json<Changes>) -> Result<Json<Value>> {
    let at = instant(&org, what.at.as_deref())?;
    let ids = what
        .changes
        .iter()
        .map(|change| org.change(change, at))
        .collect::<Result<Vec<_>>>()?;
    Ok(listed(&ids))
}

async fn record(State(org): State<Arc<Org>>, Path(id): Path<String>) -> Result<Json<Value>> {
    let data = org.read();
    let (table, id) = known(&data, &id)?;
    let schema = &data.tables[table].schema;
    let fields: Vec<&str> = schema.fields.iter().map(|field| field.name.as_str()).collect();
    let text = format!("SELECT {} FROM {}", fields.join(","), schema.name);
    let plan = soql::bind(&data, &text, &soql::parse(&text)?, org.now())?;
    let mut body = Vec::new();
    if let (soql::Output::Records(columns), Some(row)) = (&plan.output, data.tables[table].row(id)) {
        soql::write_record(&data, table, row, columns, "v62.0", &mut body);
    }
    serde_json::from_slice(&body)
        .map(Json)
        .map_err(|error| ApiError::unparsable_json(error.to_string()))
}

async fn begin(State(org): State<Arc<Org>>, Json(new): Json<NewTransaction>) -> Result<Json<Value>> {
    let started = instant(&org, new.started.as_deref())?;
    org.begin(
        &new.name,
        Transaction {
            started,
            changes: new.changes,
        },
    );
    Ok(Json(json!({"name": new.name, "started": datetime(started)})))
}

async fn commit(State(org): State<Arc<Org>>, Path(name): Path<String>) -> Result<Json<Value>> {
    org.commit(&name).map(|ids| listed(&ids))
}

async fn roll_back(State(org): State<Arc<Org>>, Path(name): Path<String>) -> Result<()> {
    if org.roll_back(&name) {
        Ok(())
    } else {
        Err(ApiError::no_such_record(&name))
    }
}

async fn add_field(State(org): State<Arc<Org>>, Json(new): Json<NewField>) -> Result<()> {
    let mut field = Field::new(&new.name, new.label.as_deref().unwrap_or(&new.name), new.kind);
    if let Some(length) = new.length {
        field = field.length(length);
    }
    let mut data = org.write();
    let table = data.table_mut(&new.object).ok_or_else(ApiError::not_found)?;
    table.schema.add(field);
    Ok(())
}

async fn remove_field(State(org): State<Arc<Org>>, Path((object, name)): Path<(String, String)>) -> Result<()> {
    let mut data = org.write();
    let table = data.table_mut(&object).ok_or_else(ApiError::not_found)?;
    if table.schema.remove(&name) {
        Ok(())
    } else {
        Err(ApiError::not_found())
    }
}

async fn set_clock(State(org): State<Arc<Org>>, Json(setting): Json<ClockSetting>) -> Result<Json<Value>> {
    let fixed = setting
        .fixed
        .as_deref()
        .map(|text| instant(&org, Some(text)))
        .transpose()?;
    org.set_clock(fixed, setting.offset_seconds.saturating_mul(1000));
    Ok(Json(json!({"now": datetime(org.now())})))
}

async fn expire(State(org): State<Arc<Org>>) -> Json<Value> {
    Json(json!({"expired": org.sessions.end_all()}))
}

async fn set_quota(State(org): State<Arc<Org>>, Json(setting): Json<QuotaSetting>) -> Json<Value> {
    org.quota.set(setting.used, setting.allowed);
    let (used, allowed) = org.quota.used_and_allowed();
    Json(json!({"used": used, "allowed": allowed}))
}

async fn set_bulk(State(org): State<Arc<Org>>, Json(setting): Json<super::bulk::Setting>) {
    org.jobs.set(setting);
}

async fn lose_bulk(State(org): State<Arc<Org>>) {
    org.jobs.lose();
}

async fn set_credentials(State(org): State<Arc<Org>>, Json(setting): Json<CredentialsSetting>) {
    let mut credentials = org.sessions.credentials();
    credentials.revoked = setting.revoked.unwrap_or(credentials.revoked);
    credentials.client_id = setting.client_id.unwrap_or(credentials.client_id);
    credentials.client_secret = setting.client_secret.unwrap_or(credentials.client_secret);
    credentials.username = setting.username.unwrap_or(credentials.username);
    credentials.public_key = setting.public_key.or(credentials.public_key);
    org.sessions.set_credentials(credentials);
}

fn instant(org: &Org, text: Option<&str>) -> Result<Millis> {
    let Some(text) = text else { return Ok(org.now()) };
    let millis =
        parse_datetime(text, true).ok_or_else(|| ApiError::bad("INVALID_INPUT", format!("no instant: {text}")))?;
    Ok(millis - millis.rem_euclid(1000))
}

fn listed(ids: &[RecordId]) -> Json<Value> {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    Json(json!({"ids": ids}))
}
