//! `describe`, and the lists of resources and objects.
//! <https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/resources_sobject_describe.htm>
//! <https://developer.salesforce.com/docs/atlas.en-us.api.meta/api/sforce_api_calls_describesobjects_describesobjectresult.htm>

use serde_json::{Map, Value as Json, json};

use super::error::{ApiError, Result};
use super::rest::{Call, Reply};
use super::schema::{Field, FieldType, Schema};

pub fn resources(version: &str) -> Json {
    let url = |resource: &str| format!("/services/data/{version}/{resource}");
    json!({
        "composite": url("composite"),
        "limits": url("limits"),
        "query": url("query"),
        "queryAll": url("queryAll"),
        "sobjects": url("sobjects"),
    })
}

pub fn all(call: &Call<'_>) -> Reply {
    let data = call.org.read();
    let objects: Vec<Json> = data
        .tables
        .iter()
        .map(|table| summary(&table.schema, call.version))
        .collect();
    Reply::json(&json!({"encoding": "UTF-8", "maxBatchSize": 200, "sobjects": objects}))
}

pub fn basic(call: &Call<'_>, object: &str) -> Result<Reply> {
    let data = call.org.read();
    let table = data.table(object).ok_or_else(ApiError::not_found)?;
    Ok(Reply::json(
        &json!({"objectDescribe": summary(&table.schema, call.version), "recentItems": []}),
    ))
}

pub fn object(call: &Call<'_>, object: &str) -> Result<Reply> {
    let data = call.org.read();
    let schema = &data.table(object).ok_or_else(ApiError::not_found)?.schema;
    let mut described = summary(schema, call.version);
    described["fields"] = schema
        .fields
        .iter()
        .map(|field| describe_field(schema, field))
        .collect();
    described["childRelationships"] = data
        .tables
        .iter()
        .flat_map(|child| children(&child.schema, &schema.name))
        .collect();
    described["actionOverrides"] = json!([]);
    described["namedLayoutInfos"] = json!([]);
    described["networkScopeFieldName"] = Json::Null;
    described["recordTypeInfos"] = json!([{
        "active": true, "available": true, "defaultRecordTypeMapping": true, "developerName": "Master",
        "master": true, "name": "Master", "recordTypeId": "012000000000000AAA",
        "urls": {"layout": format!("/services/data/{}/sobjects/{}/describe/layouts/012000000000000AAA", call.version, schema.name)},
    }]);
    described["supportedScopes"] =
        json!([{"label": format!("All {}", schema.plural.to_lowercase()), "name": "everything"}]);
    Ok(Reply::json(&described))
}

fn children<'a>(child: &'a Schema, parent: &'a str) -> impl Iterator<Item = Json> + 'a {
    child.fields.iter().filter(move |field| field.reference_to.as_deref() == Some(parent)).map(|field| {
        json!({
            "cascadeDelete": false, "childSObject": child.name, "deprecatedAndHidden": false, "field": field.name,
            "junctionIdListNames": [], "junctionReferenceTo": [], "relationshipName": child.plural, "restrictedDelete": false,
        })
    })
}

fn summary(schema: &Schema, version: &str) -> Json {
    let name = &schema.name;
    let urls = format!("/services/data/{version}/sobjects/{name}");
    let mergeable = schema.field("MasterRecordId").is_some();
    let user = name == "User";
    json!({
        "activateable": false, "createable": true, "custom": false, "customSetting": false, "deepCloneable": false,
        "deletable": !user, "deprecatedAndHidden": false, "feedEnabled": true, "hasSubtypes": false,
        "isInterface": false, "isSubtype": false, "keyPrefix": schema.prefix, "label": schema.label,
        "labelPlural": schema.plural, "layoutable": true, "mergeable": mergeable, "mruEnabled": true, "name": name,
        "queryable": true, "replicateable": true, "retrieveable": true, "searchable": true, "triggerable": true,
        "undeletable": !user, "updateable": true,
        "urls": {
            "sobject": urls,
            "describe": format!("{urls}/describe"),
            "rowTemplate": format!("{urls}/{{ID}}"),
        },
    })
}

