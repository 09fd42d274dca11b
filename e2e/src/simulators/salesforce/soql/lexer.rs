//! Splits a query into its tokens.
//! <https://developer.salesforce.com/docs/atlas.en-us.soql_sosl.meta/soql_sosl/sforce_api_calls_soql_select_quotedstringescapes.htm>
//! <https://developer.salesforce.com/docs/atlas.en-us.soql_sosl.meta/soql_sosl/sforce_api_calls_soql_select_dateformats.htm>

use jiff::civil::Date;

use super::super::error::{ApiError, Result};
use super::super::time::{Millis, parse_date, parse_datetime};
use super::error_at;

#[derive(Clone, Debug, PartialEq)]
pub enum Token {
    /// A keyword, or a name with its dots: `Account.Name`.
    Word(String),
    Text(String),
    Number(f64),
    Date(Date),
    DateTime(Millis),
    Symbol(&'static str),
    End,
}

#[derive(Clone, Debug)]
pub struct Placed {
    pub token: Token,
    pub at: usize,
    pub end: usize,
}

const SYMBOLS: [&str; 12] = ["<=", ">=", "!=", "<>", "=", "<", ">", "(", ")", ",", ":", "*"];

pub fn tokens(query: &str) -> Result<Vec<Placed>> {
    let bytes = query.as_bytes();
    let mut placed = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &query[at..];
        let byte = bytes[at];
        if byte.is_ascii_whitespace() {
            at += 1;
            continue;
        }
        let (token, length) = if byte == b'\'' {
            text(query, at)?
        } else if byte.is_ascii_alphabetic() {
            let length = run(rest, |byte| {
                byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.'
            });
            (Token::Word(rest[..length].to_owned()), length)
        } else if byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.') {
            literal(query, at)?
        } else if let Some(symbol) = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
            (Token::Symbol(symbol), symbol.len())
        } else {
            let character: String = rest.chars().take(1).collect();
            return Err(malformed(
                query,
                at,
                &format!("line 1:{at} no viable alternative at character '{character}'"),
            ));
        };
        placed.push(Placed {
            token,
            at,
            end: at + length,
        });
        at += length;
    }
    placed.push(Placed {
        token: Token::End,
        at: query.len(),
        end: query.len(),
    });
    Ok(placed)
}

/// A quoted string with its escapes; the length counts the quotes.
fn text(query: &str, at: usize) -> Result<(Token, usize)> {
    let mut text = String::new();
    let mut characters = query[at + 1..].char_indices();
    while let Some((place, character)) = characters.next() {
        match character {
            '\'' => return Ok((Token::Text(text), place + 2)),
            '\\' => match characters.next().map(|(_, escaped)| escaped) {
                Some('n' | 'N') => text.push('\n'),
                Some('r' | 'R') => text.push('\r'),
                Some('t' | 'T') => text.push('\t'),
                Some('b' | 'B') => text.push('\u{8}'),
                Some('f' | 'F') => text.push('\u{c}'),
                Some(plain @ ('"' | '\'' | '\\')) => text.push(plain),
                // In LIKE these stand for themselves; `like` reads the backslash.
                Some(wildcard @ ('_' | '%')) => text.extend(['\\', wildcard]),
                Some('u') => {
                    let digits: String = characters.by_ref().take(4).map(|(_, digit)| digit).collect();
                    match u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32) {
                        Some(character) => text.push(character),
                        None => return Err(illegal_escape(query, at + 1 + place)),
                    }
                }
                _ => return Err(illegal_escape(query, at + 1 + place)),
            },
            other => text.push(other),
        }
    }
    Err(malformed(query, at, "unexpected token: ''' (the string is not closed)"))
}

fn illegal_escape(query: &str, at: usize) -> ApiError {
    malformed(query, at, "Illegal string literal: Invalid string escape sequence")
}

/// A number, date or datetime: unquoted, and in the published forms only.
fn literal(query: &str, at: usize) -> Result<(Token, usize)> {
    let rest = &query[at..];
    let length = run(rest, |byte| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b':' | b'.')
    });
    let written = &rest[..length];
    let token = parse_datetime(written, false)
        .map(Token::DateTime)
        .or_else(|| parse_date(written).map(Token::Date))
        .or_else(|| number(written).map(Token::Number));
    match token {
        Some(token) => Ok((token, length)),
        None => Err(malformed(
            query,
            at,
            &format!("line 1:{} no viable alternative at input '{written}'", at + length),
        )),
    }
}

fn number(written: &str) -> Option<f64> {
    let digits = written.trim_start_matches(['+', '-']);
    let plain = digits
        .bytes()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'-' | b'+'));
    (plain && !digits.is_empty()).then(|| written.parse().ok())?
}

fn run(text: &str, accepts: impl Fn(u8) -> bool) -> usize {
    text.bytes().position(|byte| !accepts(byte)).unwrap_or(text.len())
}

pub fn malformed(query: &str, at: usize, what: &str) -> ApiError {
    error_at(query, at, "MALFORMED_QUERY", what)
}
