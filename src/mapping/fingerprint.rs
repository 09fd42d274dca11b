//! Whether what would be delivered differs from what was delivered last.

use rust_decimal::Decimal;
use sha2::{Digest, Sha256};

use super::value::{Mapped, Value};
use crate::api::mapping_version::Entity;
use crate::consent::Decision;
use crate::record::Field;

/// The version of the serialisation below. A change of it makes every record be delivered once more.
const VERSION: u8 = 1;

impl Mapped<'_> {
    /// A fingerprint of the entity, its identities, group, traits, consent and the decision: the first half of a SHA-256
    /// over a serialisation in which every list says its count, every text its length and every value its type. It is the
    /// same on every machine.
    ///
    /// Events are left out: whether one fires is kept apart from it. So are the traits of a suppressed record: they are not
    /// delivered, so a change of one is nothing to deliver, and no trace of them need be kept. Evidence is left out: a consent
    /// that is only renewed changes nothing that the CDP holds.
    pub fn fingerprint(&self, decision: &Decision) -> [u8; 16] {
        let mut writer = Writer::default();
        writer.tag(VERSION);
        writer.tag(match self.entity {
            Entity::Person => 1,
            Entity::Account => 2,
            Entity::Deal => 3,
            Entity::Membership => 4,
        });
        writer.tag(match decision {
            Decision::Activate => 1,
            Decision::Suppress => 2,
        });
        for identity in [&self.user_id, &self.group_id] {
            match identity {
                None => writer.tag(0),
                Some(identity) => {
                    writer.tag(1);
                    writer.text(identity);
                }
            }
        }
        writer.count(self.external_ids.len());
        for external in &self.external_ids {
            writer.text(external.sent_as);
            writer.text(&external.id);
        }
        writer.count(self.consent.len());
        for statement in &self.consent {
            writer.text(statement.purpose);
            // A suppression denies every purpose, whatever the record states of it.
            let granted = *decision == Decision::Activate && statement.is_granted();
            writer.tag(u8::from(granted));
        }
        if *decision == Decision::Activate {
            writer.count(self.traits.len());
            for (name, value) in &self.traits {
                writer.text(name);
                writer.value(value);
            }
        }
        let digest: [u8; 32] = Sha256::digest(&writer.0).into();
        let mut fingerprint = [0; 16];
        fingerprint.copy_from_slice(&digest[..16]);
        fingerprint
    }
}

/// A hash of a watched field's value, the same on every machine.
pub(super) fn watched(field: Option<&Field<'_>>) -> u64 {
    let mut writer = Writer::default();
    writer.tag(VERSION);
    match field {
        None | Some(Field::Null) => writer.tag(0),
        Some(Field::Text(text)) => {
            writer.tag(1);
            writer.text(text);
        }
        Some(Field::Number(digits)) => {
            writer.tag(2);
            writer.text(digits);
        }
        Some(Field::Boolean(boolean)) => {
            writer.tag(3);
            writer.tag(u8::from(*boolean));
        }
    }
    let digest: [u8; 32] = Sha256::digest(&writer.0).into();
    let mut hash = [0; 8];
    hash.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(hash)
}

