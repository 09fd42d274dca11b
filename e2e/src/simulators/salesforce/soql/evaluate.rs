//! Runs a bound query over the org's records.

use std::cmp::Ordering;
use std::collections::HashSet;

use jiff::civil::Date;
use jiff::tz::Offset;

use super::super::data::{Data, Row};
use super::super::schema::{FieldType, Source};
use super::super::time::Millis;
use super::super::value::{Seen, write_text};
use super::bind::{Column, Filter, Getter, Operand, Order, Plan};
use super::syntax::{Function, Operator};

/// The slots of the rows that match, in order, within limit and offset. Without `ORDER BY` they come by id.
pub fn matching(data: &Data, plan: &Plan, with_deleted: bool) -> Vec<usize> {
    let rows = &data.tables[plan.table].rows;
    let matches = |row: &Row| {
        (with_deleted || !row.deleted)
            && plan
                .filter
                .as_ref()
                .is_none_or(|filter| passes(data, plan.table, row, filter))
    };
    let mut slots: Vec<usize> = (0..rows.len()).filter(|&slot| matches(&rows[slot])).collect();
    let wanted = plan.limit.map_or(usize::MAX, |limit| limit.saturating_add(plan.offset));
    sort(data, plan, rows, &mut slots, wanted);
    slots.truncate(wanted);
    slots.drain(..plan.offset.min(slots.len()));
    slots
}

/// Sorts so that at least the first `wanted` are in place.
fn sort(data: &Data, plan: &Plan, rows: &[Row], slots: &mut Vec<usize>, wanted: usize) {
    if plan.order.is_empty() {
        return;
    }
    let compare = |left: &usize, right: &usize| {
        let (left, right) = (&rows[*left], &rows[*right]);
        let by = plan
            .order
            .iter()
            .map(|order| compare_by(data, plan.table, order, left, right));
        by.fold(Ordering::Equal, Ordering::then)
            .then_with(|| left.id.cmp(&right.id))
    };
    if keyset(&plan.order) {
        let key = |slot: &usize| (rows[*slot].stamp, rows[*slot].id);
        if wanted < slots.len() {
            slots.select_nth_unstable_by_key(wanted, key);
            slots.truncate(wanted);
        }
        slots.sort_unstable_by_key(key);
    } else {
        slots.sort_unstable_by(compare);
    }
}

/// Is this `ORDER BY SystemModstamp, Id`, the order that a sync asks for again and again?
fn keyset(order: &[Order]) -> bool {
    let sources = [Source::SystemModstamp, Source::Id];
    order.len() == 2
        && order
            .iter()
            .zip(sources)
            .all(|(order, source)| !order.descending && order.getter.parent.is_none() && order.getter.source == source)
}

fn compare_by(data: &Data, table: usize, order: &Order, left: &Row, right: &Row) -> Ordering {
    let (left, right) = (
        get(data, table, left, &order.getter),
        get(data, table, right, &order.getter),
    );
    let nulls = |left_is_null: bool| {
        if left_is_null == order.nulls_last {
            Ordering::Greater
        } else {
            Ordering::Less
        }
    };
    match (&left, &right) {
        (Seen::Null, Seen::Null) => Ordering::Equal,
        (Seen::Null, _) => nulls(true),
        (_, Seen::Null) => nulls(false),
        _ if order.descending => compare_seen(&right, &left),
        _ => compare_seen(&left, &right),
    }
}

fn compare_seen(left: &Seen<'_>, right: &Seen<'_>) -> Ordering {
    match (left, right) {
        (Seen::Text(left), Seen::Text(right)) => compare_text(left, right),
        (Seen::Boolean(left), Seen::Boolean(right)) => left.cmp(right),
        (Seen::Number(left), Seen::Number(right)) => left.total_cmp(right),
        (Seen::Date(left), Seen::Date(right)) => left.cmp(right),
        (Seen::DateTime(left), Seen::DateTime(right)) => left.cmp(right),
        (Seen::Id(left), Seen::Id(right)) => left.cmp(right),
        _ => Ordering::Equal,
    }
}

/// Without regard to case.
fn compare_text(left: &str, right: &str) -> Ordering {
    left.chars()
        .flat_map(char::to_lowercase)
        .cmp(right.chars().flat_map(char::to_lowercase))
}

fn get<'a>(data: &'a Data, table: usize, row: &'a Row, getter: &Getter) -> Seen<'a> {
    match &getter.parent {
        None => data.see(table, row, &getter.source),
        Some((reference, parent)) => match data.see(table, row, reference) {
            Seen::Id(id) => data.tables[*parent]
                .row(id)
                .map_or(Seen::Null, |row| data.see(*parent, row, &getter.source)),
            _ => Seen::Null,
        },
    }
}

