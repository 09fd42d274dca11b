//! Events, and their properties.

use super::super::plan::{Event, Property};
use super::super::projection;
use super::{ObjectCompiler, unique};
use crate::api::Classification;
use crate::api::mapping_version::EventTrigger;

impl ObjectCompiler<'_> {
    pub(super) fn events(&mut self, highest: Classification) -> Vec<Event> {
        let object = self.object;
        let mut events = Vec::with_capacity(object.events.len());
        for (position, event) in object.events.iter().enumerate() {
            let path = format!("{}.events[{position}]", self.path);
            unique(
                &format!("{path}.properties"),
                "property",
                event.properties.iter().map(|property| &property.property),
                self.errors,
            );
            let Some(sent_as) = self.names.of_event(&event.name) else {
                continue;
            };
            let watched = match &event.when {
                EventTrigger::Created {} => None,
                EventTrigger::Changed(field) => {
                    Some(self.fields.index(field, &format!("{path}.when.changed"), self.errors))
                }
            };
            let at = event
                .at
                .as_ref()
                .map(|at| self.fields.index(at, &format!("{path}.at"), self.errors));
            let mut properties = Vec::with_capacity(event.properties.len());
            for (place, property) in event
                .properties
                .iter()
                .enumerate()
                .filter(|(_, property)| property.classification <= highest)
            {
                let Some(target) = self.names.of_property(&event.name, &property.property) else {
                    continue;
                };
                let path = format!("{path}.properties[{place}]");
                let to = self.to(
                    property.kind,
                    property.items,
                    property.table.as_deref(),
                    &property.transforms,
                    &path,
                );
                properties.push(Property {
                    name: property.property.clone(),
                    target,
                    chain: self.chain(&property.from, &property.transforms, to, &path),
                });
            }
            projection::gather(&mut properties, |property| &property.target);
            events.push(Event {
                name: event.name.clone(),
                sent_as,
                at,
                watched,
                properties,
            });
        }
        events
    }
}
