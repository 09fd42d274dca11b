//! A value: its source, its transforms, and the type that it ends in.

use super::super::cel::Expression;
use super::super::error::did_you_mean;
use super::super::plan::{Chain, Source};
use super::super::transform::{Compiler, Step};
use super::super::typed::{Kinds, Type, Values};
use super::ObjectCompiler;
use crate::api::mapping_version::{TraitType, Transform};

impl ObjectCompiler<'_> {
    /// The type that a chain ends in, with what it says of items and of the table.
    pub(super) fn to(
        &mut self,
        kind: TraitType,
        items: Option<TraitType>,
        table: Option<&str>,
        transforms: &[Transform],
        path: &str,
    ) -> Type {
        use TraitType::{Enum, Json, List, Money};
        let mut to = Type::from(kind);
        if kind == List {
            let item = items.filter(|item| !matches!(item, Money | List | Json));
            to.items = Some(Box::new(Type::from(item.unwrap_or(TraitType::String))));
        }
        match (kind, items) {
            (List, None) => self.errors.add(
                format_args!("{path}.items"),
                "a List needs items: the type of its items, like String",
            ),
            (List, Some(item @ (Money | List | Json))) => self.errors.add(
                format_args!("{path}.items"),
                format!("a List's items can't be {item:?}, only values of one part"),
            ),
            (List, Some(_)) => {}
            (_, Some(_)) => self.errors.add(
                format_args!("{path}.items"),
                format!("only a List has items, and the type is {kind:?}"),
            ),
            (_, None) => {}
        }
        let checked = match &mut to {
            Type { kind: Enum, .. } => &mut to,
            Type { items: Some(items), .. } if items.kind == Enum => &mut **items,
            _ => {
                if table.is_some() {
                    self.errors.add(
                        format_args!("{path}.enum"),
                        format!("only an Enum, or a List of them, has a table, and the type is {kind:?}"),
                    );
                }
                return to;
            }
        };
        let last = transforms.iter().rev().find_map(|transform| match transform {
            Transform::Enum { table, .. } => Some(table.as_str()),
            _ => None,
        });
        match table.or(last).map(|name| (name, self.spec.enums.get(name))) {
            Some((name, Some(entries))) => checked.values = Some(Values::new(name, entries.values())),
            // the transform itself says that there is no such table
            Some((_, None)) if table.is_none() => {}
            Some((name, None)) => {
                let hint = did_you_mean(name, self.spec.enums.keys().map(String::as_str));
                self.errors
                    .add(format_args!("{path}.enum"), format!("no enum table {name:?}{hint}"));
            }
            None => self.errors.add(
                format_args!("{path}.enum"),
                "an Enum needs enum, the table of its values, or the transform enum",
            ),
        }
        to
    }
    /// A field's value, transformed.
    pub(super) fn chain(&mut self, from: &str, transforms: &[Transform], to: Type, path: &str) -> Chain {
        let field = self.fields.index(from, &format!("{path}.from"), self.errors);
        Chain {
            source: Source::Field(field),
            steps: self.steps(transforms, Kinds::FIELD, &to, path),
            to,
        }
    }

    /// An expression's value, transformed.
    pub(super) fn computed(&mut self, source: &str, transforms: &[Transform], to: Type, path: &str) -> Chain {
        let cel = format!("{path}.cel");
        let Some(expression) = self.expression(source, None, &cel) else {
            return self.chain("Id", &[], TraitType::String.into(), path);
        };
        let kinds = expression
            .check(to.kind, !transforms.is_empty())
            .unwrap_or_else(|message| {
                self.errors.add(&cel, message);
                Kinds::FIELD
            });
        Chain {
            source: Source::Cel(expression),
            steps: if transforms.is_empty() {
                Vec::new()
            } else {
                self.steps(transforms, kinds, &to, path)
            },
            to,
        }
    }

    pub(super) fn expression(&mut self, source: &str, value: Option<usize>, path: &str) -> Option<Expression> {
        let (fields, errors) = (&mut self.fields, &mut *self.errors);
        match Expression::compile(source, value, |name| fields.index(name, path, errors)) {
            Ok(expression) => Some(expression),
            Err(faults) => {
                faults.iter().for_each(|fault| errors.add(path, fault.to_string()));
                None
            }
        }
    }

    pub(super) fn steps(&mut self, transforms: &[Transform], kinds: Kinds, to: &Type, path: &str) -> Vec<Step> {
        let mut compiler = Compiler {
            spec: self.spec,
            rates: self.rates,
            to,
            fields: &mut self.fields,
            errors: self.errors,
        };
        compiler.steps(transforms, kinds, path)
    }
}
