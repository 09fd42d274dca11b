//! The org's objects: the standard fields that a sync meets, and the custom ones of a typical B2C org.
//! <https://developer.salesforce.com/docs/atlas.en-us.object_reference.meta/object_reference/sforce_api_objects_list.htm>

use super::schema::{Field, FieldType, Schema, Source};

/// Account, Contact, Lead, Opportunity and User, in this order.
pub fn standard() -> Vec<Schema> {
    vec![account(), contact(), lead(), opportunity(), user()]
}

const LEAD_SOURCES: &[&str] = &["Web", "Phone Inquiry", "Partner Referral", "Purchased List", "Other"];
const INDUSTRIES: &[&str] = &[
    "Banking",
    "Education",
    "Energy",
    "Healthcare",
    "Manufacturing",
    "Retail",
    "Technology",
];
const SALUTATIONS: &[&str] = &["Mr.", "Ms.", "Mrs.", "Dr.", "Prof.", "Mx."];
const CURRENCIES: &[&str] = &["EUR", "USD", "GBP", "CHF", "JPY"];
const LIFECYCLES: &[&str] = &["Open - Not Contacted", "Working", "Customer", "Former"];
const STAGES: &[&str] = &[
    "Prospecting",
    "Qualification",
    "Proposal/Price Quote",
    "Negotiation/Review",
    "Closed Won",
    "Closed Lost",
];

fn text(name: &str, label: &str, length: usize) -> Field {
    Field::new(name, label, FieldType::String).length(length)
}

fn of(name: &str, label: &str, kind: FieldType) -> Field {
    Field::new(name, label, kind)
}

fn picklist(name: &str, label: &str, values: &[&str]) -> Field {
    Field::new(name, label, FieldType::Picklist).values(values)
}

/// Owners default to the integration user; a record is created without naming one.
fn owner() -> Field {
    of("OwnerId", "Owner ID", FieldType::Reference).to("User", "Owner")
}

fn currency_code() -> Field {
    picklist("CurrencyIsoCode", "Currency ISO Code", CURRENCIES).length(3)
}

fn external_id() -> Field {
    text("External_Id__c", "External Id", 40).external_id()
}

fn flag(name: &str, label: &str) -> Field {
    of(name, label, FieldType::Boolean)
}

fn address(prefix: &'static str, label: &str) -> Vec<Field> {
    vec![
        // The one text area that can be filtered: a street is a short one.
        of(
            &format!("{prefix}Street"),
            &format!("{label} Street"),
            FieldType::TextArea,
        )
        .length(255)
        .filterable(),
        text(&format!("{prefix}City"), &format!("{label} City"), 40),
        text(&format!("{prefix}State"), &format!("{label} State/Province"), 80),
        text(&format!("{prefix}PostalCode"), &format!("{label} Zip/Postal Code"), 20),
        text(&format!("{prefix}Country"), &format!("{label} Country"), 80),
        of(
            &format!("{prefix}Address"),
            &format!("{label} Address"),
            FieldType::Address,
        )
        .read_only(Source::Address(prefix)),
    ]
}

fn person_name() -> Vec<Field> {
    vec![
        text("LastName", "Last Name", 80).required(),
        text("FirstName", "First Name", 40),
        picklist("Salutation", "Salutation", SALUTATIONS).length(40),
        text("Name", "Full Name", 121).read_only(Source::FullName),
    ]
}

fn account() -> Schema {
    let mut fields = vec![
        of("MasterRecordId", "Master Record ID", FieldType::Reference).to("Account", "MasterRecord"),
        text("Name", "Account Name", 255).required(),
        picklist(
            "Type",
            "Account Type",
            &["Prospect", "Customer - Direct", "Customer - Channel", "Other"],
        ),
        of("ParentId", "Parent Account ID", FieldType::Reference).to("Account", "Parent"),
        of("Phone", "Account Phone", FieldType::Phone),
        of("Fax", "Account Fax", FieldType::Phone),
        of("Website", "Website", FieldType::Url),
        picklist("Industry", "Industry", INDUSTRIES),
        of("AnnualRevenue", "Annual Revenue", FieldType::Currency),
        of("NumberOfEmployees", "Employees", FieldType::Int),
        of("Description", "Account Description", FieldType::TextArea),
        currency_code(),
        owner(),
        external_id(),
    ];
    fields.extend(address("Billing", "Billing"));
    Schema::new("Account", "Accounts", "001", fields)
}

