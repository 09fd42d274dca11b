//! The answer of a command that a Job runs, on its way through a Pod's log: a log may hold neither values nor the ids of people.
//!
//! Who asks makes a key, which a Secret has for as long as the Job lives; the command seals its answer with it.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The environment variable that has the key: a command that finds it seals what it prints.
pub const KEY: &str = "FERRYGATE_ANSWER_KEY";

/// What the line begins with that holds a sealed answer: the nonce and the sealed text follow, in base64.
const MARK: &str = "sealed:";
/// The key's length, in bytes.
const KEY_LENGTH: usize = 32;

/// A new key, in base64. None where the operating system gives no random bytes.
pub fn new_key() -> Option<String> {
    let mut key = [0; KEY_LENGTH];
    getrandom::fill(&mut key).ok()?;
    Some(STANDARD.encode(key))
}

/// Prints an answer to standard output: sealed, where the environment has a key.
pub fn print(answer: &str) {
    match std::env::var(KEY).ok() {
        None => print!("{answer}"),
        Some(key) => match seal(&key, answer) {
            Some(sealed) => println!("{sealed}"),
            None => eprintln!("error: {KEY} is no key of {KEY_LENGTH} bytes in base64; nothing is printed"),
        },
    }
}

/// The line that holds the answer.
fn seal(key: &str, answer: &str) -> Option<String> {
    let key = cipher(key)?;
    let mut text = answer.as_bytes().to_vec();
    let nonce = key.seal_in_place_append_tag(Aad::empty(), &mut text).ok()?;
    let whole = [nonce.as_ref().as_slice(), &text].concat();
    Some(format!("{MARK}{}", STANDARD.encode(whole)))
}

/// The answer that a log holds. None where it holds none that this key opens.
pub fn open(key: &str, log: &str) -> Option<String> {
    let key = cipher(key)?;
    let sealed = log.lines().find_map(|line| line.trim().strip_prefix(MARK))?;
    let mut whole = STANDARD.decode(sealed).ok()?;
    let (nonce, text) = whole.split_at_mut_checked(NONCE_LEN)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let opened = key.open_in_place(nonce, Aad::empty(), text).ok()?;
    String::from_utf8(opened.to_vec()).ok()
}

fn cipher(key: &str) -> Option<RandomizedNonceKey> {
    RandomizedNonceKey::new(&AES_256_GCM, &STANDARD.decode(key).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_opened_by_its_key_alone_and_only_whole() {
        let (key, other) = (new_key().unwrap(), new_key().unwrap());
        let line = seal(&key, "ada@example.com\n").unwrap();
        let log = format!("a word before\n{line}\n");
        assert_eq!(open(&key, &log).as_deref(), Some("ada@example.com\n"));
        assert!(!log.contains("ada"));
        let cut = &line[..line.len() - 4];
        for (key, log) in [
            (&other, log.as_str()),
            (&key, cut),
            (&key, "sealed:AAAA"),
            (&key, ""),
            (&"x".to_owned(), &log),
        ] {
            assert_eq!(open(key, log), None, "{log}");
        }
        assert_eq!(seal("AAAA", ""), None);
    }
}
