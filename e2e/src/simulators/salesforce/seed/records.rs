//! The records themselves.

use super::super::id::RecordId;
use super::super::value::Value;
use super::random::Random;

/// Values by field name.
pub type Fields = Vec<(&'static str, Value)>;

const FIRST: &[&str] = &[
    "Anna",
    "Jürgen",
    "Zoë",
    "Björn",
    "María José",
    "Łukasz",
    "Søren",
    "Siobhán",
    "Chloé",
    "İbrahim",
    "Nguyễn",
    "Олена",
    "美咲",
    "Xiàng",
    "علي",
    "Jean-Luc",
    "Kim",
    "Tom",
    "Priya",
    "Noor",
];
const LAST: &[&str] = &[
    "Müller",
    "O'Brien",
    "Smith, Jr.",
    "García Márquez",
    "d’Angelo",
    "von der Heide",
    "Nguyễn",
    "李",
    "佐藤",
    "Петренко",
    "Øverland",
    "MacDonald \"Mac\"",
    "Null",
    "null",
    "NA",
    "Test",
    "True",
    "0",
    "Straße",
    "Öztürk",
    "Smith-Jones",
    "Kowalska",
    "Rossi",
    "Dupont",
];
const TITLES: &[&str] = &[
    "CEO",
    "VP, Sales & Marketing",
    "Head of \"Growth\"",
    "Einkäufer",
    "Engineer\\Ops",
    "N/A",
];
const NOTES: &[&str] = &[
    "Called; will call back, maybe.",
    "Line one\nline two",
    "Tab\there",
    "Emoji 🎉 and ½",
    "=SUM(A1:A2)",
];
const COMPANIES: &[&str] = &[
    "Acme",
    "Bäckerei Schmidt",
    "Côte & Fils",
    "Дніпро",
    "Nakamura 株式会社",
    "Smith, Wesson & Co.",
    "NULL Media",
];
const SOURCES: &[&str] = &["Web", "Phone Inquiry", "Partner Referral", "Purchased List", "Other"];
const LANGUAGES: &[&str] = &["de", "en", "fr", "it", "ja", "tr"];
const LIFECYCLES: &[&str] = &["Open - Not Contacted", "Working", "Customer", "Customer", "Former"];
const CURRENCIES: &[&str] = &["EUR", "EUR", "EUR", "USD", "GBP", "CHF", "JPY"];
const INDUSTRIES: &[&str] = &[
    "Banking",
    "Education",
    "Energy",
    "Healthcare",
    "Manufacturing",
    "Retail",
    "Technology",
];
/// Country, state, city, postal code, and phone numbers as people there type them (`#` is a digit).
const PLACES: &[(&str, &str, &str, &str, &str)] = &[
    ("DE", "BE", "Berlin", "10115", "030 901####"),
    ("DE", "BY", "München", "80331", "0171/23#####"),
    ("DE", "NW", "Köln", "50667", "+49 221 9######"),
    ("AT", "9", "Wien", "1010", "+43 1 58#####"),
    ("CH", "ZH", "Zürich", "8001", "044 215 ## ##"),
    ("FR", "", "Saint-Étienne", "42000", "04 77 ## ## ##"),
    ("GB", "", "London", "SW1A 1AA", "020 7946 0###"),
    ("IT", "NA", "Napoli", "80100", "081 55#####"),
    ("US", "CA", "San Francisco", "94105", "(415) 555-0###"),
    ("US", "NY", "New York", "10001", "212.555.0###"),
    ("JP", "13", "東京", "100-0001", "03-3213-####"),
    ("TR", "", "İstanbul", "34000", "0212 292 ####"),
    ("NA", "NA", "Windhoek", "", "061 29####"),
];

fn text(text: &str) -> Value {
    if text.is_empty() {
        Value::Null
    } else {
        Value::text(text)
    }
}

pub fn contact(random: &mut Random, number: usize, accounts: &[RecordId]) -> Fields {
    let (country, state, city, postal_code, phone) = random.pick(PLACES);
    let (first, last) = (random.pick(FIRST), random.pick(LAST));
    let customer = random.pick(LIFECYCLES);
    let asked = random.chance(80);
    let mut fields = vec![
        ("LastName", text(last)),
        ("Lifecycle__c", text(customer)),
        ("HasOptedOutOfEmail", Value::Boolean(random.chance(15))),
        ("Double_Opt_In__c", Value::Boolean(asked && random.chance(75))),
        ("DoNotCall", Value::Boolean(random.chance(10))),
        ("CurrencyIsoCode", text(random.pick(CURRENCIES))),
        ("MailingCountry", text(country)),
        ("MailingState", text(state)),
        ("MailingCity", text(city)),
        ("MailingPostalCode", text(postal_code)),
        ("Language__c", text(random.pick(LANGUAGES))),
        ("LeadSource", text(random.pick(SOURCES))),
        ("External_Id__c", Value::text(format!("C-{number:07}"))),
    ];
    if random.chance(95) {
        fields.push(("FirstName", text(first)));
    }
    match random.below(100) {
        0..=2 => {}
        3 => fields.push(("Email", text("info@example.com"))),
        4 => fields.push(("Email", Value::text(format!("Person.{number}@EXAMPLE.ORG")))),
        _ => fields.push(("Email", Value::text(format!("person.{number}+crm@example.com")))),
    }
    if random.chance(70) {
        fields.push(("Phone", Value::text(random.digits(phone))));
    }
    if random.chance(20) {
        fields.push(("Fax", Value::text(random.digits(phone))));
    }
    if random.chance(60) {
        fields.push(("Title", text(random.pick(TITLES))));
    }
    if random.chance(30) {
        fields.push(("Description", text(random.pick(NOTES))));
    }
    if random.chance(60) {
        let street = format!("{}straße {}", last, random.below(200) + 1);
        fields.push((
            "MailingStreet",
            Value::text(if random.chance(20) {
                format!("{street}\nHinterhaus")
            } else {
                street
            }),
        ));
    }
    if random.chance(50) {
        fields.push(("Birthdate", random.date(1940, 65)));
    }
    if customer.starts_with("Customer") || customer == "Former" {
        fields.push(("Customer_Since__c", random.date(2005, 20)));
        fields.push(("LTV__c", Value::Number(random.cents(5_000_000))));
        fields.push(("Loyalty_Points__c", Value::Number(random.cents(1_000_000).round())));
    }
    if asked {
        fields.push(("Email_Consent_Date__c", random.instant()));
    }
    if !accounts.is_empty() && random.chance(90) {
        fields.push(("AccountId", Value::Id(random.pick(accounts))));
    }
    fields
}

pub fn account(random: &mut Random, number: usize) -> Fields {
    let (country, state, city, postal_code, phone) = random.pick(PLACES);
    vec![
        ("Name", Value::text(format!("{} {number}", random.pick(COMPANIES)))),
        ("Industry", text(random.pick(INDUSTRIES))),
        ("Phone", Value::text(random.digits(phone))),
        (
            "Website",
            Value::text(format!("https://company-{number}.example.com/?ref=crm&id={number}")),
        ),
        ("AnnualRevenue", Value::Number(random.cents(10_000_000_000))),
        ("NumberOfEmployees", Value::Number(f64::from(random.below(50_000)))),
        ("CurrencyIsoCode", text(random.pick(CURRENCIES))),
        ("BillingCountry", text(country)),
        ("BillingState", text(state)),
        ("BillingCity", text(city)),
        ("BillingPostalCode", text(postal_code)),
        ("External_Id__c", Value::text(format!("A-{number:07}"))),
    ]
}

pub fn lead(random: &mut Random, number: usize) -> Fields {
    vec![
        ("LastName", text(random.pick(LAST))),
        ("FirstName", text(random.pick(FIRST))),
        ("Company", text(random.pick(COMPANIES))),
        ("Status", text("Open - Not Contacted")),
        ("Email", Value::text(format!("lead.{number}@example.net"))),
        ("HasOptedOutOfEmail", Value::Boolean(random.chance(15))),
        ("LeadSource", text(random.pick(SOURCES))),
        ("External_Id__c", Value::text(format!("L-{number:07}"))),
    ]
}

pub fn opportunity(random: &mut Random, number: usize, accounts: &[RecordId], contacts: &[RecordId]) -> Fields {
    let stages = [
        "Prospecting",
        "Qualification",
        "Proposal/Price Quote",
        "Closed Won",
        "Closed Lost",
    ];
    let stage = random.pick(&stages);
    let mut fields = vec![
        (
            "Name",
            Value::text(format!("{} – renewal #{number}", random.pick(COMPANIES))),
        ),
        ("StageName", text(stage)),
        ("Amount", Value::Number(random.cents(20_000_000))),
        ("CloseDate", random.date(2025, 2)),
        ("LastStageChangeDate", random.instant()),
        ("IsClosed", Value::Boolean(stage.starts_with("Closed"))),
        ("IsWon", Value::Boolean(stage == "Closed Won")),
        ("CurrencyIsoCode", text(random.pick(CURRENCIES))),
        ("External_Id__c", Value::text(format!("O-{number:07}"))),
    ];
    if !accounts.is_empty() {
        fields.push(("AccountId", Value::Id(random.pick(accounts))));
    }
    if !contacts.is_empty() {
        fields.push(("ContactId", Value::Id(random.pick(contacts))));
    }
    fields
}
