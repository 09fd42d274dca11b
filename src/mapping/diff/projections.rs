//! What each CDP is sent under which name, by two versions.

use std::collections::BTreeMap;

use super::ChangeKind;
use super::rule::Rule;
use crate::api::common::Cdp;
use crate::api::mapping_version::{Entity, EventMapping, MappingVersionSpec, ObjectMapping, ProjectedName, Projection};

/// Something that a CDP is sent otherwise than before.
pub(super) struct Moved {
    pub path: String,
    pub kind: ChangeKind,
    pub rule: Rule,
    pub entity: Entity,
    /// The trait that it is, if it is one.
    pub of_trait: Option<String>,
    /// Whether it is an identity.
    pub of_identity: bool,
    /// What the CDP called it, and what it calls it now; nothing where it does not get it.
    pub before: Option<String>,
    pub after: Option<String>,
}

/// Everything that is sent otherwise. What the mapping itself has gained or lost is told of that.
pub(super) fn moved(before: &MappingVersionSpec, after: &MappingVersionSpec) -> Vec<Moved> {
    let mut all: Vec<(Cdp, Entity)> = Vec::new();
    for projection in after.projections.iter().chain(&before.projections) {
        let of = (projection.cdp, projection.entity);
        if !all.contains(&of) {
            all.push(of);
        }
    }
    let mut moved = Vec::new();
    for (cdp, entity) in all {
        let mut pair = Pair {
            path: format!("projections[{} {entity:?}]", cdp.as_str()),
            entity,
            before: Side::of(before, cdp, entity),
            after: Side::of(after, cdp, entity),
            moved: &mut moved,
        };
        pair.compare();
    }
    moved
}

/// One version's projection for a CDP, and what it projects.
struct Side<'s> {
    objects: Vec<&'s ObjectMapping>,
    projection: Option<&'s Projection>,
}

impl<'s> Side<'s> {
    fn of(spec: &'s MappingVersionSpec, cdp: Cdp, entity: Entity) -> Side<'s> {
        let mut projections = spec.projections.iter();
        Side {
            objects: spec.objects.iter().filter(|object| object.entity == entity).collect(),
            projection: projections.find(|one| (one.cdp, one.entity) == (cdp, entity)),
        }
    }

    fn names(&self, list: impl Fn(&'s Projection) -> &'s BTreeMap<String, ProjectedName>) -> Given<'s> {
        self.projection.map(list)
    }

    fn has_trait(&self, name: &str) -> bool {
        let mut traits = self.objects.iter().flat_map(|object| &object.traits);
        traits.any(|rule| rule.name == name)
    }

    fn has_kind(&self, kind: &str) -> bool {
        let mut keys = self.objects.iter().flat_map(|object| &object.identity);
        keys.any(|key| key.kind == kind)
    }

    fn has_purpose(&self, name: &str) -> bool {
        let mut purposes = self.objects.iter().flat_map(|object| &object.consent);
        purposes.any(|consent| consent.purpose == name)
    }

    fn events(&self, name: &str) -> impl Iterator<Item = &'s EventMapping> {
        let events = self.objects.iter().flat_map(|object| &object.events);
        events.filter(move |event| event.name == name)
    }

    /// Whether a property is sent as long as nothing is said of itself.
    fn sends_property(&self, event: &str, name: &str) -> bool {
        let is_left_out = self
            .projection
            .is_some_and(|one| one.events.get(event) == Some(&ProjectedName(None)));
        let mut properties = self.events(event).flat_map(|event| &event.properties);
        !is_left_out && properties.any(|property| property.property == name)
    }
}

/// The names that a projection gives, where there is one.
type Given<'s> = Option<&'s BTreeMap<String, ProjectedName>>;

struct Pair<'s, 'm> {
    path: String,
    entity: Entity,
    before: Side<'s>,
    after: Side<'s>,
    moved: &'m mut Vec<Moved>,
}

