//! An object's mapping against the sink that it is delivered to.

use super::super::error::{Errors, did_you_mean};
use super::identity::successors;
use crate::api::CdpSinkSpec;
use crate::api::mapping_version::{Entity, IdentityRole, ObjectMapping};

/// What is wrong with an object's mapping only because of the sink that it is delivered to.
pub(super) fn pair(mapping: &ObjectMapping, position: usize, sink: &CdpSinkSpec, errors: &mut Errors) {
    let object = &mapping.object;
    let has = |kind: &str| mapping.identity.iter().any(|identity| identity.kind == kind);
    let hint = |kind: &str| {
        let kinds: Vec<&str> = mapping.identity.iter().map(|identity| identity.kind.as_str()).collect();
        match did_you_mean(kind, kinds.iter().copied()) {
            none if none.is_empty() => format!("; it has {}", kinds.join(", ")),
            near => near,
        }
    };
    let user = &sink.identity.user_id;
    match mapping.entity {
        Entity::Person if !has(user) => errors.add(
            "CdpSink spec.identity.userId",
            format!("object {object} of the mapping has no identity of kind {user:?}{}", hint(user)),
        ),
        Entity::Account => match &sink.identity.group_id {
            None => errors.add(
                "CdpSink spec.identity.groupId",
                format!("object {object} is an Account, which is delivered as a group; name the identity kind that becomes the group id"),
            ),
            Some(group) if !has(group) => errors.add(
                "CdpSink spec.identity.groupId",
                format!("object {object} of the mapping has no identity of kind {group:?}{}", hint(group)),
            ),
            Some(_) => {}
        },
        Entity::Membership => {
            let named = mapping.group.as_ref().map(|group| &group.kind);
            if sink.identity.group_id.as_ref() != named {
                errors.add(
                    "CdpSink spec.identity.groupId",
                    format!(
                        "object {object} is a Membership of groups that are named by {:?}, and the sink takes {} for its group id",
                        named.map_or("", String::as_str),
                        sink.identity.group_id.as_ref().map_or("none".to_owned(), |kind| format!("{kind:?}"))
                    ),
                );
            }
        }
        Entity::Person | Entity::Deal => {}
    }
    let taken = [Some(user), sink.identity.group_id.as_ref()].into_iter().flatten();
    for (place, identity) in mapping.identity.iter().enumerate() {
        if identity.role == IdentityRole::Informational && taken.clone().any(|kind| *kind == identity.kind) {
            errors.add(
                format_args!("spec.objects[{position}].identity[{place}].role"),
                format!(
                    "the sink takes {:?} as its user id or group id, by which it tells who a record is; an Informational key \
                     can be no more than one of the sink's externalIds",
                    identity.kind
                ),
            );
        }
    }
    for (field, successor) in successors(mapping) {
        if successor.kind != *user {
            errors.add(
                format_args!("spec.objects[{position}].{field}.kind"),
                format!(
                    "the sink's user id is {user:?}, so that it can't be told of a successor that is named by {:?}",
                    successor.kind
                ),
            );
        }
    }
    if let Some(subject) = mapping.subject.as_ref().filter(|subject| subject.kind != *user) {
        errors.add(
            format_args!("spec.objects[{position}].subject.kind"),
            format!(
                "the sink's user id is {user:?}, so events that name their person by {:?} would reach nobody",
                subject.kind
            ),
        );
    }
    if mapping.entity == Entity::Account {
        return;
    }
    for (place, purpose) in sink.consent.require.iter().enumerate() {
        if mapping.consent.iter().any(|consent| consent.purpose == *purpose) {
            continue;
        }
        let hint = did_you_mean(purpose, mapping.consent.iter().map(|consent| consent.purpose.as_str()));
        let consequence = match mapping.entity {
            Entity::Deal => "no event of it would ever be delivered",
            Entity::Membership => "none of it would ever be delivered",
            Entity::Person | Entity::Account => "every person of it would be suppressed",
        };
        errors.add(
            format_args!("CdpSink spec.consent.require[{place}]"),
            format!("object {object} of the mapping defines no purpose {purpose:?}, so {consequence}{hint}"),
        );
    }
}
