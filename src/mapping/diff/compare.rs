//! The walk over two specs.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use serde_json::{Map, Value, json};

use super::projections;
use super::rule::Rule;
use super::shape::{Elements, Field, How, Reach, SPEC, remove_after};
use super::{Change, ChangeKind, Comparison};
use crate::api::mapping_version::{Dependent, MappingVersionSpec, ObjectMapping};

pub(super) fn compare(before: &MappingVersionSpec, after: &MappingVersionSpec, today: Date) -> Comparison {
    let (changes, until) = walk(before, after, (&json!(before), &json!(after)), today);
    let mut owners = after.owners.clone();
    for owner in &before.owners {
        if !owners.contains(owner) {
            owners.push(owner.clone());
        }
    }
    Comparison {
        mapping: after.mapping.clone(),
        from: before.version.clone(),
        to: after.version.clone(),
        changes,
        owners,
        until,
    }
}

/// The changes between two specs, which are given as JSON as well.
pub(super) fn walk(
    before: &MappingVersionSpec,
    after: &MappingVersionSpec,
    (old, new): (&Value, &Value),
    today: Date,
) -> (Vec<Change>, Option<Date>) {
    let mut walk = Walk {
        before,
        after,
        today,
        changes: Vec::new(),
        until: None,
    };
    walk.enums(old, new);
    walk.rates(old, new);
    walk.fields(&At::default(), SPEC, Rule::Unruled, old, new);
    walk.projections();
    (walk.changes, walk.until)
}

/// Where the walk stands.
#[derive(Clone, Default)]
struct At {
    path: String,
    object: Option<String>,
    touches: Touches,
}

/// The traits of an object that a change concerns.
#[derive(Clone, Default)]
enum Touches {
    #[default]
    None,
    One(String),
    All,
}

impl At {
    fn field(&self, name: &str) -> At {
        let path = if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        };
        At { path, ..self.clone() }
    }

    fn element(&self, name: &str, reach: Reach) -> At {
        At {
            path: format!("{}[{name}]", self.path),
            // Objects are the only list of the spec whose reach is all of an object.
            object: self
                .object
                .clone()
                .or_else(|| (reach == Reach::Object).then(|| name.to_owned())),
            touches: match reach {
                Reach::Nothing => Touches::None,
                Reach::Itself => Touches::One(name.to_owned()),
                Reach::Object => Touches::All,
            },
        }
    }
}

struct Walk<'w> {
    before: &'w MappingVersionSpec,
    after: &'w MappingVersionSpec,
    today: Date,
    changes: Vec<Change>,
    until: Option<Date>,
}

