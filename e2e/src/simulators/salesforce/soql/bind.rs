//! Binds a query to the org's schema: every name must be known, every literal of its field's type.
//!
//! `WHERE` compares text without regard to case, and ids by their 15 characters; `null` in a boolean field's condition
//! means false. <https://developer.salesforce.com/docs/atlas.en-us.soql_sosl.meta/soql_sosl/sforce_api_calls_soql_null.htm>

use std::collections::HashSet;

use jiff::civil::Date;

use super::super::data::Data;
use super::super::error::{ApiError, Result};
use super::super::id::RecordId;
use super::super::schema::{Field, FieldType, Schema, Source};
use super::super::time::Millis;
use super::error_at;
use super::lexer::malformed;
use super::syntax::{Condition, Function, Item, Literal, Operator, Path, Query, Select};

const WSDL: &str = "Please reference your WSDL or the describe call for the appropriate names.";
const DAY: Millis = 86_400_000;

#[derive(Debug)]
pub struct Plan {
    pub table: usize,
    pub output: Output,
    pub filter: Option<Filter>,
    pub order: Vec<Order>,
    pub limit: Option<usize>,
    pub offset: usize,
}

#[derive(Debug)]
pub enum Output {
    Count,
    Records(Vec<Column>),
    /// Name in the answer, what is computed, of what.
    Aggregates(Vec<(String, Function, Getter)>),
}

/// A column of the answer, or a parent with its own.
#[derive(Debug)]
pub enum Column {
    Field {
        name: String,
        kind: FieldType,
        source: Source,
    },
    Parent {
        name: String,
        reference: Source,
        table: usize,
        columns: Vec<Column>,
    },
}

/// A field of the row, or of the row that one of its references names.
#[derive(Clone, Debug)]
pub struct Getter {
    pub parent: Option<(Source, usize)>,
    pub source: Source,
    pub kind: FieldType,
}

#[derive(Debug)]
pub struct Order {
    pub getter: Getter,
    pub descending: bool,
    pub nulls_last: bool,
}

#[derive(Debug)]
pub enum Filter {
    All(Vec<Filter>),
    Any(Vec<Filter>),
    Not(Box<Filter>),
    Compare(Getter, Operator, Operand),
    Within(Getter, Millis, Millis, Operator),
    In(Getter, bool, Vec<Operand>),
    InIds(Getter, bool, HashSet<RecordId>),
}

/// A literal of the field's type. Text is lower case.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    Null,
    Text(String),
    Boolean(bool),
    Number(f64),
    Date(Date),
    DateTime(Millis),
    Id(RecordId),
}

struct Binder<'a> {
    data: &'a Data,
    text: &'a str,
    query: &'a Query,
    table: usize,
    now: Millis,
}

/// Binds `query`, whose text is for error messages.
pub fn bind(data: &Data, text: &str, query: &Query, now: Millis) -> Result<Plan> {
    let table = data.index(&query.object).ok_or_else(|| {
        let object = &query.object;
        let what = format!(
            "sObject type '{object}' is not supported. If you are attempting to use a custom object, be sure to append \
             the '__c' after the entity name. {WSDL}"
        );
        error_at(text, query.object_at, "INVALID_TYPE", &what)
    })?;
    let binder = Binder {
        data,
        text,
        query,
        table,
        now,
    };
    let order = query.order.iter().map(|order| {
        let (getter, field) = binder.getter(&order.path)?;
        if !field.sortable {
            let what = format!("field '{}' can not be sorted in a query call", field.name);
            return Err(error_at(text, order.path.at, "MALFORMED_QUERY", &what));
        }
        Ok(Order {
            getter,
            descending: order.descending,
            nulls_last: order.nulls_last,
        })
    });
    Ok(Plan {
        table,
        output: binder.output()?,
        filter: query
            .condition
            .as_ref()
            .map(|condition| binder.filter(condition))
            .transpose()?,
        order: order.collect::<Result<_>>()?,
        limit: query.limit,
        offset: query.offset,
    })
}

