//! Single records: read, create, update, upsert by external id, delete.
//! <https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/resources_sobject_retrieve.htm>
//! <https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/resources_sobject_upsert.htm>

use axum::http::StatusCode;
use serde_json::{Map, Value as Json, json};

use super::data::Data;
use super::error::{ApiError, Result};
use super::id::RecordId;
use super::org::{Change, Org};
use super::rest::{Call, Reply};
use super::schema::{Field, FieldType, Schema};
use super::soql;
use super::value::Value;

pub fn get(call: &Call<'_>, object: &str, id: &str) -> Result<Reply> {
    let data = call.org.read();
    let (table, id) = find(&data, object, id)?;
    let name = data.tables[table].schema.name.clone();
    let fields = match call.parameter("fields") {
        Some(fields) => fields.to_owned(),
        None => data.tables[table]
            .schema
            .fields
            .iter()
            .map(|field| field.name.as_str())
            .collect::<Vec<_>>()
            .join(","),
    };
    // A record is what a query for it shows.
    let text = format!("SELECT {fields} FROM {name}");
    let plan = soql::bind(&data, &text, &soql::parse(&text)?, call.org.now())?;
    let row = data.tables[table]
        .row(id)
        .filter(|row| !row.deleted)
        .ok_or_else(ApiError::not_found)?;
    let mut body = Vec::new();
    if let soql::Output::Records(columns) = &plan.output {
        soql::write_record(&data, table, row, columns, call.version, &mut body);
    }
    Ok(Reply {
        status: StatusCode::OK,
        body,
        location: None,
        part: None,
    })
}

pub fn create(call: &Call<'_>, object: &str) -> Result<Reply> {
    let id = create_record(call.org, object, &call.object()?)?;
    let name = call
        .org
        .read()
        .table(object)
        .map(|table| table.schema.name.clone())
        .unwrap_or_default();
    let body = json!({"id": id.to_string(), "success": true, "errors": []})
        .to_string()
        .into_bytes();
    let location = Some(format!("/services/data/{}/sobjects/{name}/{id}", call.version));
    Ok(Reply {
        status: StatusCode::CREATED,
        body,
        location,
        part: None,
    })
}

pub fn update(call: &Call<'_>, object: &str, id: &str) -> Result<Reply> {
    update_record(call.org, object, id, &call.object()?).map(|_| Reply::empty())
}

pub fn delete(call: &Call<'_>, object: &str, id: &str) -> Result<Reply> {
    delete_record(call.org, object, id).map(|_| Reply::empty())
}

pub fn get_by_external_id(call: &Call<'_>, object: &str, field: &str, value: &str) -> Result<Reply> {
    match by_external_id(call.org, object, field, value)?.as_slice() {
        [] => Err(ApiError::not_found()),
        [id] => get(call, object, &id.to_string()),
        several => Ok(choices(call, object, several)),
    }
}

pub fn delete_by_external_id(call: &Call<'_>, object: &str, field: &str, value: &str) -> Result<Reply> {
    match by_external_id(call.org, object, field, value)?.as_slice() {
        [] => Err(ApiError::not_found()),
        [id] => delete(call, object, &id.to_string()),
        several => Ok(choices(call, object, several)),
    }
}

/// 201 when the record was created, 200 when it was there, 300 when there are several.
pub fn upsert(call: &Call<'_>, object: &str, field: &str, value: &str) -> Result<Reply> {
    let fields = call.object()?;
    let reply = |id: RecordId, created: bool| {
        let body = json!({"id": id.to_string(), "success": true, "errors": [], "created": created});
        let status = if created { StatusCode::CREATED } else { StatusCode::OK };
        Reply {
            status,
            body: body.to_string().into_bytes(),
            location: None,
            part: None,
        }
    };
    match by_external_id(call.org, object, field, value)?.as_slice() {
        [] => create_with_external_id(call.org, object, field, value, fields).map(|id| reply(id, true)),
        [id] => update_record(call.org, object, &id.to_string(), &fields).map(|id| reply(id, false)),
        several => Ok(choices(call, object, several)),
    }
}