fn describe_field(schema: &Schema, field: &Field) -> Json {
    let kind = field.kind;
    let (precision, scale) = match kind {
        FieldType::Currency | FieldType::Double => (18, 2),
        FieldType::Percent => (3, 0),
        _ => (0, 0),
    };
    let named = schema.field("FirstName").is_some();
    let mut described = unvarying();
    described.extend(capabilities(field));
    let varying = [
        (
            "byteLength",
            json!(if kind.is_text() { field.length * 3 } else { field.length }),
        ),
        (
            "calculatedFormula",
            if field.calculated {
                json!("Account.Industry")
            } else {
                Json::Null
            },
        ),
        ("caseSensitive", json!(kind == FieldType::Id)),
        (
            "compoundFieldName",
            match field.name.as_str() {
                "FirstName" | "LastName" | "Salutation" if named => json!("Name"),
                _ => Json::Null,
            },
        ),
        (
            "defaultValue",
            if kind == FieldType::Boolean {
                json!(false)
            } else {
                Json::Null
            },
        ),
        ("digits", json!(if kind == FieldType::Int { 8 } else { 0 })),
        (
            "extraTypeInfo",
            if kind == FieldType::TextArea {
                json!("plaintextarea")
            } else {
                Json::Null
            },
        ),
        ("label", json!(field.label)),
        ("length", json!(field.length)),
        ("name", json!(field.name)),
        ("nameField", json!(field.name == "Name")),
        (
            "picklistValues",
            field.picklist.iter().map(|value| picklist_value(value)).collect(),
        ),
        ("precision", json!(precision)),
        ("referenceTo", json!(field.reference_to.iter().collect::<Vec<_>>())),
        ("relationshipName", json!(field.relationship)),
        ("scale", json!(scale)),
        ("soapType", json!(kind.soap())),
        ("type", json!(kind.name())),
    ];
    described.extend(varying.map(|(name, value)| (name.to_owned(), value)));
    Json::Object(described)
}

/// What may be done with the field.
fn capabilities(field: &Field) -> impl Iterator<Item = (String, Json)> {
    use FieldType::{Address, Boolean, Currency, DateTime, Double, Email, Id, Percent, Reference, TextArea};
    let (kind, boolean) = (field.kind, field.kind == Boolean);
    let written_by_users = field.createable || field.calculated || kind == Address || field.reference_to.is_some();
    let flags = [
        ("aggregatable", !matches!(kind, TextArea | Boolean | Address)),
        ("calculated", field.calculated),
        ("createable", field.createable),
        ("custom", field.is_custom()),
        (
            "defaultedOnCreate",
            boolean || !field.createable || field.name == "OwnerId",
        ),
        ("externalId", field.external_id),
        ("filterable", field.filterable),
        (
            "groupable",
            field.sortable && !matches!(kind, DateTime | Currency | Double | Percent),
        ),
        ("idLookup", matches!(kind, Id | Email) || field.external_id),
        ("nillable", !field.required && !boolean && written_by_users),
        ("permissionable", field.createable && !field.required),
        ("queryByDistance", kind == Address),
        ("searchPrefilterable", kind == Reference),
        ("sortable", field.sortable),
        ("unique", field.unique),
        ("updateable", field.updateable),
    ];
    flags.into_iter().map(|(name, flag)| (name.to_owned(), json!(flag)))
}

/// Properties that are the same for every field of this org.
fn unvarying() -> Map<String, Json> {
    let no = [
        "aiPredictionField",
        "autoNumber",
        "cascadeDelete",
        "dependentPicklist",
        "deprecatedAndHidden",
        "displayLocationInDecimal",
        "encrypted",
        "formulaTreatNullNumberAsZero",
        "highScaleNumber",
        "htmlFormatted",
        "namePointing",
        "polymorphicForeignKey",
        "restrictedDelete",
        "restrictedPicklist",
        "writeRequiresMasterRead",
    ];
    let nothing = [
        "controllerName",
        "defaultValueFormula",
        "filteredLookupInfo",
        "inlineHelpText",
        "mask",
        "maskType",
        "referenceTargetField",
        "relationshipOrder",
    ];
    let no = no.map(|name| (name.to_owned(), json!(false)));
    no.into_iter()
        .chain(nothing.map(|name| (name.to_owned(), Json::Null)))
        .collect()
}

fn picklist_value(value: &str) -> Json {
    json!({"active": true, "defaultValue": false, "label": value, "validFor": null, "value": value})
}