impl Pair<'_, '_> {
    fn compare(&mut self) {
        let lists = (
            self.before.names(|one| &one.traits),
            self.after.names(|one| &one.traits),
        );
        for name in names(lists) {
            let had = (self.before.has_trait(name), self.after.has_trait(name));
            let path = format!("{}.traits[{name}]", self.path);
            if let Some(one) = self.one(&path, name, lists, had) {
                let of_trait = Some(name.clone());
                self.moved.push(Moved { of_trait, ..one });
            }
        }
        let lists = (
            self.before.names(|one| &one.events),
            self.after.names(|one| &one.events),
        );
        for name in names(lists) {
            let had = |side: &Side<'_>| side.events(name).next().is_some();
            let had = (had(&self.before), had(&self.after));
            let path = format!("{}.events[{name}]", self.path);
            let one = self.one(&path, name, lists, had);
            self.moved.extend(one);
        }
        let events = [&self.before, &self.after].map(|side| side.projection.map(|one| &one.properties));
        let mut named: Vec<&String> = events.into_iter().flatten().flat_map(BTreeMap::keys).collect();
        named.sort();
        named.dedup();
        for event in named {
            let [old, new] = events.map(|properties| properties.and_then(|properties| properties.get(event)));
            for name in names((old, new)) {
                let had = (
                    self.before.sends_property(event, name),
                    self.after.sends_property(event, name),
                );
                let path = format!("{}.properties[{event}][{name}]", self.path);
                let one = self.one(&path, name, (old, new), had);
                self.moved.extend(one);
            }
        }
        let lists = (
            self.before.names(|one| &one.consent),
            self.after.names(|one| &one.consent),
        );
        for name in names(lists) {
            let had = (self.before.has_purpose(name), self.after.has_purpose(name));
            let path = format!("{}.consent[{name}]", self.path);
            let one = self.one(&path, name, lists, had);
            self.moved.extend(one);
        }
        let lists = (
            self.before.names(|one| &one.identity),
            self.after.names(|one| &one.identity),
        );
        for name in names(lists) {
            let had = (self.before.has_kind(name), self.after.has_kind(name));
            let path = format!("{}.identity[{name}]", self.path);
            if let Some(one) = self.one(&path, name, lists, had) {
                self.moved.push(Moved {
                    of_identity: true,
                    ..one
                });
            }
        }
    }

    /// What became of one thing; `had` is whether the versions have it at all.
    fn one(&self, path: &str, name: &str, (old, new): (Given<'_>, Given<'_>), had: (bool, bool)) -> Option<Moved> {
        let sent_as = |given: Option<&ProjectedName>| given.map_or(Some(name.to_owned()), |given| given.0.clone());
        let (old, new) = (old.and_then(|old| old.get(name)), new.and_then(|new| new.get(name)));
        let before = sent_as(old).filter(|_| had.0);
        let after = sent_as(new);
        if !had.1 || old == new && had.0 {
            return None;
        }
        let rule = match (&before, &after) {
            (before, after) if before == after => Rule::Wording,
            (None, Some(_)) => Rule::ProjectionAdded,
            (None, None) => Rule::Wording,
            (Some(_), _) => Rule::Projection,
        };
        let kind = match (&before, &after) {
            (Some(_), Some(_)) => ChangeKind::Changed,
            (Some(_), None) => ChangeKind::Removed,
            (None, _) => ChangeKind::Added,
        };
        Some(Moved {
            path: path.to_owned(),
            kind,
            rule,
            entity: self.entity,
            of_trait: None,
            of_identity: false,
            before,
            after,
        })
    }
}

