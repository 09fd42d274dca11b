//! Of which parts a spec consists, and which rule a change of each falls under.

use jiff::civil::Date;
use serde_json::Value;

use super::rule::Rule;

/// The rule of a field that differs, given what it was and what it is; a field that is not there is null.
pub(super) type Judge = fn(before: &Value, after: &Value) -> Rule;

/// A field of something.
pub(super) struct Field {
    pub name: &'static str,
    pub how: How,
}

/// How a field is compared.
pub(super) enum How {
    /// It is not: it names what it is a field of, or it is compared elsewhere.
    Elsewhere,
    /// As a whole.
    Whole(Judge),
    /// Element by element.
    Elements(&'static Elements),
}

/// A list whose elements have names.
pub(super) struct Elements {
    /// The fields that together name an element.
    pub key: &'static [&'static str],
    pub fields: &'static [Field],
    pub added: fn(element: &Value) -> Rule,
    pub removed: fn(element: &Value, today: Date) -> Rule,
    /// The rule of another order, where the order means something.
    pub reordered: Option<Rule>,
    /// The rule of a field that `fields` does not name.
    pub other: Rule,
    pub reach: Reach,
}

/// Which traits a change concerns.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// None.
    Nothing,
    /// The one that the element is.
    Itself,
    /// All of the object: a change of who is who, or of who may be activated, moves people in and out of every audience.
    Object,
}

const fn whole(name: &'static str, judge: Judge) -> Field {
    Field {
        name,
        how: How::Whole(judge),
    }
}

const fn elsewhere(name: &'static str) -> Field {
    Field {
        name,
        how: How::Elsewhere,
    }
}

const fn elements(name: &'static str, elements: &'static Elements) -> Field {
    Field {
        name,
        how: How::Elements(elements),
    }
}

/// The spec itself.
pub(super) static SPEC: &[Field] = &[
    whole("mapping", |_, _| Rule::OtherMapping),
    elsewhere("version"),
    whole("owners", wording),
    whole("reviewBy", wording),
    whole("releaseNotes", wording),
    elsewhere("enums"),
    elsewhere("rates"),
    elements("objects", &OBJECTS),
    elsewhere("projections"),
];

static OBJECTS: Elements = Elements {
    key: &["object"],
    fields: &[
        whole("entity", |_, _| Rule::Entity),
        elements("identity", &IDENTITIES),
        whole("group", |before, _| added(before, Rule::GroupAdded, Rule::Group)),
        whole("subject", |_, _| Rule::Subject),
        whole("mergedInto", |_, _| Rule::Identity),
        whole("convertedInto", |_, _| Rule::Identity),
        elements("traits", &TRAITS),
        elements("dependents", &DEPENDENTS),
        elements("events", &EVENTS),
        elements("consent", &PURPOSES),
        whole("expect", |_, _| Rule::Expectation),
    ],
    added: |_| Rule::ObjectAdded,
    removed: |_, _| Rule::ObjectRemoved,
    reordered: None,
    other: Rule::Unruled,
    reach: Reach::Object,
};

static IDENTITIES: Elements = Elements {
    key: &["kind"],
    fields: &[],
    added: |element| match element["role"].as_str() {
        Some("Informational") => Rule::InformationalIdentity,
        _ => Rule::Identity,
    },
    removed: |_, _| Rule::Identity,
    reordered: Some(Rule::Identity),
    other: Rule::Identity,
    reach: Reach::Object,
};

