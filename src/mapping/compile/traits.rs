//! Traits: their sources, and what becomes of their nulls.

use super::super::plan::Trait;
use super::super::projection::{self, Target};
use super::super::typed::{Current, Type};
use super::super::value::Value;
use super::ObjectCompiler;
use crate::api::Classification;
use crate::api::mapping_version::{OnNull, TraitMapping, TraitType};

impl ObjectCompiler<'_> {
    pub(super) fn traits(&mut self, highest: Classification) -> Vec<Trait> {
        let object = self.object;
        let kept = object
            .traits
            .iter()
            .enumerate()
            .filter(|(_, rule)| rule.classification <= highest);
        let mut traits: Vec<Trait> = kept
            .filter_map(|(position, rule)| {
                let target = self.names.of_trait(&rule.name)?;
                Some(self.rule(position, rule, target))
            })
            .collect();
        projection::gather(&mut traits, |rule| &rule.target);
        traits
    }

    pub(super) fn rule(&mut self, position: usize, rule: &TraitMapping, target: Target) -> Trait {
        let path = format!("{}.traits[{position}]", self.path);
        let to = self.to(rule.kind, rule.items, rule.table.as_deref(), &rule.transforms, &path);
        let default = self.default(rule, &to, &path);
        let chain = match (&rule.from, &rule.cel) {
            (Some(from), None) => self.chain(from, &rule.transforms, to, &path),
            (None, Some(source)) => self.computed(source, &rule.transforms, to, &path),
            _ => {
                self.errors.add(&path, "a trait has exactly one of from, cel");
                self.chain("Id", &[], TraitType::String.into(), &path)
            }
        };
        Trait {
            name: rule.name.clone(),
            position,
            target,
            chain,
            on_null: rule.on_null,
            default,
            on_error: rule.on_error,
        }
    }

    /// The value for `onNull: Default`.
    pub(super) fn default(&mut self, rule: &TraitMapping, to: &Type, path: &str) -> Option<Value<'static>> {
        let path = format!("{path}.default");
        let text = match (rule.on_null, &rule.default) {
            (OnNull::Default, Some(text)) => text,
            (OnNull::Default, None) => {
                self.errors
                    .add(&path, "onNull: Default needs default, the value to take");
                return None;
            }
            (_, Some(_)) => {
                self.errors
                    .add(&path, "only onNull: Default takes it; say so, or leave default out");
                return None;
            }
            (_, None) => return None,
        };
        match Current::parse(text, to).map(|value| value.fit(to).map(|value| value.owned())) {
            Ok(Ok(value)) => Some(value),
            Ok(Err(_)) => None,
            Err(rule) => {
                self.errors
                    .add(&path, format!("{text:?} {rule}, and the type is {:?}", to.kind));
                None
            }
        }
    }
}