/// The serialisation, whole before it is hashed: a hash of many small pieces costs more than the copy.
#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn tag(&mut self, tag: u8) {
        self.0.push(tag);
    }

    fn count(&mut self, count: usize) {
        self.0.extend_from_slice(&(count as u64).to_be_bytes());
    }

    fn text(&mut self, text: &str) {
        self.count(text.len());
        self.0.extend_from_slice(text.as_bytes());
    }

    fn value(&mut self, value: &Value<'_>) {
        match value {
            Value::Null => self.tag(0),
            Value::String(text) => {
                self.tag(1);
                self.text(text);
            }
            Value::Integer(integer) => {
                self.tag(2);
                self.0.extend_from_slice(&integer.to_be_bytes());
            }
            Value::Decimal(decimal) => {
                self.tag(3);
                self.decimal(*decimal);
            }
            Value::Boolean(boolean) => {
                self.tag(4);
                self.tag(u8::from(*boolean));
            }
            Value::Timestamp(timestamp) => {
                self.tag(5);
                self.0.extend_from_slice(&timestamp.as_nanosecond().to_be_bytes());
            }
            Value::Date(date) => {
                self.tag(6);
                self.0.extend_from_slice(&date.year().to_be_bytes());
                self.0
                    .extend_from_slice(&[date.month().unsigned_abs(), date.day().unsigned_abs()]);
            }
            Value::Money(money) => {
                self.tag(7);
                self.decimal(money.amount);
                self.text(money.currency);
            }
            Value::List(items) => {
                self.tag(8);
                self.count(items.len());
                items.iter().for_each(|item| self.value(item));
            }
            Value::Json(document) => {
                self.tag(9);
                self.text(document);
            }
            Value::Object(members) => {
                self.tag(10);
                self.count(members.len());
                for (name, value) in members {
                    self.text(name);
                    self.value(value);
                }
            }
        }
    }

    fn decimal(&mut self, decimal: Decimal) {
        let decimal = decimal.normalize();
        self.0.extend_from_slice(&decimal.mantissa().to_be_bytes());
        self.0.extend_from_slice(&decimal.scale().to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::collections::BTreeSet;

    use super::*;
    use crate::mapping::value::{ExternalId, Money};

    fn mapped(traits: Vec<(&'static str, Value<'static>)>) -> Mapped<'static> {
        Mapped {
            entity: Entity::Person,
            user_id: Some(Cow::Borrowed("003A")),
            group_id: None,
            external_ids: vec![ExternalId {
                kind: "email",
                sent_as: "email",
                id: Cow::Borrowed("ada@example.com"),
            }],
            traits,
            consent: vec![("marketing_email", true).into()],
            events: Vec::new(),
        }
    }

    fn text(text: &'static str) -> Value<'static> {
        Value::String(Cow::Borrowed(text))
    }

    fn money(currency: &'static str) -> Value<'static> {
        Value::Money(Money {
            amount: 1.into(),
            currency,
        })
    }

    #[test]
    fn the_bytes_are_the_same_for_ever() {
        let fingerprint =
            mapped(vec![("name", text("Ada")), ("age", Value::Integer(36))]).fingerprint(&Decision::Activate);
        let hexadecimal: String = fingerprint.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hexadecimal, "19c6b34b07fcb48e7eeaf241cbedfa9b");
        assert_eq!(
            watched(Some(&Field::Text(Cow::Borrowed("Closed Won")))),
            0xa844028345b9593a
        );
    }

    #[test]
    fn what_differs_has_another_fingerprint() {
        let mut variants = vec![
            mapped(vec![]),
            mapped(vec![("ab", text("c"))]),
            mapped(vec![("a", text("bc"))]),
            mapped(vec![("a", text("")), ("b", text("c"))]),
            mapped(vec![("a", Value::Null)]),
            mapped(vec![("a", text(""))]),
            mapped(vec![("a", text("1"))]),
            mapped(vec![("a", Value::Integer(1))]),
            mapped(vec![("a", Value::Decimal(1.into()))]),
            mapped(vec![("a", Value::Boolean(true))]),
            mapped(vec![("a", Value::Boolean(false))]),
            mapped(vec![("a", Value::Json(Cow::Borrowed("1")))]),
            mapped(vec![("a", Value::List(vec![]))]),
            mapped(vec![("a", Value::List(vec![text("1")]))]),
            mapped(vec![("a", Value::List(vec![text("1"), text("1")]))]),
            mapped(vec![("a", Value::List(vec![Value::List(vec![text("1")]), text("1")]))]),
            mapped(vec![("a", Value::Object(vec![]))]),
            mapped(vec![("a", Value::Object(vec![("b".into(), text("1"))]))]),
            mapped(vec![("a", Value::Object(vec![("c".into(), text("1"))]))]),
            mapped(vec![("a", money("EUR"))]),
            mapped(vec![("a", money("USD"))]),
        ];
        let mut other = mapped(vec![]);
        other.user_id = None;
        other.group_id = Some(Cow::Borrowed("003A"));
        variants.push(other);
        let mut other = mapped(vec![]);
        other.consent = vec![("marketing_email", false).into()];
        variants.push(other);
        let mut other = mapped(vec![]);
        other.external_ids.clear();
        variants.push(other);
        let mut other = mapped(vec![]);
        other.external_ids[0].sent_as = "Email";
        variants.push(other);
        let mut other = mapped(vec![]);
        other.entity = Entity::Account;
        variants.push(other);
        let distinct: BTreeSet<[u8; 16]> = variants
            .iter()
            .map(|variant| variant.fingerprint(&Decision::Activate))
            .collect();
        assert_eq!(distinct.len(), variants.len());
    }

    #[test]
    fn a_suppressed_records_traits_dont_matter_but_that_it_is_suppressed_does() {
        let (before, after) = (mapped(vec![("a", text("1"))]), mapped(vec![("a", text("2"))]));
        assert_eq!(
            before.fingerprint(&Decision::Suppress),
            after.fingerprint(&Decision::Suppress)
        );
        assert_ne!(
            before.fingerprint(&Decision::Suppress),
            before.fingerprint(&Decision::Activate)
        );
    }

    #[test]
    fn watched_values_are_told_apart_by_type() {
        let fields = [
            Field::Null,
            Field::Text(Cow::Borrowed("")),
            Field::Text(Cow::Borrowed("1")),
            Field::Text(Cow::Borrowed("true")),
            Field::Number("1"),
            Field::Boolean(true),
            Field::Boolean(false),
        ];
        let distinct: BTreeSet<u64> = fields.iter().map(|field| watched(Some(field))).collect();
        assert_eq!(distinct.len(), fields.len());
    }
}