impl Walk<'_> {
    fn fields(&mut self, at: &At, fields: &[Field], other: Rule, before: &Value, after: &Value) {
        let null = Value::Null;
        for field in fields {
            let (old, new) = (&before[field.name], &after[field.name]);
            match &field.how {
                How::Elsewhere => {}
                How::Whole(judge) => self.differs(&at.field(field.name), old, new, judge),
                How::Elements(elements) => self.elements(&at.field(field.name), elements, old, new),
            }
        }
        let names = |value: &Value| value.as_object().into_iter().flat_map(Map::keys).cloned().collect();
        let mut unnamed: BTreeSet<String> = names(before);
        unnamed.extend(names(after));
        for name in unnamed {
            if !fields.iter().any(|field| field.name == name) {
                let (old, new) = (before.get(&name), after.get(&name));
                let judge = |_: &Value, _: &Value| other;
                self.differs(&at.field(&name), old.unwrap_or(&null), new.unwrap_or(&null), &judge);
            }
        }
    }

    fn differs(&mut self, at: &At, before: &Value, after: &Value, judge: &dyn Fn(&Value, &Value) -> Rule) {
        if before == after {
            return;
        }
        let kind = match (before, after) {
            (Value::Null, _) => ChangeKind::Added,
            (_, Value::Null) => ChangeKind::Removed,
            _ => ChangeKind::Changed,
        };
        self.change(at, kind, judge(before, after), before, after);
    }

    fn elements(&mut self, at: &At, list: &Elements, before: &Value, after: &Value) {
        let (old, new) = (by_name(list, before), by_name(list, after));
        let find = |elements: &[(String, Value)], name: &str| {
            elements
                .iter()
                .find(|(other, _)| other == name)
                .map(|(_, element)| element.clone())
        };
        for (name, element) in &old {
            let here = at.element(name, list.reach);
            match find(&new, name) {
                Some(other) => self.fields(&here, list.fields, list.other, element, &other),
                None => {
                    let rule = (list.removed)(element, self.today);
                    self.change(&here, ChangeKind::Removed, rule, element, &Value::Null);
                    if rule == Rule::TraitRemoved {
                        self.removed_trait(element, &new);
                    }
                }
            }
        }
        for (name, element) in new.iter().filter(|(name, _)| find(&old, name).is_none()) {
            let here = at.element(name, list.reach);
            let rule = (list.added)(element);
            self.change(&here, ChangeKind::Added, rule, &Value::Null, element);
        }
        if let Some(rule) = list.reordered {
            let order = |these: &[(String, Value)], others: &[(String, Value)]| -> Vec<String> {
                let both = these.iter().filter(|(name, _)| find(others, name).is_some());
                both.map(|(name, _)| name.clone()).collect()
            };
            let (before, after) = (order(&old, &new), order(&new, &old));
            if before != after {
                let here = At {
                    touches: Touches::All,
                    ..at.clone()
                };
                self.change(&here, ChangeKind::Changed, rule, &json!(before), &json!(after));
            }
        }
    }

    /// When the removal is allowed, and what may have become of the trait.
    fn removed_trait(&mut self, element: &Value, new: &[(String, Value)]) {
        let deprecated = &element["deprecated"];
        let day = remove_after(deprecated);
        self.until = self.until.into_iter().chain(day).min();
        let same_source = |other: &&(String, Value)| {
            ["from", "cel", "type", "transforms"]
                .iter()
                .all(|field| other.1[*field] == element[*field])
        };
        let hint = match (day, deprecated["use"].as_str(), new.iter().find(same_source)) {
            (Some(day), _, _) => format!("it may be gone from {day} on"),
            (None, Some(instead), _) => format!("{instead} is to be used in its place"),
            (None, None, Some((name, _))) => format!("{name} has the same source: was it renamed?"),
            (None, None, None) => return,
        };
        if let Some(change) = self.changes.last_mut() {
            change.hint = Some(hint);
        }
    }

    fn change(&mut self, at: &At, kind: ChangeKind, rule: Rule, before: &Value, after: &Value) {
        let effect = rule.effect();
        let (critical, dependents) = if rule.touches_somebody() {
            self.touched(at.object.as_deref(), &at.touches)
        } else {
            (Vec::new(), Vec::new())
        };
        let shown = |value: &Value| (!value.is_null()).then(|| value.clone());
        self.changes.push(Change {
            path: at.path.clone(),
            kind,
            rule,
            effect,
            before: shown(before),
            after: shown(after),
            hint: None,
            critical,
            dependents,
        });
    }

    /// The critical traits among those concerned, and what rests on them, by either version.
    fn touched(&self, object: Option<&str>, touches: &Touches) -> (Vec<String>, Vec<Dependent>) {
        let (mut critical, mut dependents) = (Vec::new(), Vec::new());
        let concerns = |name: &str| match touches {
            Touches::None => false,
            Touches::One(one) => one == name,
            Touches::All => true,
        };
        for mapping in self.objects(object) {
            let marked = mapping.traits.iter().filter(|one| one.critical && concerns(&one.name));
            for name in marked.map(|one| &one.name) {
                if !critical.contains(name) {
                    critical.push(name.clone());
                }
            }
            for dependent in mapping.dependents.iter().filter(|one| concerns(&one.trait_name)) {
                if !dependents.contains(dependent) {
                    dependents.push(dependent.clone());
                }
            }
        }
        (critical, dependents)
    }

    /// An object's mappings in both versions.
    fn objects(&self, object: Option<&str>) -> impl Iterator<Item = &ObjectMapping> {
        let both = self.before.objects.iter().chain(&self.after.objects);
        both.filter(move |mapping| Some(mapping.object.as_str()) == object)
    }

    /// Enum tables, value by value: a table changes what uses it, and nothing else.
    fn enums(&mut self, before: &Value, after: &Value) {
        let (old, new) = (&self.before.enums, &self.after.enums);
        let tables: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        let empty = BTreeMap::new();
        for table in tables {
            let uses = uses_of(table, before);
            let still: Vec<_> = uses_of(table, after)
                .into_iter()
                .filter(|after| uses.iter().any(|before| before.is_same(after)))
                .collect();
            let kept = uses
                .iter()
                .any(|one| one.says == "Keep" && still.iter().any(|after| after.is_same(one)));
            let (old, new) = (old.get(table).unwrap_or(&empty), new.get(table).unwrap_or(&empty));
            let values: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for value in values {
                let (was, is) = (old.get(value), new.get(value));
                let (kind, rule) = match (was, is) {
                    (was, is) if was == is => continue,
                    (None, _) => (ChangeKind::Added, Rule::EnumValueAdded),
                    (_, None) => (ChangeKind::Removed, Rule::EnumValue),
                    _ => (ChangeKind::Changed, Rule::EnumValue),
                };
                let rule = match rule {
                    _ if still.is_empty() => Rule::EnumUnused,
                    // Without an entry the CRM's own value was delivered.
                    _ if kept => Rule::EnumValue,
                    rule => rule,
                };
                let at = At::default().field(&format!("enums[{table}][{value}]"));
                self.change(&at, kind, rule, &json!(was), &json!(is));
                self.concern(&still);
            }
        }
    }

    /// Rates: they change what is converted by them.
    fn rates(&mut self, before: &Value, after: &Value) {
        let (old, new) = (&before["rates"], &after["rates"]);
        if old != new {
            self.differs(&At::default().field("rates"), old, new, &|_, _| Rule::Rates);
            let was = conversions(before);
            let mut uses = conversions(after);
            uses.retain(|after| was.iter().any(|before| before.is_same(after)));
            self.concern(&uses);
        }
    }

    /// What each CDP is sent under which name.
    fn projections(&mut self) {
        for moved in projections::moved(self.before, self.after) {
            let at = At::default().field(&moved.path);
            let (before, after) = (json!(moved.before), json!(moved.after));
            self.change(&at, moved.kind, moved.rule, &before, &after);
            let both = [self.before, self.after].map(|spec| &spec.objects);
            let objects: BTreeSet<&str> = both
                .into_iter()
                .flatten()
                .filter(|object| object.entity == moved.entity)
                .map(|object| object.object.as_str())
                .collect();
            let touches = match (moved.of_trait, moved.of_identity) {
                (Some(name), _) => Touches::One(name),
                (None, true) => Touches::All,
                (None, false) => Touches::None,
            };
            let touched: Vec<_> = objects
                .into_iter()
                .map(|object| self.touched(Some(object), &touches))
                .collect();
            let Some(change) = self.changes.last_mut().filter(|change| change.rule.touches_somebody()) else {
                continue;
            };
            for (critical, dependents) in touched {
                for name in critical {
                    if !change.critical.contains(&name) {
                        change.critical.push(name);
                    }
                }
                for dependent in dependents {
                    if !change.dependents.contains(&dependent) {
                        change.dependents.push(dependent);
                    }
                }
            }
        }
    }

    /// The last change concerns what uses an enum table, or the rates.
    fn concern(&mut self, uses: &[Use]) {
        let Some(mut change) = self.changes.pop() else { return };
        for one in uses.iter().filter(|_| change.rule.touches_somebody()) {
            let (critical, dependents) = self.touched(Some(&one.object), &one.touches());
            change.critical.extend(critical);
            change.dependents.extend(dependents);
        }
        let names: Vec<_> = uses.iter().map(|one| format!("{}.{}", one.object, one.name)).collect();
        change.hint = (!names.is_empty()).then(|| format!("used by {}", names.join(", ")));
        self.changes.push(change);
    }
}

