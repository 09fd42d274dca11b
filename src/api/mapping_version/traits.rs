//! Traits: where they come from, their types, and what becomes of nulls and errors.

use jiff::civil::Date;
use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::IntoDeserializer;
use serde::{Deserialize, Deserializer, Serialize};

use super::Transform;
use crate::api::common::Classification;

/// One trait, and where it comes from: a CRM field with transforms, or a CEL expression.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    cel,
    validation = Rule::new("has(self.from) != has(self.cel)").message("a trait has exactly one of from, cel"),
    validation = Rule::new("(has(self.onNull) && self.onNull == 'Default') == has(self.default)")
        .message("onNull: Default and default go together"),
    validation = Rule::new("(self.type == 'List') == has(self.items)").message("type: List and items go together")
)]
pub struct TraitMapping {
    /// The trait's name in the canonical entity.
    #[serde(rename = "trait")]
    #[schemars(length(min = 1, max = 255))]
    pub name: String,
    /// The CRM field that it comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub from: Option<String>,
    /// A [CEL](https://cel.dev) expression over `record`, which holds the CRM's fields by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub cel: Option<String>,
    /// The trait's type.
    #[serde(rename = "type")]
    pub kind: TraitType,
    /// Of a `List`: the type of its items, any but `Money`, `List` and `Json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<TraitType>,
    /// Of an `Enum`, or of a `List` of them: the table in `spec.enums` whose canonical values are the ones allowed. By default
    /// the table of the last `enum` transform.
    #[serde(default, rename = "enum", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub table: Option<String>,
    /// What is done to the field's value, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub transforms: Vec<Transform>,
    /// What becomes of a null.
    #[serde(default)]
    pub on_null: OnNull,
    /// The value for `onNull: Default`, as text of the trait's type; a list's as a JSON array.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub default: Option<String>,
    /// What becomes of a value that a transform or the type refuses: `Reject`, `Null` or `Keep`. Write `"Null"` with quotes:
    /// YAML reads a plain one as null, which is taken for it, but which client-side `kubectl apply` leaves out.
    #[serde(default, deserialize_with = "null_by_name")]
    #[schemars(schema_with = "reject_null_or_keep")]
    pub on_error: OnError,
    /// How closely the trait must be kept. A sink that may not hold it does not get it.
    #[serde(default)]
    pub classification: Classification,
    /// What the trait means, for the people who read the catalog.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub description: Option<String>,
    /// Whether people's work stops when it is wrong: the catalog and `ferrygate diff` say so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub critical: bool,
    /// The trait is on its way out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deprecated: Option<Deprecation>,
}

/// A trait that is on its way out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Deprecation {
    /// The version that said so first.
    #[schemars(length(max = 63))]
    pub since: String,
    /// From this day on a version may leave the trait out without a higher major number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::api::common::day")]
    pub remove_after: Option<Date>,
    /// The trait to use in its place.
    #[serde(default, rename = "use", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    pub use_instead: Option<String>,
}

/// The type of a trait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TraitType {
    /// Text.
    String,
    /// A whole number of 64 bits.
    Integer,
    /// An exact decimal number, never a float.
    Decimal,
    /// True or false.
    Boolean,
    /// An instant, delivered in UTC by RFC 3339.
    Timestamp,
    /// A day of the calendar, delivered as `YYYY-MM-DD`.
    Date,
    /// An exact amount and its ISO 4217 currency, delivered as `{"amount": 12.5, "currency": "EUR"}`.
    Money,
    /// Text that is one of the canonical values of a table.
    Enum,
    /// Values of one type, in order.
    List,
    /// A JSON document, delivered as it is but for white space.
    Json,
}

/// What becomes of a null.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnNull {
    /// The trait is left out: the CDP keeps what it had.
    #[default]
    Keep,
    /// The trait is delivered as null: the CDP forgets it.
    Unset,
    /// The trait is delivered with the value of `default`.
    Default,
    /// The record is rejected to the dead letters.
    Reject,
}

/// What becomes of a value that a transform or the type refuses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnError {
    /// The record is rejected to the dead letters.
    #[default]
    Reject,
    /// The trait is taken as null, and `onNull` says what follows.
    Null,
    /// The trait is left out: the CDP keeps what it had.
    Keep,
}

/// YAML takes a plain `Null` for null, so null is the variant `Null`; only an absent field is the default.
pub(super) fn null_by_name<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    match Option::deserialize(deserializer)? {
        Some(named) => Ok(named),
        None => T::deserialize("Null".into_deserializer()),
    }
}

/// The schema of [`OnError`] and [`Otherwise`], which takes null for `Null`: a field that is not nullable would lose the null
/// and be given its default. A pattern, since the API server holds null against an `enum` even where that lists it.
pub(super) fn reject_null_or_keep(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "pattern": "^(Reject|Null|Keep)$",
        "default": "Reject",
        "nullable": true,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_plain_null_is_the_variant_of_that_name_and_only_an_absent_field_the_default() {
        let rule = |on_error| {
            let mut rule = json!({"trait": "phone", "from": "Phone", "type": "String"});
            if let Some(on_error) = on_error {
                rule["onError"] = on_error;
            }
            serde_json::from_value::<TraitMapping>(rule).map(|rule| rule.on_error)
        };
        assert_eq!(rule(Some(json!(null))).unwrap(), OnError::Null);
        assert_eq!(rule(Some(json!("Null"))).unwrap(), OnError::Null);
        assert_eq!(rule(Some(json!("Keep"))).unwrap(), OnError::Keep);
        assert_eq!(rule(None).unwrap(), OnError::Reject);
        let refused = rule(Some(json!("null"))).unwrap_err().to_string();
        assert!(refused.contains("`Reject`, `Null`, `Keep`"), "{refused}");
    }
}
