//! Whole mappings, as a user writes them.

mod compile;
mod consent;
mod identity;
mod projection;
mod records;

use crate::api::{CdpSinkSpec, MappingVersionSpec};

/// A mapping of one object, from the YAML of `spec.objects[0]`.
fn mapping(object: &str) -> MappingVersionSpec {
    let indented: String = object.lines().map(|line| format!("  {line}\n")).collect();
    let item = indented.replacen("  ", "- ", 1);
    spec(&format!(
        "mapping: customer\nversion: 2.1.0\nenums:\n  lifecycle: {{Working: lead, Customer: customer}}\nobjects:\n{item}"
    ))
}

pub(super) fn spec(yaml: &str) -> MappingVersionSpec {
    serde_saphyr::from_str(yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}"))
}

/// Errors as a user reads them.
fn lines(errors: &[crate::mapping::CompileError]) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

/// A sink that takes `crm_id`, `account_id` and `email`, holds what is Personal, and requires these purposes.
pub(super) fn sink(require: &[&str]) -> CdpSinkSpec {
    let mut sink: CdpSinkSpec = serde_saphyr::from_str(
        "
segment: {endpoint: https://cdp.example, writeKey: {secretKeyRef: {name: cdp, key: key}}}
identity: {userId: crm_id, groupId: account_id, externalIds: [email]}
",
    )
    .expect("a sink");
    sink.consent.require = require.iter().map(|purpose| (*purpose).to_owned()).collect();
    sink
}

const CONTACT: &str = "\
object: Contact
entity: Person
identity:
- {kind: crm_id, from: Id}
- {kind: email, from: Email, transforms: [{trim: {}}, {lower: {}}]}
- {kind: email_sha256, from: Secret__c, transforms: [{sha256: {}}]}
group: {kind: account_id, from: AccountId}
traits:
- {trait: email, from: Email, type: String, transforms: [{trim: {}}, {lower: {}}], classification: Personal}
- {trait: phone, from: Phone, type: String, transforms: [{e164: {countryFrom: MailingCountry, default: DE}}], onNull: Unset, onError: Null}
- {trait: stage, from: Lifecycle__c, type: String, transforms: [{enum: {table: lifecycle}}]}
- {trait: value, from: LTV__c, type: Decimal, onError: Keep}
- {trait: since, from: Since__c, type: Timestamp, transforms: [{timestamp: {zone: Europe/Berlin}}]}
- {trait: employees, from: Employees__c, type: Integer, onNull: Reject}
- {trait: birthday, from: Birthdate, type: Date}
- {trait: diagnosis, from: Diagnosis__c, type: String, classification: Sensitive}
- trait: full_name
  type: String
  cel: \"[record.FirstName, record.LastName].filter(x, x != null).join(' ')\"
consent:
- {purpose: marketing_email, from: HasOptedOutOfEmail, granted: value == false}
events:
- {name: Signed Up, when: {created: {}}, at: Since__c, properties: [{property: secret, from: Diagnosis__c, type: String, classification: Sensitive}]}
- {name: Stage Changed, when: {changed: Lifecycle__c}, properties: [{property: to, from: Lifecycle__c, type: String}]}
";

/// Salesforce's own object for contacts of several accounts:
/// <https://developer.salesforce.com/docs/atlas.en-us.object_reference.meta/object_reference/sforce_api_objects_accountcontactrelation.htm>
const RELATION: &str = "\
object: AccountContactRelation
entity: Membership
identity: [{kind: relation_id, from: Id}]
subject: {entity: Person, kind: crm_id, from: ContactId}
group: {kind: account_id, from: AccountId}
traits:
- {trait: roles, from: Roles, type: List, items: String, transforms: [{multiSelect: {}}]}
- {trait: is_direct, from: IsDirect, type: Boolean}
consent:
- {purpose: marketing_email, from: Contact_Agreed__c, granted: value == true}
";

const OPPORTUNITY: &str = "\
object: Opportunity
entity: Deal
identity: [{kind: opportunity_id, from: Id}]
subject: {entity: Person, kind: crm_id, from: ContactId}
events:
- name: Opportunity Stage Changed
  when: {changed: StageName}
  at: LastStageChangeDate
  properties:
  - {property: to_stage, from: StageName, type: String}
  - {property: amount, from: Amount, type: Decimal}
";

const ACCOUNT: &str = "\
object: Account
entity: Account
identity: [{kind: account_id, from: Id}]
traits:
- {trait: name, from: Name, type: String}
";