/// The elements of a list, each with its name.
fn by_name(list: &Elements, elements: &Value) -> Vec<(String, Value)> {
    let name = |element: &Value| -> String {
        let parts = list.key.iter().map(|part| element[*part].as_str().unwrap_or_default());
        parts.collect::<Vec<_>>().join(" ")
    };
    let elements = elements.as_array().into_iter().flatten();
    elements
        .map(|element| {
            let named = name(element);
            let mut rest = element.clone();
            if let Some(fields) = rest.as_object_mut() {
                for part in list.key {
                    fields.remove(*part);
                }
            }
            (named, rest)
        })
        .collect()
}

/// A use of an enum table, or of the rates.
#[derive(Debug)]
struct Use {
    object: String,
    /// `traits`, `identity` and so on.
    list: String,
    /// The name of the element: a trait's, an identity's kind, an event's with its property.
    name: String,
    /// What the step says: of an enum table, what becomes of a value that it lacks.
    says: String,
}

impl Use {
    fn is_same(&self, other: &Use) -> bool {
        (&self.object, &self.list, &self.name) == (&other.object, &other.list, &other.name)
    }

    fn touches(&self) -> Touches {
        match self.list.as_str() {
            "traits" => Touches::One(self.name.clone()),
            "events" => Touches::None,
            _ => Touches::All,
        }
    }
}