static TRAITS: Elements = Elements {
    key: &["trait"],
    fields: &[
        whole("from", |_, _| Rule::Meaning),
        whole("cel", |_, _| Rule::Meaning),
        whole("type", |_, _| Rule::Type),
        whole("items", |_, _| Rule::Type),
        whole("enum", |_, _| Rule::Type),
        whole("transforms", |_, _| Rule::Meaning),
        whole("onNull", |before, _| loosened(before, Rule::NullsLoosened, Rule::Nulls)),
        whole("default", |_, _| Rule::Nulls),
        whole("onError", |before, _| {
            loosened(before, Rule::ErrorsLoosened, Rule::Errors)
        }),
        whole("classification", classification),
        whole("description", wording),
        whole("critical", wording),
        whole("deprecated", deprecation),
    ],
    added: |element| match element["onNull"].as_str() {
        Some("Reject") => Rule::TraitRequired,
        _ => Rule::TraitAdded,
    },
    removed: |element, today| match remove_after(&element["deprecated"]) {
        Some(day) if day <= today => Rule::TraitRetired,
        _ => Rule::TraitRemoved,
    },
    reordered: None,
    other: Rule::Unruled,
    reach: Reach::Itself,
};

static DEPENDENTS: Elements = Elements {
    key: &["trait", "kind", "name"],
    fields: &[],
    added: |_| Rule::Wording,
    removed: |_, _| Rule::Wording,
    reordered: None,
    other: Rule::Wording,
    reach: Reach::Nothing,
};

static EVENTS: Elements = Elements {
    key: &["name"],
    fields: &[
        elements("properties", &PROPERTIES),
        whole("description", wording),
        whole("classification", classification),
    ],
    added: |_| Rule::EventAdded,
    removed: |_, _| Rule::EventRemoved,
    reordered: None,
    other: Rule::Event,
    reach: Reach::Nothing,
};

static PROPERTIES: Elements = Elements {
    key: &["property"],
    fields: &[
        whole("from", |_, _| Rule::Meaning),
        whole("cel", |_, _| Rule::Meaning),
        whole("type", |_, _| Rule::Type),
        whole("items", |_, _| Rule::Type),
        whole("enum", |_, _| Rule::Type),
        whole("transforms", |_, _| Rule::Meaning),
        whole("onNull", |before, _| loosened(before, Rule::NullsLoosened, Rule::Nulls)),
        whole("default", |_, _| Rule::Nulls),
        whole("onError", |before, _| {
            loosened(before, Rule::ErrorsLoosened, Rule::Errors)
        }),
        whole("classification", classification),
        whole("description", wording),
    ],
    added: |_| Rule::PropertyAdded,
    removed: |_, _| Rule::PropertyRemoved,
    reordered: None,
    other: Rule::Unruled,
    reach: Reach::Nothing,
};

static PURPOSES: Elements = Elements {
    key: &["purpose"],
    fields: &[whole("description", wording)],
    added: |_| Rule::ConsentAdded,
    removed: |_, _| Rule::Consent,
    reordered: None,
    other: Rule::Consent,
    reach: Reach::Object,
};

fn wording(_: &Value, _: &Value) -> Rule {
    Rule::Wording
}

fn added(before: &Value, added: Rule, other: Rule) -> Rule {
    if before.is_null() { added } else { other }
}

/// What rejected records, and does no more, leaves those as they are that were delivered.
fn loosened(before: &Value, loosened: Rule, other: Rule) -> Rule {
    if before == "Reject" { loosened } else { other }
}

fn classification(before: &Value, after: &Value) -> Rule {
    let level = |value: &Value| serde_json::from_value::<crate::api::Classification>(value.clone()).unwrap_or_default();
    if level(after) > level(before) {
        Rule::ClassificationRaised
    } else {
        Rule::ClassificationLowered
    }
}

fn deprecation(before: &Value, after: &Value) -> Rule {
    match (before.is_null(), remove_after(before), remove_after(after)) {
        (false, None, Some(_)) => Rule::DeprecationHastened,
        (false, Some(before), Some(after)) if after < before => Rule::DeprecationHastened,
        _ => Rule::Deprecation,
    }
}

/// The day from which on a deprecated trait may be gone.
pub(super) fn remove_after(deprecated: &Value) -> Option<Date> {
    deprecated["removeAfter"].as_str()?.parse().ok()
}