pub fn create_with_external_id(
    org: &Org,
    object: &str,
    field: &str,
    value: &str,
    mut fields: Map<String, Json>,
) -> Result<RecordId> {
    if fields.keys().any(|name| name.eq_ignore_ascii_case(field)) {
        let message = format!("The {field} field should not be specified in the sobject data.");
        return Err(ApiError::bad("INVALID_FIELD", message).of_fields([field.to_owned()]));
    }
    fields.insert(field.to_owned(), json!(value));
    create_record(org, object, &fields)
}

fn choices(call: &Call<'_>, object: &str, ids: &[RecordId]) -> Reply {
    let urls: Vec<String> = ids
        .iter()
        .map(|id| format!("/services/data/{}/sobjects/{object}/{id}", call.version))
        .collect();
    Reply {
        status: StatusCode::MULTIPLE_CHOICES,
        body: json!(urls).to_string().into_bytes(),
        location: None,
        part: None,
    }
}

pub fn by_external_id(org: &Org, object: &str, field: &str, value: &str) -> Result<Vec<RecordId>> {
    let data = org.read();
    let table = data.table(object).ok_or_else(ApiError::not_found)?;
    let known = table
        .schema
        .field(field)
        .ok_or_else(|| ApiError::no_such_record(field))?;
    if known.kind == FieldType::Id {
        return Ok(RecordId::parse(value)
            .filter(|id| table.row(*id).is_some())
            .into_iter()
            .collect());
    }
    if !known.external_id {
        return Err(ApiError::no_such_record(field));
    }
    Ok(table.by_external_id(known, value))
}

pub fn create_record(org: &Org, object: &str, fields: &Map<String, Json>) -> Result<RecordId> {
    let fields = without_attributes(fields);
    let mut known = checked(&org.read(), object, &fields, None)?;
    known.retain(|_, value| !value.is_null());
    let required = {
        let data = org.read();
        let table = data.table(object).ok_or_else(ApiError::not_found)?;
        let given = |field: &&Field| !known.contains_key(&field.name);
        let missing = table.schema.fields.iter().filter(|field| field.required).filter(given);
        missing.map(|field| field.name.clone()).collect::<Vec<_>>()
    };
    if !required.is_empty() {
        let message = format!("Required fields are missing: [{}]", required.join(", "));
        return Err(ApiError::bad("REQUIRED_FIELD_MISSING", message).of_fields(required));
    }
    org.change(
        &Change::Create {
            object: object.to_owned(),
            fields: known,
        },
        org.now(),
    )
}

pub fn update_record(org: &Org, object: &str, id: &str, fields: &Map<String, Json>) -> Result<RecordId> {
    let fields = without_attributes(fields);
    let known = {
        let data = org.read();
        let (table, id) = find(&data, object, id)?;
        let row = data.tables[table].row(id).ok_or_else(ApiError::not_found)?;
        if row.deleted {
            return Err(ApiError::deleted());
        }
        let known = checked(&data, object, &fields, Some(id))?;
        let emptied = |field: &&Field| field.required && known.get(&field.name).is_some_and(Json::is_null);
        let missing: Vec<String> = data.tables[table]
            .schema
            .fields
            .iter()
            .filter(emptied)
            .map(|field| field.name.clone())
            .collect();
        if !missing.is_empty() {
            let message = format!("Required fields are missing: [{}]", missing.join(", "));
            return Err(ApiError::bad("REQUIRED_FIELD_MISSING", message).of_fields(missing));
        }
        known
    };
    org.change(
        &Change::Update {
            id: id.to_owned(),
            fields: known,
        },
        org.now(),
    )
}

pub fn delete_record(org: &Org, object: &str, id: &str) -> Result<RecordId> {
    {
        let data = org.read();
        let (table, id) = find(&data, object, id)?;
        if data.tables[table].row(id).is_some_and(|row| row.deleted) {
            return Err(ApiError::deleted());
        }
    }
    org.change(&Change::Delete { id: id.to_owned() }, org.now())
}

