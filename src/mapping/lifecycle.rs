//! What the calendar makes of a contract: a review that is due, deprecated traits whose day has come.

use jiff::civil::Date;

use super::diff::named;
use super::{CompileError, did_you_mean};
use crate::api::mapping_version::MappingVersionSpec;

/// Past the day of `reviewBy`: that the contract is due for a review, and who answers for it.
pub fn review_due(spec: &MappingVersionSpec, today: Date) -> Option<CompileError> {
    let day = spec.review_by.filter(|day| *day < today)?;
    let owners: Vec<_> = spec
        .owners
        .iter()
        .map(|owner| format!("{} ({})", owner.team, owner.contact))
        .collect();
    let asked = match owners.as_slice() {
        [] => "its owners, whom spec.owners should name".to_owned(),
        owners => owners.join(", "),
    };
    Some(CompileError {
        path: "spec.reviewBy".to_owned(),
        message: format!(
            "{day} has passed; have the contract reviewed by {asked}, and release a version with a later day"
        ),
    })
}

/// From the day of `removeAfter` on: each deprecated trait that a next version may leave out, and what still rests on it.
pub fn removals_due(spec: &MappingVersionSpec, today: Date) -> Vec<CompileError> {
    let mut due = Vec::new();
    for (position, object) in spec.objects.iter().enumerate() {
        for (place, rule) in object.traits.iter().enumerate() {
            let Some(deprecated) = &rule.deprecated else { continue };
            let Some(day) = deprecated.remove_after.filter(|day| *day <= today) else {
                continue;
            };
            let resting = object.dependents.iter().filter(|one| one.trait_name == rule.name);
            let resting: Vec<_> = resting.map(|one| format!("{} ({})", named(one), one.owner)).collect();
            let rests = match resting.as_slice() {
                [] => "nothing is known to rest on it".to_owned(),
                resting => format!("on it rests {}", resting.join(", ")),
            };
            let instead = deprecated.use_instead.as_ref();
            let instead = instead.map_or(String::new(), |instead| {
                format!("; {instead} is to be used in its place")
            });
            due.push(CompileError {
                path: format!("spec.objects[{position}].traits[{place}].deprecated"),
                message: format!(
                    "trait {:?} of {} may be left out of the next version, since {day} has come{instead}; {rests}",
                    rule.name, object.object
                ),
            });
        }
    }
    due
}

/// What a contract names that is not there: a dependent's trait, the trait to use in place of a deprecated one. Nothing fails by that,
/// but nobody would be told of a change.
pub fn loose_ends(spec: &MappingVersionSpec) -> Vec<CompileError> {
    let mut loose = Vec::new();
    for (position, object) in spec.objects.iter().enumerate() {
        let names = || object.traits.iter().map(|rule| rule.name.as_str());
        let mut hold = |path: String, name: &str| {
            if !names().any(|known| known == name) {
                let hint = did_you_mean(name, names());
                loose.push(CompileError {
                    path: format!("spec.objects[{position}].{path}"),
                    message: format!("object {} has no trait {name:?}{hint}", object.object),
                });
            }
        };
        for (place, dependent) in object.dependents.iter().enumerate() {
            hold(format!("dependents[{place}].trait"), &dependent.trait_name);
        }
        for (place, rule) in object.traits.iter().enumerate() {
            let deprecated = rule.deprecated.as_ref();
            if let Some(instead) = deprecated.and_then(|deprecated| deprecated.use_instead.as_ref()) {
                hold(format!("traits[{place}].deprecated.use"), instead);
            }
        }
    }
    loose
}

/// The first day after `today` on which something is due that is not yet.
pub fn next_day(spec: &MappingVersionSpec, today: Date) -> Option<Date> {
    let review = spec.review_by.and_then(|day| day.tomorrow().ok());
    let traits = spec.objects.iter().flat_map(|object| &object.traits);
    let removals = traits.filter_map(|rule| rule.deprecated.as_ref()?.remove_after);
    removals.chain(review).filter(|day| *day > today).min()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_due_is_told_from_its_day_on() {
        let spec: MappingVersionSpec = serde_json::from_value(json!({
            "mapping": "m", "version": "1.0.0", "reviewBy": "2026-03-01",
            "owners": [{"team": "crm", "contact": "crm@acme.example", "role": "Accountable"}],
            "objects": [{
                "object": "Contact", "entity": "Person", "identity": [{"kind": "crm_id", "from": "Id"}],
                "traits": [{"trait": "fax", "from": "Fax", "type": "String",
                    "deprecated": {"since": "1.0.0", "removeAfter": "2026-04-01", "use": "phone"}}],
                "dependents": [{"trait": "fax", "kind": "Report", "name": "Faxes", "owner": "#ops"}],
            }],
        }))
        .unwrap();
        let told = |today: &str| {
            let today: Date = today.parse().unwrap();
            let due = review_due(&spec, today).into_iter().chain(removals_due(&spec, today));
            let paths: Vec<_> = due.map(|one| one.path).collect();
            (
                paths.join(" "),
                next_day(&spec, today).map(|day| day.to_string()).unwrap_or_default(),
            )
        };
        let (review, removal) = ("spec.reviewBy", "spec.objects[0].traits[0].deprecated");
        let cases = [
            ("2026-02-28", String::new(), "2026-03-02"),
            ("2026-03-01", String::new(), "2026-03-02"),
            ("2026-03-02", review.to_owned(), "2026-04-01"),
            ("2026-03-31", review.to_owned(), "2026-04-01"),
            ("2026-04-01", format!("{review} {removal}"), ""),
        ];
        for (today, paths, next) in cases {
            assert_eq!(told(today), (paths, next.to_owned()), "{today}");
        }
        let loose: Vec<_> = loose_ends(&spec).into_iter().map(|one| one.path).collect();
        assert_eq!(loose, ["spec.objects[0].traits[0].deprecated.use"]);
        let last = removals_due(&spec, "2026-04-01".parse().unwrap()).remove(0).to_string();
        assert_eq!(
            last,
            "spec.objects[0].traits[0].deprecated: trait \"fax\" of Contact may be left out of the next version, since \
             2026-04-01 has come; phone is to be used in its place; on it rests Report \"Faxes\" (#ops)"
        );
    }
}
