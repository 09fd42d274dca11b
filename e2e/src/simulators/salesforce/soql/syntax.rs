//! What a query says, before the schema is asked.

use jiff::civil::Date;

use super::super::time::Millis;

/// A field, perhaps of a parent, and where it stands.
#[derive(Clone, Debug)]
pub struct Path {
    pub parts: Vec<String>,
    pub at: usize,
}

#[derive(Clone, Debug)]
pub enum Select {
    /// `COUNT()`
    Count,
    Items(Vec<Item>),
}

#[derive(Clone, Debug)]
pub enum Item {
    Field(Path),
    /// `FIELDS(ALL)` and the like.
    Fields {
        group: String,
        at: usize,
    },
    Aggregate {
        function: Function,
        path: Path,
        alias: Option<String>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    Count,
    CountDistinct,
    Min,
    Max,
    Sum,
    Avg,
}

#[derive(Clone, Debug)]
pub enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
    Compare {
        path: Path,
        operator: Operator,
        literal: Literal,
    },
    In {
        path: Path,
        negated: bool,
        literals: Vec<Literal>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Like,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    Null,
    Text(String),
    Boolean(bool),
    Number(f64),
    Date(Date),
    DateTime(Millis),
    /// From this many days ago to the end of today; 0 is today, and `yesterday` one whole day.
    Days {
        back: i64,
        through_today: bool,
    },
}

#[derive(Clone, Debug)]
pub struct OrderBy {
    pub path: Path,
    pub descending: bool,
    pub nulls_last: bool,
}

#[derive(Clone, Debug)]
pub struct Query {
    pub select: Select,
    pub object: String,
    pub object_at: usize,
    pub alias: Option<String>,
    pub condition: Option<Condition>,
    pub order: Vec<OrderBy>,
    pub limit: Option<usize>,
    pub offset: usize,
}