/// The names that one of two lists has, in order.
fn names<'g>((old, new): (Given<'g>, Given<'g>)) -> Vec<&'g String> {
    let mut names: Vec<&String> = [old, new].into_iter().flatten().flat_map(BTreeMap::keys).collect();
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::mapping::diff::{Comparison, compare};

    /// Version 1.0.0, or 2.0.0 with other projections and, of Contact, other traits.
    fn version(number: &str, projections: Value, traits: &[&str]) -> MappingVersionSpec {
        let traits: Vec<_> = traits
            .iter()
            .map(|name| json!({"trait": name, "from": "F", "type": "String"}))
            .collect();
        serde_json::from_value(json!({
            "mapping": "m", "version": number,
            "objects": [
                {
                    "object": "Contact", "entity": "Person", "traits": traits,
                    "identity": [{"kind": "crm_id", "from": "Id"}, {"kind": "email", "from": "Email"}],
                    "dependents": [{"trait": "email", "kind": "Audience", "name": "Readers", "owner": "#crm"}],
                    "events": [{"name": "Joined", "when": {"created": {}},
                        "properties": [{"property": "by", "from": "F", "type": "String"}]}],
                },
            ],
            "projections": projections,
        }))
        .unwrap()
    }

    fn compared(before: Value, after: Value, traits: &[&str]) -> Comparison {
        let before = version("1.0.0", before, &["email", "fax"]);
        compare(&before, &version("2.0.0", after, traits), "2026-06-01".parse().unwrap())
    }

    #[test]
    fn what_a_cdp_is_sent_otherwise_is_told_name_by_name() {
        let both: &[&str] = &["email", "fax"];
        let segment = |parts: Value| {
            let mut projection = json!({"cdp": "segment", "entity": "Person"});
            projection
                .as_object_mut()
                .unwrap()
                .extend(parts.as_object().unwrap().clone());
            json!([projection])
        };
        let none = || json!([]);
        type Case<'c> = (&'c str, Value, Value, &'c [&'c str], &'c [(&'c str, Rule)]);
        let cases: Vec<Case<'_>> = vec![
            (
                "a name of its own for a trait that went under the canonical one",
                none(),
                segment(json!({"traits": {"email": "contact.email"}})),
                both,
                &[(
                    "projections[segment Person].traits[email]: email → contact.email",
                    Rule::Projection,
                )],
            ),
            (
                "a trait that goes back to the canonical name",
                segment(json!({"traits": {"email": "mail"}})),
                none(),
                both,
                &[(
                    "projections[segment Person].traits[email]: mail → email",
                    Rule::Projection,
                )],
            ),
            (
                "a trait that is left out, and one that is no longer",
                segment(json!({"traits": {"email": null}})),
                segment(json!({"traits": {"fax": "Null"}})),
                both,
                &[
                    (
                        "projections[segment Person].traits[email] is new",
                        Rule::ProjectionAdded,
                    ),
                    ("projections[segment Person].traits[fax] is gone", Rule::Projection),
                ],
            ),
            (
                "a new trait with a name of its own",
                none(),
                segment(json!({"traits": {"city": "address.city"}})),
                &["email", "fax", "city"],
                &[
                    ("objects[Contact].traits[city] is new", Rule::TraitAdded),
                    ("projections[segment Person].traits[city] is new", Rule::ProjectionAdded),
                ],
            ),
            (
                "a trait that is gone, with its name",
                segment(json!({"traits": {"fax": "old.fax"}})),
                none(),
                &["email"],
                &[("objects[Contact].traits[fax] is gone", Rule::TraitRemoved)],
            ),
            (
                "the canonical name, said",
                none(),
                segment(json!({"traits": {"email": "email"}})),
                both,
                &[(
                    "projections[segment Person].traits[email]: email → email",
                    Rule::Wording,
                )],
            ),
            (
                "an event, its property and an identity",
                none(),
                segment(json!({
                    "events": {"Joined": "Signed Up"}, "properties": {"Joined": {"by": "via"}}, "identity": {"email": "mail"},
                })),
                both,
                &[
                    (
                        "projections[segment Person].events[Joined]: Joined → Signed Up",
                        Rule::Projection,
                    ),
                    (
                        "projections[segment Person].properties[Joined][by]: by → via",
                        Rule::Projection,
                    ),
                    (
                        "projections[segment Person].identity[email]: email → mail",
                        Rule::Projection,
                    ),
                ],
            ),
            (
                "a property of an event that was left out",
                segment(json!({"events": {"Joined": null}})),
                segment(json!({"properties": {"Joined": {"by": "via"}}})),
                both,
                &[
                    (
                        "projections[segment Person].events[Joined] is new",
                        Rule::ProjectionAdded,
                    ),
                    (
                        "projections[segment Person].properties[Joined][by] is new",
                        Rule::ProjectionAdded,
                    ),
                ],
            ),
        ];
        for (case, before, after, traits, expected) in cases {
            let comparison = compared(before, after, traits);
            let told: Vec<_> = comparison
                .changes
                .iter()
                .map(|one| (one.to_string(), one.rule))
                .collect();
            let expected: Vec<_> = expected
                .iter()
                .map(|(words, rule)| ((*words).to_owned(), *rule))
                .collect();
            assert_eq!(told, expected, "{case}");
        }
    }

    #[test]
    fn who_rests_on_a_trait_is_told_of_its_new_name() {
        let after = json!([{"cdp": "segment", "entity": "Person", "traits": {"email": "mail"}}]);
        let told = json!(compared(json!([]), after, &["email", "fax"]).told());
        assert_eq!(
            told,
            json!({"#crm": {"Audience \"Readers\"": ["projections[segment Person].traits[email]"]}})
        );
    }

    #[test]
    fn every_part_of_a_projection_is_compared() {
        let whole = json!({
            "cdp": "segment", "entity": "Person", "traits": {"a": "b"}, "events": {"a": "b"}, "properties": {"a": {"b": "c"}},
            "identity": {"a": "b"}, "consent": {"a": "b"},
        });
        let Projection {
            cdp: _,
            entity: _,
            traits,
            events,
            properties,
            identity,
            consent,
        } = serde_json::from_value(whole).unwrap();
        assert_eq!(
            [
                traits.len(),
                events.len(),
                properties.len(),
                identity.len(),
                consent.len()
            ],
            [1; 5]
        );
    }
}
