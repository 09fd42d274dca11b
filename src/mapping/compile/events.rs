//! Events, and their properties.

use super::super::plan::Event;
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
                let path = format!("{path}.properties[{place}]");
                let to = self.to(
                    property.kind,
                    property.items,
                    property.table.as_deref(),
                    &property.transforms,
                    &path,
                );
                properties.push((
                    property.property.clone(),
                    self.chain(&property.from, &property.transforms, to, &path),
                ));
            }
            events.push(Event {
                name: event.name.clone(),
                at,
                watched,
                properties,
            });
        }
        events
    }
}