impl Binder<'_> {
    fn schema(&self) -> &Schema {
        &self.data.tables[self.table].schema
    }

    fn output(&self) -> Result<Output> {
        let items = match &self.query.select {
            Select::Count => return Ok(Output::Count),
            Select::Items(items) => items,
        };
        if items.iter().any(|item| matches!(item, Item::Aggregate { .. })) {
            return self.aggregates(items);
        }
        let mut columns = Vec::new();
        for item in items {
            match item {
                Item::Field(path) => self.add_column(&mut columns, path)?,
                Item::Fields { group, at } => self.add_group(&mut columns, group, *at)?,
                Item::Aggregate { .. } => {}
            }
        }
        Ok(Output::Records(columns))
    }

    fn aggregates(&self, items: &[Item]) -> Result<Output> {
        let mut aggregates = Vec::new();
        for item in items {
            match item {
                Item::Aggregate { function, path, alias } => {
                    let (getter, _) = self.getter(path)?;
                    let name = alias.clone().unwrap_or_else(|| format!("expr{}", aggregates.len()));
                    aggregates.push((name, *function, getter));
                }
                Item::Field(path) => {
                    let what = format!("Field must be grouped or aggregated: {}", path.parts.join("."));
                    return Err(malformed(self.text, path.at, &what));
                }
                Item::Fields { at, .. } => {
                    return Err(malformed(
                        self.text,
                        *at,
                        "The SOQL FIELDS function is not supported with an aggregate operator.",
                    ));
                }
            }
        }
        Ok(Output::Aggregates(aggregates))
    }

    /// `FIELDS(ALL)` and `FIELDS(CUSTOM)` need a limit of at most 200.
    /// <https://developer.salesforce.com/docs/atlas.en-us.soql_sosl.meta/soql_sosl/sforce_api_calls_soql_select_fields.htm>
    fn add_group(&self, columns: &mut Vec<Column>, group: &str, at: usize) -> Result<()> {
        if group != "STANDARD" && self.query.limit.is_none_or(|limit| limit > 200) {
            let what = format!("The SOQL FIELDS function must have a LIMIT of at most 200: FIELDS({group})");
            return Err(malformed(self.text, at, &what));
        }
        for field in &self.schema().fields {
            let wanted = match group {
                "ALL" => true,
                "STANDARD" => !field.is_custom(),
                "CUSTOM" => field.is_custom(),
                _ => return Err(malformed(self.text, at, &format!("unexpected token: '{group}'"))),
            };
            if wanted {
                push_field(columns, field);
            }
        }
        Ok(())
    }

    fn add_column(&self, columns: &mut Vec<Column>, path: &Path) -> Result<()> {
        let (schema, parts) = (self.schema(), self.local(path));
        match parts {
            [name] => {
                let field = self.field(schema, name, path.at)?;
                if columns
                    .iter()
                    .any(|column| matches!(column, Column::Field { name, .. } if *name == field.name))
                {
                    let what = format!("duplicate field selected: {}", field.name);
                    return Err(error_at(self.text, path.at, "INVALID_FIELD", &what));
                }
                push_field(columns, field);
            }
            [relationship, name] => {
                let (through, table) = self.parent(relationship, path.at)?;
                let field = self.field(&self.data.tables[table].schema, name, path.at)?;
                let known = through.relationship.clone().unwrap_or_default();
                let of = columns.iter_mut().find_map(|column| match column {
                    Column::Parent { name, columns, .. } if *name == known => Some(columns),
                    _ => None,
                });
                if let Some(of) = of {
                    push_field(of, field);
                } else {
                    let mut of = Vec::new();
                    push_field(&mut of, field);
                    columns.push(Column::Parent {
                        name: known,
                        reference: through.source.clone(),
                        table,
                        columns: of,
                    });
                }
            }
            _ => return Err(self.no_relationship(&parts[1], path.at)),
        }
        Ok(())
    }

    /// The path without the object's name or alias in front.
    fn local<'p>(&self, path: &'p Path) -> &'p [String] {
        let own = |part: &String| {
            part.eq_ignore_ascii_case(&self.query.object)
                || self
                    .query
                    .alias
                    .as_ref()
                    .is_some_and(|alias| alias.eq_ignore_ascii_case(part))
        };
        match path.parts.as_slice() {
            [first, rest @ ..] if !rest.is_empty() && own(first) => rest,
            parts => parts,
        }
    }

    fn getter(&self, path: &Path) -> Result<(Getter, &Field)> {
        let schema = self.schema();
        let (parent, field) = match self.local(path) {
            [name] => (None, self.field(schema, name, path.at)?),
            [relationship, name] => {
                let (through, table) = self.parent(relationship, path.at)?;
                let field = self.field(&self.data.tables[table].schema, name, path.at)?;
                (Some((through.source.clone(), table)), field)
            }
            parts => return Err(self.no_relationship(&parts[1], path.at)),
        };
        Ok((
            Getter {
                parent,
                source: field.source.clone(),
                kind: field.kind,
            },
            field,
        ))
    }

    fn field<'s>(&self, schema: &'s Schema, name: &str, at: usize) -> Result<&'s Field> {
        schema.field(name).ok_or_else(|| {
            let what = format!(
                "No such column '{name}' on entity '{}'. If you are attempting to use a custom field, be sure to append \
                 the '__c' after the custom field name. {WSDL}",
                schema.name
            );
            error_at(self.text, at, "INVALID_FIELD", &what)
        })
    }

    fn parent(&self, relationship: &str, at: usize) -> Result<(&Field, usize)> {
        let through = self.schema().relationship(relationship);
        let found = through.and_then(|field| Some((field, self.data.index(field.reference_to.as_deref()?)?)));
        found.ok_or_else(|| self.no_relationship(relationship, at))
    }

    fn no_relationship(&self, relationship: &str, at: usize) -> ApiError {
        let what = format!(
            "Didn't understand relationship '{relationship}' in field path. If you are attempting to use a custom \
             relationship, be sure to append the '__r' after the custom relationship name. {WSDL}"
        );
        error_at(self.text, at, "INVALID_FIELD", &what)
    }

    fn filter(&self, condition: &Condition) -> Result<Filter> {
        let all = |parts: &[Condition]| parts.iter().map(|part| self.filter(part)).collect::<Result<Vec<_>>>();
        match condition {
            Condition::All(parts) => all(parts).map(Filter::All),
            Condition::Any(parts) => all(parts).map(Filter::Any),
            Condition::Not(part) => Ok(Filter::Not(Box::new(self.filter(part)?))),
            Condition::Compare {
                path,
                operator,
                literal,
            } => self.compare(path, *operator, literal),
            Condition::In {
                path,
                negated,
                literals,
            } => {
                let (getter, field) = self.filterable(path)?;
                let operands = literals.iter().map(|literal| self.operand(path, field, literal));
                let operands = operands.collect::<Result<Vec<_>>>()?;
                let ids: HashSet<RecordId> = operands
                    .iter()
                    .filter_map(|operand| if let Operand::Id(id) = operand { Some(*id) } else { None })
                    .collect();
                let only_ids = operands.iter().all(|operand| matches!(operand, Operand::Id(_)));
                Ok(if only_ids {
                    Filter::InIds(getter, *negated, ids)
                } else {
                    Filter::In(getter, *negated, operands)
                })
            }
        }
    }

    fn compare(&self, path: &Path, operator: Operator, literal: &Literal) -> Result<Filter> {
        let (getter, field) = self.filterable(path)?;
        let refused = |what: &str| Err(error_at(self.text, path.at, "INVALID_QUERY_FILTER_OPERATOR", what));
        let ordered = !matches!(operator, Operator::Equal | Operator::NotEqual);
        match field.kind {
            FieldType::Boolean if ordered => return refused("invalid operator on boolean field"),
            kind if operator == Operator::Like && !kind.is_text() => {
                return refused(&format!("invalid operator on {} field", kind.name()));
            }
            _ => {}
        }
        if let Literal::Days { back, through_today } = literal {
            return self.within(getter, field, path, operator, *back, *through_today);
        }
        let operand = self.operand(path, field, literal)?;
        if ordered && operand == Operand::Null && matches!(field.kind, FieldType::Id | FieldType::Reference) {
            return refused("invalid ID field: ");
        }
        Ok(Filter::Compare(getter, operator, operand))
    }

    /// A relative date is a span of days, in the org's zone, which here is UTC.
    fn within(
        &self,
        getter: Getter,
        field: &Field,
        path: &Path,
        operator: Operator,
        back: i64,
        today: bool,
    ) -> Result<Filter> {
        if !matches!(field.kind, FieldType::Date | FieldType::DateTime) || operator == Operator::Like {
            return Err(self.wrong_type(path, field));
        }
        let midnight = self.now - self.now.rem_euclid(DAY);
        let from = midnight - back.saturating_mul(DAY);
        let to = if today { midnight + DAY } else { from + DAY };
        Ok(Filter::Within(getter, from, to, operator))
    }

    fn filterable(&self, path: &Path) -> Result<(Getter, &Field)> {
        let (getter, field) = self.getter(path)?;
        if !field.filterable || field.kind == FieldType::Address {
            let what = format!("field '{}' can not be filtered in a query call", field.name);
            return Err(error_at(self.text, path.at, "INVALID_FIELD", &what));
        }
        Ok((getter, field))
    }

    fn operand(&self, path: &Path, field: &Field, literal: &Literal) -> Result<Operand> {
        match (field.kind, literal) {
            (FieldType::Boolean, Literal::Null) => Ok(Operand::Boolean(false)),
            (_, Literal::Null) => Ok(Operand::Null),
            (FieldType::Boolean, Literal::Boolean(boolean)) => Ok(Operand::Boolean(*boolean)),
            (FieldType::Id | FieldType::Reference, Literal::Text(text)) if text.is_empty() => Ok(Operand::Null),
            (FieldType::Id | FieldType::Reference, Literal::Text(text)) => {
                RecordId::parse(text).map(Operand::Id).ok_or_else(|| {
                    let what = format!("invalid ID field: {text}");
                    error_at(self.text, path.at, "INVALID_QUERY_FILTER_OPERATOR", &what)
                })
            }
            (kind, Literal::Text(text)) if kind.is_text() && text.is_empty() => Ok(Operand::Null),
            (kind, Literal::Text(text)) if kind.is_text() => Ok(Operand::Text(text.to_lowercase())),
            (kind, Literal::Number(number)) if kind.is_number() => Ok(Operand::Number(*number)),
            (FieldType::Date, Literal::Date(date)) => Ok(Operand::Date(*date)),
            (FieldType::DateTime, Literal::DateTime(millis)) => Ok(Operand::DateTime(*millis)),
            _ => Err(self.wrong_type(path, field)),
        }
    }

    fn wrong_type(&self, path: &Path, field: &Field) -> ApiError {
        let (wanted, advice) = match field.kind {
            kind if kind.is_text() => ("string", "and should be enclosed in quotes"),
            FieldType::Id | FieldType::Reference => ("ID", "and should be enclosed in quotes"),
            FieldType::DateTime => ("dateTime", "and should not be enclosed in quotes"),
            FieldType::Currency | FieldType::Double | FieldType::Percent => {
                ("double", "and should not be enclosed in quotes")
            }
            kind => (kind.name(), "and should not be enclosed in quotes"),
        };
        let what = format!(
            "value of filter criterion for field '{}' must be of type {wanted} {advice}",
            field.name
        );
        error_at(self.text, path.at, "INVALID_FIELD", &what)
    }
}

fn push_field(columns: &mut Vec<Column>, field: &Field) {
    columns.push(Column::Field {
        name: field.name.clone(),
        kind: field.kind,
        source: field.source.clone(),
    });
}