fn contact() -> Schema {
    let mut fields = vec![
        of("MasterRecordId", "Master Record ID", FieldType::Reference).to("Contact", "MasterRecord"),
        of("AccountId", "Account ID", FieldType::Reference).to("Account", "Account"),
    ];
    fields.extend(person_name());
    fields.extend([
        of("Email", "Email", FieldType::Email),
        of("Phone", "Business Phone", FieldType::Phone),
        of("MobilePhone", "Mobile Phone", FieldType::Phone),
        of("HomePhone", "Home Phone", FieldType::Phone),
        of("Fax", "Business Fax", FieldType::Phone),
        text("Title", "Title", 128),
        text("Department", "Department", 80),
        of("Birthdate", "Birthdate", FieldType::Date),
        picklist("LeadSource", "Lead Source", LEAD_SOURCES),
        of("Description", "Contact Description", FieldType::TextArea),
        of("ReportsToId", "Reports To ID", FieldType::Reference).to("Contact", "ReportsTo"),
        flag("HasOptedOutOfEmail", "Email Opt Out"),
        flag("HasOptedOutOfFax", "Fax Opt Out"),
        flag("DoNotCall", "Do Not Call"),
        of("EmailBouncedDate", "Email Bounced Date", FieldType::DateTime),
        currency_code(),
        owner(),
    ]);
    fields.extend(address("Mailing", "Mailing"));
    fields.extend([
        of("LTV__c", "Lifetime Value", FieldType::Currency),
        picklist("Lifecycle__c", "Lifecycle", LIFECYCLES),
        of("Customer_Since__c", "Customer Since", FieldType::Date),
        of("Email_Consent_Date__c", "Email Consent Date", FieldType::DateTime),
        flag("Double_Opt_In__c", "Double Opt In"),
        picklist("Language__c", "Language", &["de", "en", "fr", "it", "ja", "tr"]),
        of("Loyalty_Points__c", "Loyalty Points", FieldType::Double),
        text("CDP_Lifecycle__c", "CDP Lifecycle", 40),
        of("CDP_Engagement_Score__c", "CDP Engagement Score", FieldType::Double),
        external_id(),
    ]);
    let mut schema = Schema::new("Contact", "Contacts", "003", fields);
    if let Some(reference) = schema.column("AccountId") {
        let industry = text("Account_Industry__c", "Account Industry", 1300);
        schema.add(industry.formula(Source::OfParent {
            reference,
            field: "Industry",
        }));
    }
    schema
}

fn lead() -> Schema {
    let mut fields = vec![of("MasterRecordId", "Master Record ID", FieldType::Reference).to("Lead", "MasterRecord")];
    fields.extend(person_name());
    fields.extend([
        text("Company", "Company", 255).required(),
        text("Title", "Title", 128),
        of("Email", "Email", FieldType::Email),
        of("Phone", "Phone", FieldType::Phone),
        of("MobilePhone", "Mobile Phone", FieldType::Phone),
        of("Website", "Website", FieldType::Url),
        picklist("LeadSource", "Lead Source", LEAD_SOURCES),
        picklist(
            "Status",
            "Status",
            &["Open - Not Contacted", "Working - Contacted", "Closed - Converted"],
        ),
        picklist("Industry", "Industry", INDUSTRIES),
        text("Street", "Street", 255),
        text("City", "City", 40),
        text("State", "State/Province", 80),
        text("PostalCode", "Zip/Postal Code", 20),
        text("Country", "Country", 80),
        flag("HasOptedOutOfEmail", "Email Opt Out"),
        flag("IsConverted", "Converted").read_only(Source::Column(usize::MAX)),
        of("ConvertedContactId", "Converted Contact ID", FieldType::Reference)
            .to("Contact", "ConvertedContact")
            .read_only(Source::Column(usize::MAX)),
        of("Description", "Description", FieldType::TextArea),
        currency_code(),
        owner(),
        external_id(),
    ]);
    Schema::new("Lead", "Leads", "00Q", fields)
}

fn opportunity() -> Schema {
    let fields = vec![
        of("AccountId", "Account ID", FieldType::Reference).to("Account", "Account"),
        of("ContactId", "Contact ID", FieldType::Reference).to("Contact", "Contact"),
        text("Name", "Name", 120).required(),
        of("Description", "Description", FieldType::TextArea),
        picklist("StageName", "Stage", STAGES).required(),
        of("Amount", "Amount", FieldType::Currency),
        of("Probability", "Probability (%)", FieldType::Percent),
        of("CloseDate", "Close Date", FieldType::Date).required(),
        picklist(
            "Type",
            "Opportunity Type",
            &[
                "New Customer",
                "Existing Customer - Upgrade",
                "Existing Customer - Replacement",
            ],
        ),
        picklist("LeadSource", "Lead Source", LEAD_SOURCES),
        flag("IsClosed", "Closed").read_only(Source::Column(usize::MAX)),
        flag("IsWon", "Won").read_only(Source::Column(usize::MAX)),
        of("LastStageChangeDate", "Last Stage Change Date", FieldType::DateTime).read_only(Source::Column(usize::MAX)),
        currency_code(),
        owner(),
        external_id(),
    ];
    Schema::new("Opportunity", "Opportunities", "006", fields)
}

fn user() -> Schema {
    let fields = vec![
        text("Username", "Username", 80).required(),
        text("LastName", "Last Name", 80).required(),
        text("FirstName", "First Name", 40),
        text("Name", "Full Name", 121).read_only(Source::FullName),
        of("Email", "Email", FieldType::Email),
        flag("IsActive", "Active"),
    ];
    Schema::new("User", "Users", "005", fields)
}