fn passes(data: &Data, table: usize, row: &Row, filter: &Filter) -> bool {
    match filter {
        Filter::All(parts) => parts.iter().all(|part| passes(data, table, row, part)),
        Filter::Any(parts) => parts.iter().any(|part| passes(data, table, row, part)),
        Filter::Not(part) => !passes(data, table, row, part),
        Filter::Compare(getter, operator, operand) => holds(&get(data, table, row, getter), *operator, operand),
        Filter::Within(getter, from, to, operator) => within(&get(data, table, row, getter), *from, *to, *operator),
        Filter::In(getter, negated, operands) => {
            let seen = get(data, table, row, getter);
            operands.iter().any(|operand| holds(&seen, Operator::Equal, operand)) != *negated
        }
        Filter::InIds(getter, negated, ids) => {
            matches!(get(data, table, row, getter), Seen::Id(id) if ids.contains(&id)) != *negated
        }
    }
}

/// Nothing is less or greater than null, and null is unequal to any value.
fn holds(seen: &Seen<'_>, operator: Operator, operand: &Operand) -> bool {
    if operator == Operator::Like {
        return matches!((seen, operand), (Seen::Text(text), Operand::Text(pattern)) if like(&text.to_lowercase(), pattern));
    }
    let order = match (seen, operand) {
        (Seen::Null, Operand::Null) => return operator == Operator::Equal,
        (Seen::Text(text), Operand::Text(operand)) => text.chars().flat_map(char::to_lowercase).cmp(operand.chars()),
        (Seen::Boolean(boolean), Operand::Boolean(operand)) => boolean.cmp(operand),
        (Seen::Number(number), Operand::Number(operand)) => number.total_cmp(operand),
        (Seen::Date(date), Operand::Date(operand)) => date.cmp(operand),
        (Seen::DateTime(millis), Operand::DateTime(operand)) => millis.cmp(operand),
        (Seen::Id(id), Operand::Id(operand)) => id.cmp(operand),
        _ => return operator == Operator::NotEqual,
    };
    match operator {
        Operator::Equal => order.is_eq(),
        Operator::NotEqual => order.is_ne(),
        Operator::Less => order.is_lt(),
        Operator::LessOrEqual => order.is_le(),
        Operator::Greater => order.is_gt(),
        Operator::GreaterOrEqual => order.is_ge(),
        Operator::Like => false,
    }
}

/// Equal to a span is in it, less is before its start, greater is at or after its end.
fn within(seen: &Seen<'_>, from: Millis, to: Millis, operator: Operator) -> bool {
    let at = match seen {
        Seen::DateTime(millis) => *millis,
        Seen::Date(date) => midnight(*date),
        _ => return operator == Operator::NotEqual,
    };
    let inside = from <= at && at < to;
    match operator {
        Operator::Equal => inside,
        Operator::NotEqual => !inside,
        Operator::Less => at < from,
        Operator::LessOrEqual => at < to,
        Operator::Greater => at >= to,
        Operator::GreaterOrEqual => at >= from,
        Operator::Like => false,
    }
}

fn midnight(date: Date) -> Millis {
    Offset::UTC
        .to_timestamp(date.at(0, 0, 0, 0))
        .map_or(0, |instant| instant.as_millisecond())
}

/// `%` is any run of characters, `_` any one; a backslash takes their meaning away.
fn like(text: &str, pattern: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    let mut reachable: HashSet<usize> = HashSet::from([0]);
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        let literal = |wanted: char| {
            let on = |&at: &usize| (text.get(at) == Some(&wanted)).then_some(at + 1);
            reachable.iter().filter_map(on).collect()
        };
        reachable = match character {
            '%' => (reachable.iter().copied().min().unwrap_or(usize::MAX)..=text.len()).collect(),
            '_' => reachable
                .iter()
                .filter(|&&at| at < text.len())
                .map(|at| at + 1)
                .collect(),
            '\\' => literal(characters.next().unwrap_or('\\')),
            other => literal(other),
        };
    }
    reachable.contains(&text.len())
}

/// The value of an aggregate over these rows, as JSON.
pub fn aggregate(data: &Data, table: usize, slots: &[usize], function: Function, getter: &Getter) -> Vec<u8> {
    let rows = &data.tables[table].rows;
    let seen = slots
        .iter()
        .map(|slot| get(data, table, &rows[*slot], getter))
        .filter(|seen| *seen != Seen::Null);
    let mut out = Vec::new();
    match function {
        Function::Count => out.extend(seen.count().to_string().into_bytes()),
        Function::CountDistinct => {
            let distinct: HashSet<Vec<u8>> = seen.map(|seen| json(&seen, getter.kind).to_ascii_lowercase()).collect();
            out.extend(distinct.len().to_string().into_bytes());
        }
        Function::Min => seen
            .min_by(compare_seen)
            .unwrap_or(Seen::Null)
            .write(getter.kind, &mut out),
        Function::Max => seen
            .max_by(compare_seen)
            .unwrap_or(Seen::Null)
            .write(getter.kind, &mut out),
        Function::Sum | Function::Avg => {
            let numbers: Vec<f64> = seen
                .filter_map(|seen| {
                    if let Seen::Number(number) = seen {
                        Some(number)
                    } else {
                        None
                    }
                })
                .collect();
            let sum: f64 = numbers.iter().sum();
            let count = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
            let result = match (count, function) {
                (0, _) => Seen::Null,
                (_, Function::Avg) => Seen::Number(sum / f64::from(count)),
                _ => Seen::Number(sum),
            };
            result.write(FieldType::Double, &mut out);
        }
    }
    out
}

