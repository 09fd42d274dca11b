//! sObject collections: up to 200 records in a request, an outcome for each, in order.
//! <https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/resources_composite_sobjects_collections.htm>

use axum::http::Method;
use serde_json::{Map, Value as Json, json};

use super::error::{ApiError, Result};
use super::id::RecordId;
use super::records::{by_external_id, create_record, create_with_external_id, delete_record, update_record};
use super::rest::{Call, Reply};

const MOST_RECORDS: usize = 200;

pub fn collection(call: &Call<'_>, rest: &[&str]) -> Result<Reply> {
    match (&call.method, rest) {
        (&Method::POST, []) => each(call, |record| {
            create_record(call.org, type_of(record)?, record).map(|id| (id, None))
        }),
        (&Method::PATCH, []) => each(call, |record| {
            let id = text(record, "id").or_else(|| text(record, "Id"));
            let id = id.ok_or_else(|| ApiError::bad("MISSING_ARGUMENT", "Id not specified in an update call"))?;
            let mut fields = record.clone();
            fields.retain(|name, _| !name.eq_ignore_ascii_case("id"));
            update_record(call.org, type_of(record)?, id, &fields).map(|id| (id, None))
        }),
        (&Method::PATCH, [object, field]) => each(call, |record| {
            if !type_of(record)?.eq_ignore_ascii_case(object) {
                return Err(ApiError::bad(
                    "INVALID_TYPE",
                    "All records must be of the same sObject type",
                ));
            }
            upsert(call, object, field, record)
        }),
        (&Method::DELETE, []) => delete(call),
        _ => Err(ApiError::method_not_allowed(call.method.as_str(), "DELETE,PATCH,POST")),
    }
}

fn upsert(call: &Call<'_>, object: &str, field: &str, record: &Map<String, Json>) -> Result<(RecordId, Option<bool>)> {
    let value = match record.iter().find(|(name, _)| name.eq_ignore_ascii_case(field)) {
        Some((_, Json::String(text))) => text.clone(),
        Some((_, Json::Null)) | None => {
            return Err(ApiError::bad("MISSING_ARGUMENT", format!("{field} not specified")).of_fields([]));
        }
        Some((_, other)) => other.to_string(),
    };
    let mut fields = record.clone();
    fields.retain(|name, _| !name.eq_ignore_ascii_case(field));
    match by_external_id(call.org, object, field, &value)?.as_slice() {
        [] => create_with_external_id(call.org, object, field, &value, fields).map(|id| (id, Some(true))),
        [id] => update_record(call.org, object, &id.to_string(), &fields).map(|id| (id, Some(false))),
        several => {
            let shown: Vec<String> = several.iter().map(ToString::to_string).collect();
            let message = format!(
                "{field}: more than one record found for external id field: [{}]",
                shown.join(", ")
            );
            Err(ApiError::bad("DUPLICATE_EXTERNAL_ID", message).of_fields([]))
        }
    }
}

fn delete(call: &Call<'_>) -> Result<Reply> {
    let ids: Vec<&str> = call
        .parameter("ids")
        .unwrap_or_default()
        .split(',')
        .filter(|id| !id.is_empty())
        .collect();
    if ids.len() > MOST_RECORDS {
        return Err(too_many());
    }
    let outcome = |id: &&str| {
        let object = RecordId::parse(id).and_then(|id| {
            let data = call.org.read();
            data.table_of(id).map(|table| data.tables[table].schema.name.clone())
        });
        let deleted = match object {
            Some(object) => delete_record(call.org, &object, id),
            None => Err(ApiError::bad("MALFORMED_ID", format!("malformed id {id}"))),
        };
        item(deleted.map(|id| (id, None)))
    };
    Ok(Reply::json(&ids.iter().map(outcome).collect()))
}

/// `allOrNone` is not simulated: a request that asks for it is refused rather than half done.
fn each(call: &Call<'_>, one: impl Fn(&Map<String, Json>) -> Result<(RecordId, Option<bool>)>) -> Result<Reply> {
    let body = call.object()?;
    if body.get("allOrNone") == Some(&Json::Bool(true)) {
        return Err(ApiError::bad(
            "UNSUPPORTED_API_VERSION",
            "the simulator does not know allOrNone",
        ));
    }
    let Some(Json::Array(records)) = body.get("records") else {
        return Err(ApiError::unparsable_json("records is required"));
    };
    if records.len() > MOST_RECORDS {
        return Err(too_many());
    }
    let outcome = |record: &Json| match record {
        Json::Object(record) => item(one(record)),
        _ => item(Err(ApiError::unparsable_json("a record must be an object"))),
    };
    Ok(Reply::json(&records.iter().map(outcome).collect()))
}

fn item(outcome: Result<(RecordId, Option<bool>)>) -> Json {
    match outcome {
        Ok((id, created)) => {
            let mut item = json!({"id": id.to_string(), "success": true, "errors": []});
            if let Some(created) = created {
                item["created"] = json!(created);
            }
            item
        }
        Err(error) => {
            let fields = error.fields.clone().unwrap_or_default();
            let error = json!({"statusCode": error.code, "message": error.message, "fields": fields});
            json!({"success": false, "errors": [error]})
        }
    }
}

fn too_many() -> ApiError {
    ApiError::bad("LIMIT_EXCEEDED", format!("Maximum number of records is {MOST_RECORDS}"))
}

fn type_of(record: &Map<String, Json>) -> Result<&str> {
    let kind = record
        .get("attributes")
        .and_then(|attributes| attributes.get("type"))
        .and_then(Json::as_str);
    kind.ok_or_else(|| ApiError::bad("INVALID_TYPE", "Must send attributes.type with each record").of_fields([]))
}

fn text<'a>(record: &'a Map<String, Json>, name: &str) -> Option<&'a str> {
    record.get(name).and_then(Json::as_str)
}
