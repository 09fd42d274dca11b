//! E-mail addresses and URLs in one form each.

use std::borrow::Cow;

use email_address::{EmailAddress, Options};
use url::{Host, Url};

pub(super) const NO_EMAIL: &str = "is not an e-mail address like ada@example.com";
pub(super) const NO_URL: &str = "is not a URL of a scheme that is taken, like https://example.com";

/// The most bytes of an address: <https://www.rfc-editor.org/errata/eid1690>.
const LONGEST: usize = 254;

/// An e-mail address with its domain in lower case, and in ASCII where it is an internationalized one. The part before the
/// `@` is kept: only its own server knows whether `Ada` and `ada` are one.
pub(super) fn email(text: Cow<'_, str>) -> Option<Cow<'_, str>> {
    if text.len() > LONGEST {
        return None;
    }
    if is_plain(&text) {
        return Some(text);
    }
    let options = Options::default()
        .with_required_tld()
        .without_display_text()
        .without_domain_literal();
    let address = EmailAddress::parse_with_options(&text, options).ok()?;
    match Host::parse(address.domain()).ok()? {
        Host::Domain(domain) if domain == address.domain() => Some(text),
        Host::Domain(domain) => Some(Cow::Owned(format!("{}@{domain}", address.local_part()))),
        Host::Ipv4(_) | Host::Ipv6(_) => None,
    }
}

/// Whether this is an address of the form that nearly all have, and with nothing to change: what [`email`] would find by
/// the library as well, which a test holds it to.
fn is_plain(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else {
        return false;
    };
    let labels = |part: &str, fits: fn(u8) -> bool| {
        part.split('.')
            .all(|label| !label.is_empty() && label.bytes().all(fits))
    };
    let last = domain.rsplit('.').next().unwrap_or_default();
    local.len() <= 64
        && domain.contains('.')
        && !domain.contains("xn--")
        && last.len() >= 2
        && last.bytes().all(|byte| byte.is_ascii_lowercase())
        && labels(local, |byte| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'+')
        })
        && labels(domain, |byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'
        })
        && domain
            .split('.')
            .all(|label| label.len() <= 63 && !label.starts_with('-') && !label.ends_with('-'))
}

/// A URL in its normal form, if its scheme is one of `schemes`. Text without a scheme is taken for one of
/// `default_scheme`, if there is one.
pub(super) fn url(text: &str, default_scheme: Option<&str>, schemes: &[String]) -> Option<String> {
    let text = text.trim_ascii();
    let full = match default_scheme {
        Some(scheme) if !has_scheme(text) => Cow::Owned(format!("{scheme}://{}", text.trim_start_matches("//"))),
        _ => Cow::Borrowed(text),
    };
    let url = Url::parse(&full).ok()?;
    let taken = schemes.iter().any(|scheme| scheme == url.scheme()) && url.has_host();
    // `Acme` is a name, not an address
    let placed = url
        .domain()
        .is_none_or(|domain| domain.contains('.') || domain == "localhost");
    (taken && placed).then(|| url.into())
}

/// Whether text begins with a scheme, as `https://…` and `mailto:…` do; in `acme.example:8080` a port follows.
fn has_scheme(text: &str) -> bool {
    let Some((before, rest)) = text.split_once(':') else {
        return false;
    };
    !before.contains(['/', '?', '#']) && !rest.starts_with(|first: char| first.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_e_mail_address_keeps_its_local_part_and_gets_one_form_of_its_domain() {
        let long = format!("{}@example.com", "a".repeat(65));
        let cases: &[(&str, Option<&str>)] = &[
            ("ada@example.com", Some("ada@example.com")),
            ("Ada.Lovelace+news@Example.COM", Some("Ada.Lovelace+news@example.com")),
            ("o'neil@example.co.uk", Some("o'neil@example.co.uk")),
            ("ada@bücher.example", Some("ada@xn--bcher-kva.example")),
            ("jörg@example.com", Some("jörg@example.com")),
            ("\"ada lovelace\"@example.com", Some("\"ada lovelace\"@example.com")),
            ("ada@localhost", None),
            ("ada@127.0.0.1", None),
            ("ada@[127.0.0.1]", None),
            ("Ada <ada@example.com>", None),
            ("ada@example.com, bob@example.com", None),
            (" ada@example.com", None),
            ("ada@@example.com", None),
            (".ada@example.com", None),
            ("ada..l@example.com", None),
            ("ada@-example.com", None),
            ("@example.com", None),
            ("ada@", None),
            ("ada", None),
            ("N/A", None),
            ("", None),
            (&long, None),
        ];
        for (text, expected) in cases {
            assert_eq!(email(Cow::Borrowed(text)).as_deref(), *expected, "{text}");
        }
    }

    #[test]
    fn the_plain_form_is_what_the_library_takes_as_it_is() {
        let parts = ["a", "a.b", "A-b_c+d", "a1", ".a", "a.", "a..b", "-a-", "é", "a b", ""];
        let domains = [
            "b.de",
            "b-c.d1.example",
            "b",
            "B.de",
            "-b.de",
            "b-.de",
            "b..de",
            "b.d",
            "b.1",
            "b.de.",
            "1.2.3.4",
            "",
        ];
        let mut plain = 0;
        for text in parts
            .iter()
            .flat_map(|part| domains.map(|domain| format!("{part}@{domain}")))
        {
            if is_plain(&text) {
                plain += 1;
                let options = Options::default().with_required_tld();
                let address = EmailAddress::parse_with_options(&text, options);
                let address = address.unwrap_or_else(|error| panic!("{text}: {error}"));
                assert_eq!(
                    Host::parse(address.domain()),
                    Ok(Host::Domain(address.domain().to_owned()))
                );
            }
        }
        assert!(plain >= 8, "only {plain} were plain");
    }

    #[test]
    fn a_url_has_one_form() {
        let schemes = ["http", "https"].map(str::to_owned);
        let cases: &[(&str, Option<&str>, Option<&str>)] = &[
            ("https://Example.com", None, Some("https://example.com/")),
            (
                "HTTP://example.com:80/a b?q=ä",
                None,
                Some("http://example.com/a%20b?q=%C3%A4"),
            ),
            (
                "https://bücher.example/🦀",
                None,
                Some("https://xn--bcher-kva.example/%F0%9F%A6%80"),
            ),
            ("www.acme.example", Some("https"), Some("https://www.acme.example/")),
            ("//www.acme.example", Some("https"), Some("https://www.acme.example/")),
            (
                "acme.example:8080/x",
                Some("https"),
                Some("https://acme.example:8080/x"),
            ),
            ("www.acme.example", None, None),
            ("mailto:ada@example.com", Some("https"), None),
            ("javascript:alert(1)", Some("https"), None),
            ("ftp://example.com", None, None),
            ("Acme", Some("https"), None),
            ("N/A", Some("https"), None),
            ("https://", None, None),
            ("", Some("https"), None),
        ];
        for (text, default, expected) in cases {
            assert_eq!(url(text, *default, &schemes).as_deref(), *expected, "{text}");
        }
    }
}