fn json(seen: &Seen<'_>, kind: FieldType) -> Vec<u8> {
    let mut out = Vec::new();
    seen.write(kind, &mut out);
    out
}

/// Writes `{"attributes": {"type", "url"}, …}` with these columns.
pub fn write_record(data: &Data, table: usize, row: &Row, columns: &[Column], version: &str, out: &mut Vec<u8>) {
    let name = &data.tables[table].schema.name;
    out.extend_from_slice(b"{\"attributes\":{\"type\":\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\",\"url\":\"/services/data/");
    out.extend_from_slice(version.as_bytes());
    out.extend_from_slice(b"/sobjects/");
    out.extend_from_slice(name.as_bytes());
    out.push(b'/');
    out.extend_from_slice(&row.id.whole());
    out.extend_from_slice(b"\"}");
    for column in columns {
        out.push(b',');
        match column {
            Column::Field { name, kind, source } => {
                write_name(out, name);
                match source {
                    Source::Address(prefix) => write_address(data, table, row, prefix, out),
                    source => data.see(table, row, source).write(*kind, out),
                }
            }
            Column::Parent {
                name,
                reference,
                table: parent,
                columns,
            } => {
                write_name(out, name);
                let parent_row = match data.see(table, row, reference) {
                    Seen::Id(id) => data.tables[*parent].row(id),
                    _ => None,
                };
                match parent_row {
                    Some(row) => write_record(data, *parent, row, columns, version, out),
                    None => out.extend_from_slice(b"null"),
                }
            }
        }
    }
    out.push(b'}');
}

/// Whether CSV can hold these columns: a compound field has no cell.
pub fn is_flat(columns: &[Column]) -> bool {
    columns.iter().all(|column| match column {
        Column::Field { kind, .. } => *kind != FieldType::Address,
        Column::Parent { columns, .. } => is_flat(columns),
    })
}

/// The names of these columns as a bulk query's result has them: a parent's as `Account.Name`.
pub fn csv_names(columns: &[Column], before: &str) -> Vec<String> {
    let names = columns.iter().flat_map(|column| match column {
        Column::Field { name, .. } => vec![format!("{before}{name}")],
        Column::Parent { name, columns, .. } => csv_names(columns, &format!("{before}{name}.")),
    });
    names.collect()
}

/// Writes the cells of these columns, each in quotes, divided by `delimiter`; of a parent that is not there they are empty.
pub fn write_csv(data: &Data, table: usize, row: Option<&Row>, columns: &[Column], delimiter: u8, out: &mut Vec<u8>) {
    for (place, column) in columns.iter().enumerate() {
        if place > 0 {
            out.push(delimiter);
        }
        match column {
            Column::Field { kind, source, .. } => {
                out.push(b'"');
                if let Some(row) = row {
                    data.see(table, row, source).write_csv(*kind, out);
                }
                out.push(b'"');
            }
            Column::Parent {
                reference,
                table: parent,
                columns,
                ..
            } => {
                let parent_row = match row.map(|row| data.see(table, row, reference)) {
                    Some(Seen::Id(id)) => data.tables[*parent].row(id),
                    _ => None,
                };
                write_csv(data, *parent, parent_row, columns, delimiter, out);
            }
        }
    }
}

/// Field names are plain words.
fn write_name(out: &mut Vec<u8>, name: &str) {
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// <https://developer.salesforce.com/docs/atlas.en-us.api.meta/api/compound_fields_address.htm>
fn write_address(data: &Data, table: usize, row: &Row, prefix: &str, out: &mut Vec<u8>) {
    let schema = &data.tables[table].schema;
    let part = |name: &str| match schema
        .column(&format!("{prefix}{name}"))
        .map(|column| row.column(column))
    {
        Some(Seen::Text(text)) => Some(text),
        _ => None,
    };
    let parts = ["City", "Country", "PostalCode", "State", "Street"].map(|name| (name, part(name)));
    if parts.iter().all(|(_, part)| part.is_none()) {
        out.extend_from_slice(b"null");
        return;
    }
    out.extend_from_slice(b"{\"geocodeAccuracy\":null,\"latitude\":null,\"longitude\":null");
    for (name, part) in parts {
        out.extend_from_slice(b",\"");
        out.push(name.as_bytes()[0].to_ascii_lowercase());
        out.extend_from_slice(&name.as_bytes()[1..]);
        out.extend_from_slice(b"\":");
        match part {
            Some(text) => write_text(out, &text),
            None => out.extend_from_slice(b"null"),
        }
    }
    out.push(b'}');
}
