//! Reads a query by the published grammar.
//!
//! A condition is a chain of `AND`s or a chain of `OR`s: the two are mixed only with parentheses. `NOT` stands at the
//! start of a condition, or of one in parentheses.
//! <https://developer.salesforce.com/docs/atlas.en-us.soql_sosl.meta/soql_sosl/sforce_api_calls_soql_select_conditionexpression.htm>

use super::super::error::{ApiError, Result};
use super::lexer::{Placed, Token, malformed, tokens};
use super::syntax::{Condition, Function, Item, Literal, Operator, OrderBy, Path, Query, Select};

/// <https://developer.salesforce.com/docs/atlas.en-us.soql_sosl.meta/soql_sosl/sforce_api_calls_soql_select_offset.htm>
const GREATEST_OFFSET: f64 = 2000.0;

struct Parser<'a> {
    query: &'a str,
    tokens: Vec<Placed>,
    next: usize,
}

pub fn parse(query: &str) -> Result<Query> {
    Parser {
        query,
        tokens: tokens(query)?,
        next: 0,
    }
    .query()
}

impl Parser<'_> {
    fn query(&mut self) -> Result<Query> {
        self.keyword("SELECT")?;
        let select = self.select()?;
        self.keyword("FROM")?;
        let object_at = self.peek().at;
        let object = self.word()?;
        let alias = match &self.peek().token {
            Token::Word(word) if !is_clause(word) => Some(self.word()?),
            _ => None,
        };
        let condition = if self.take("WHERE") {
            Some(self.condition()?)
        } else {
            None
        };
        let mut order = Vec::new();
        if self.take("ORDER") {
            self.keyword("BY")?;
            order = self.list(Self::order_by)?;
        }
        let limit = if self.take("LIMIT") {
            Some(self.whole_number()?)
        } else {
            None
        };
        let mut offset = 0;
        if self.take("OFFSET") {
            let Token::Number(wanted) = self.peek().token else {
                return Err(self.unexpected());
            };
            if wanted > GREATEST_OFFSET {
                return Err(ApiError::bad(
                    "NUMBER_OUTSIDE_VALID_RANGE",
                    "Maximum SOQL offset allowed is 2000",
                ));
            }
            offset = self.whole_number()?;
        }
        match self.peek().token {
            Token::End => Ok(Query {
                select,
                object,
                object_at,
                alias,
                condition,
                order,
                limit,
                offset,
            }),
            _ => Err(self.unexpected()),
        }
    }

    fn select(&mut self) -> Result<Select> {
        let count = self.is_word(0, "COUNT") && self.is_symbol(1, "(") && self.is_symbol(2, ")");
        if count {
            self.next += 3;
            return Ok(Select::Count);
        }
        self.list(Self::item).map(Select::Items)
    }

    fn item(&mut self) -> Result<Item> {
        if !self.is_symbol(1, "(") {
            return self.path().map(Item::Field);
        }
        let at = self.peek().at;
        let name = self.word()?.to_uppercase();
        let function = match name.as_str() {
            "FIELDS" => None,
            "COUNT" => Some(Function::Count),
            "COUNT_DISTINCT" => Some(Function::CountDistinct),
            "MIN" => Some(Function::Min),
            "MAX" => Some(Function::Max),
            "SUM" => Some(Function::Sum),
            "AVG" => Some(Function::Avg),
            _ => return Err(malformed(self.query, at, &format!("unexpected token: '{name}'"))),
        };
        self.symbol("(")?;
        let path = self.path()?;
        self.symbol(")")?;
        let Some(function) = function else {
            return Ok(Item::Fields {
                group: path.parts.join(".").to_uppercase(),
                at,
            });
        };
        let alias = match &self.peek().token {
            Token::Word(word) if !word.eq_ignore_ascii_case("FROM") => Some(self.word()?),
            _ => None,
        };
        Ok(Item::Aggregate { function, path, alias })
    }

    fn condition(&mut self) -> Result<Condition> {
        if self.take("NOT") {
            return Ok(Condition::Not(Box::new(self.simple()?)));
        }
        let first = self.simple()?;
        for (word, join) in [
            ("AND", Condition::All as fn(Vec<_>) -> _),
            ("OR", Condition::Any as fn(Vec<_>) -> _),
        ] {
            if self.is_word(0, word) {
                let mut parts = vec![first];
                while self.take(word) {
                    parts.push(self.simple()?);
                }
                return if self.is_word(0, "AND") || self.is_word(0, "OR") {
                    Err(self.unexpected())
                } else {
                    Ok(join(parts))
                };
            }
        }
        Ok(first)
    }

    fn simple(&mut self) -> Result<Condition> {
        if self.take_symbol("(") {
            let condition = self.condition()?;
            self.symbol(")")?;
            return Ok(condition);
        }
        if self.is_word(0, "NOT") {
            return Err(self.unexpected());
        }
        let path = self.path()?;
        let negated = self.take("NOT");
        if negated || self.is_word(0, "IN") {
            self.keyword("IN")?;
            self.symbol("(")?;
            let literals = self.list(Self::literal)?;
            self.symbol(")")?;
            return Ok(Condition::In {
                path,
                negated,
                literals,
            });
        }
        let operator = self.operator()?;
        Ok(Condition::Compare {
            path,
            operator,
            literal: self.literal()?,
        })
    }

    fn operator(&mut self) -> Result<Operator> {
        let operator = match &self.peek().token {
            Token::Symbol("=") => Operator::Equal,
            Token::Symbol("!=" | "<>") => Operator::NotEqual,
            Token::Symbol("<") => Operator::Less,
            Token::Symbol("<=") => Operator::LessOrEqual,
            Token::Symbol(">") => Operator::Greater,
            Token::Symbol(">=") => Operator::GreaterOrEqual,
            Token::Word(word) if word.eq_ignore_ascii_case("LIKE") => Operator::Like,
            _ => return Err(self.unexpected()),
        };
        self.next += 1;
        Ok(operator)
    }

    fn literal(&mut self) -> Result<Literal> {
        let literal = match &self.peek().token {
            Token::Text(text) => Literal::Text(text.clone()),
            Token::Number(number) => Literal::Number(*number),
            Token::Date(date) => Literal::Date(*date),
            Token::DateTime(millis) => Literal::DateTime(*millis),
            Token::Word(word) => match word.to_uppercase().as_str() {
                "NULL" => Literal::Null,
                "TRUE" => Literal::Boolean(true),
                "FALSE" => Literal::Boolean(false),
                "TODAY" => Literal::Days {
                    back: 0,
                    through_today: true,
                },
                "YESTERDAY" => Literal::Days {
                    back: 1,
                    through_today: false,
                },
                "LAST_N_DAYS" => return self.last_days(),
                _ => return Err(self.unexpected()),
            },
            _ => return Err(self.unexpected()),
        };
        self.next += 1;
        Ok(literal)
    }

    fn last_days(&mut self) -> Result<Literal> {
        self.next += 1;
        self.symbol(":")?;
        let days = self.whole_number()?;
        Ok(Literal::Days {
            back: i64::try_from(days).unwrap_or(i64::MAX),
            through_today: true,
        })
    }

    fn order_by(&mut self) -> Result<OrderBy> {
        let path = self.path()?;
        let descending = self.take("DESC");
        if !descending {
            self.take("ASC");
        }
        let mut nulls_last = false;
        if self.take("NULLS") {
            nulls_last = self.take("LAST");
            if !nulls_last {
                self.keyword("FIRST")?;
            }
        }
        Ok(OrderBy {
            path,
            descending,
            nulls_last,
        })
    }

    fn path(&mut self) -> Result<Path> {
        let at = self.peek().at;
        let word = self.word()?;
        Ok(Path {
            parts: word.split('.').map(str::to_owned).collect(),
            at,
        })
    }

    fn whole_number(&mut self) -> Result<usize> {
        let written = self.peek().clone();
        match written.token {
            Token::Number(_) => {
                let number = self.query[written.at..written.end]
                    .parse()
                    .map_err(|_| self.unexpected())?;
                self.next += 1;
                Ok(number)
            }
            _ => Err(self.unexpected()),
        }
    }

    fn list<T>(&mut self, one: fn(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let mut list = vec![one(self)?];
        while self.take_symbol(",") {
            list.push(one(self)?);
        }
        Ok(list)
    }

    fn word(&mut self) -> Result<String> {
        match &self.peek().token {
            Token::Word(word) if !is_clause(word) => {
                let word = word.clone();
                self.next += 1;
                Ok(word)
            }
            _ => Err(self.unexpected()),
        }
    }

    fn keyword(&mut self, keyword: &str) -> Result<()> {
        if self.take(keyword) {
            Ok(())
        } else {
            Err(self.unexpected())
        }
    }

    fn symbol(&mut self, symbol: &str) -> Result<()> {
        if self.take_symbol(symbol) {
            Ok(())
        } else {
            Err(self.unexpected())
        }
    }

    fn take(&mut self, keyword: &str) -> bool {
        let is = self.is_word(0, keyword);
        self.next += usize::from(is);
        is
    }

    fn take_symbol(&mut self, symbol: &str) -> bool {
        let is = self.is_symbol(0, symbol);
        self.next += usize::from(is);
        is
    }

    fn is_word(&self, ahead: usize, keyword: &str) -> bool {
        let placed = self.tokens.get(self.next + ahead);
        matches!(placed.map(|placed| &placed.token), Some(Token::Word(word)) if word.eq_ignore_ascii_case(keyword))
    }

    fn is_symbol(&self, ahead: usize, symbol: &str) -> bool {
        let placed = self.tokens.get(self.next + ahead);
        matches!(placed.map(|placed| &placed.token), Some(Token::Symbol(is)) if *is == symbol)
    }

    /// The next token; the last one, `End`, is never taken.
    fn peek(&self) -> &Placed {
        &self.tokens[self.next.min(self.tokens.len() - 1)]
    }

    fn unexpected(&self) -> ApiError {
        let Placed { token, at, end } = self.peek();
        let shown = if *token == Token::End {
            "<EOF>"
        } else {
            &self.query[*at..*end]
        };
        malformed(self.query, *at, &format!("unexpected token: '{shown}'"))
    }
}

fn is_clause(word: &str) -> bool {
    [
        "FROM", "WHERE", "ORDER", "LIMIT", "OFFSET", "GROUP", "HAVING", "WITH", "FOR", "USING",
    ]
    .iter()
    .any(|clause| word.eq_ignore_ascii_case(clause))
}