/// What a step of a mapping's transforms says that is looked for; nothing where it is another.
type Looked<'l> = &'l dyn Fn(&Map<String, Value>) -> Option<String>;

/// The uses of an enum table, by a transform or as the type of a trait, each with what becomes of a value that it lacks.
fn uses_of(table: &str, spec: &Value) -> Vec<Use> {
    let otherwise = |step: &Value| step["otherwise"].as_str().unwrap_or("Reject").to_owned();
    uses(spec, &|fields| {
        let step = fields.get("enum")?;
        (step["table"] == table || *step == table).then(|| otherwise(step))
    })
}

/// The uses of the rates: what is converted to a currency.
fn conversions(spec: &Value) -> Vec<Use> {
    uses(spec, &|fields| {
        fields.get("money")?["to"].as_str().map(ToOwned::to_owned)
    })
}

/// Every element of a spec's objects in which something is found, wherever in its transforms it stands.
fn uses(spec: &Value, looked_for: Looked<'_>) -> Vec<Use> {
    const NAMES: [&str; 5] = ["trait", "kind", "purpose", "name", "property"];
    let mut uses = Vec::new();
    for object in spec["objects"].as_array().into_iter().flatten() {
        for (list, elements) in object.as_object().into_iter().flatten() {
            for element in elements.as_array().into_iter().flatten() {
                let name = NAMES.iter().find_map(|name| element[*name].as_str());
                let mut found = Vec::new();
                find(looked_for, element, &mut found);
                uses.extend(found.into_iter().map(|says| Use {
                    object: object["object"].as_str().unwrap_or_default().to_owned(),
                    list: list.clone(),
                    name: name.unwrap_or_default().to_owned(),
                    says,
                }));
            }
        }
    }
    uses
}

fn find(looked_for: Looked<'_>, within: &Value, into: &mut Vec<String>) {
    match within {
        Value::Object(fields) => {
            into.extend(looked_for(fields));
            fields.values().for_each(|field| find(looked_for, field, into));
        }
        Value::Array(elements) => elements.iter().for_each(|element| find(looked_for, element, into)),
        _ => {}
    }
}