fn without_attributes(fields: &Map<String, Json>) -> Map<String, Json> {
    fields
        .iter()
        .filter(|(name, _)| *name != "attributes")
        .map(|(name, json)| (name.clone(), json.clone()))
        .collect()
}

/// The record of this id, if it is the object's.
fn find(data: &Data, object: &str, id: &str) -> Result<(usize, RecordId)> {
    let table = data.index(object).ok_or_else(ApiError::not_found)?;
    let Some(parsed) = RecordId::parse(id) else {
        return Err(ApiError::no_such_record(id));
    };
    if data.tables[table].slot(parsed).is_none() {
        return Err(if data.table_of(parsed) == Some(table) {
            ApiError::not_found()
        } else {
            ApiError::no_such_record(id)
        });
    }
    Ok((table, parsed))
}

/// The fields under their canonical names, if a caller of the API may write them so.
fn checked(data: &Data, object: &str, fields: &Map<String, Json>, own: Option<RecordId>) -> Result<Map<String, Json>> {
    let table = data.table(object).ok_or_else(ApiError::not_found)?;
    let schema = &table.schema;
    let mut known = Map::new();
    for (name, json) in fields {
        let field = writable(schema, name, own.is_none())?;
        let value = Value::from_json(field, json)?;
        check_value(field, &value)?;
        if field.unique
            && let Value::Text(text) = &value
            && let Some(other) = table
                .by_external_id(field, text)
                .into_iter()
                .find(|id| Some(*id) != own)
        {
            let message = format!(
                "duplicate value found: {} duplicates value on record with id: {other}",
                field.name
            );
            return Err(ApiError::bad("DUPLICATE_VALUE", message).of_fields([]));
        }
        if let Value::Id(id) = value
            && data
                .table_of(id)
                .is_none_or(|table| data.tables[table].row(id).is_none_or(|row| row.deleted))
        {
            let message = "invalid cross reference id";
            return Err(ApiError::bad("INVALID_CROSS_REFERENCE_KEY", message).of_fields([]));
        }
        let stored = if value == Value::Null { Json::Null } else { json.clone() };
        known.insert(field.name.clone(), stored);
    }
    Ok(known)
}

fn writable<'s>(schema: &'s Schema, name: &str, creating: bool) -> Result<&'s Field> {
    let field = schema.field(name).ok_or_else(|| {
        ApiError::bad(
            "INVALID_FIELD",
            format!("No such column '{name}' on sobject of type {}", schema.name),
        )
    })?;
    let allowed = if creating { field.createable } else { field.updateable };
    if allowed {
        return Ok(field);
    }
    let message = format!(
        "Unable to create/update fields: {}. Please check the security settings of this field and verify that it is \
         read/write for your profile or permission set.",
        field.name
    );
    Err(ApiError::bad("INVALID_FIELD_FOR_INSERT_UPDATE", message).of_fields([field.name.clone()]))
}

fn check_value(field: &Field, value: &Value) -> Result<()> {
    let Value::Text(text) = value else { return Ok(()) };
    let fields = [field.name.clone()];
    if text.chars().count() > field.length {
        let message = format!(
            "{}: data value too large: {text} (max length={})",
            field.label, field.length
        );
        return Err(ApiError::bad("STRING_TOO_LONG", message).of_fields(fields));
    }
    if field.kind == FieldType::Email && !is_email(text) {
        let message = format!("{}: invalid email address: {text}", field.label);
        return Err(ApiError::bad("INVALID_EMAIL_ADDRESS", message).of_fields(fields));
    }
    Ok(())
}

fn is_email(text: &str) -> bool {
    text.split_once('@').is_some_and(|(local, domain)| {
        let plain = |part: &str| !part.is_empty() && !part.contains(|c: char| c.is_whitespace() || c == '@');
        plain(local) && plain(domain) && domain.contains('.') && !domain.starts_with('.') && !domain.ends_with('.')
    })
}
