//! What is wrong with a mapping is told all at once, in the user's own terms.

use super::*;
use crate::mapping::Plan;
use crate::source::{FieldDescription, ObjectDescription};

#[test]
fn mappings_like_the_designs_have_nothing_wrong() {
    for object in [CONTACT, OPPORTUNITY, ACCOUNT, RELATION] {
        assert_eq!(lines(&Plan::check_spec(&mapping(object))), [""; 0]);
    }
}

#[test]
fn a_membership_needs_a_person_and_a_group_that_the_sink_takes() {
    let bare: String = RELATION
        .lines()
        .filter(|line| !line.starts_with("subject") && !line.starts_with("group"))
        .map(|line| format!("{line}\n"))
        .collect();
    assert_eq!(
        lines(&Plan::check_spec(&mapping(&bare))),
        [
            "spec.objects[0].subject: an object of entity Membership needs subject: the person who belongs to the group",
            "spec.objects[0].group: an object of entity Membership needs group: what the person belongs to",
        ]
    );
    let mut other = sink(&["marketing"]);
    other.identity.group_id = Some("household_id".to_owned());
    let errors = Plan::compile(&mapping(RELATION), "AccountContactRelation", &other).unwrap_err();
    assert_eq!(
        lines(&errors),
        [
            "CdpSink spec.identity.groupId: object AccountContactRelation is a Membership of groups that are named by \"account_id\", \
             and the sink takes \"household_id\" for its group id",
            "CdpSink spec.consent.require[0]: object AccountContactRelation of the mapping defines no purpose \"marketing\", so none of \
             it would ever be delivered",
        ]
    );
}

#[test]
fn everything_wrong_is_told_at_once() {
    let spec = spec(
        "
mapping: customer
version: '2.1'
enums: {lifecycle: {Working: lead}}
objects:
- object: Contact
  entity: Person
  identity:
  - {kind: crm_id, from: Id}
  - {kind: crm_id, from: Account.Id}
  - {kind: phone, from: Phone, transforms: [{decimal: {}}]}
  subject: {entity: Person, kind: crm_id, from: Id}
  traits:
  - {trait: email, from: Email, type: String, transforms: [{trim: {}}, {enum: {table: lifecyle}}]}
  - {trait: email, from: Email2, type: String}
  - {trait: amount, from: Amount, type: Decimal, transforms: [{decimal: {}}, {lower: {}}]}
  - {trait: since, from: Since, type: Date, transforms: [{timestamp: {zone: Mars/Olympus}}]}
  - {trait: count, from: Count, type: Integer, transforms: [{default: {value: none}}, {e164: {}}]}
  - {trait: both, from: Count, cel: '1', type: Integer}
  - {trait: name, cel: \"record.Name +\", type: String}
  - {trait: opted, cel: \"record.Opted == true\", type: Integer}
  - {trait: raw, cel: \"record.Opted.foo()\", type: Integer}
  - {trait: float, cel: \"double(record.Amount)\", type: Decimal, transforms: [{decimal: {}}]}
  - {trait: bad-field, from: 'Naïve', type: String}
  consent:
  - {purpose: email, from: OptOut, granted: \"size(value)\"}
  - {purpose: email, from: OptOut, granted: \"vlaue == false\"}
  events:
  - {name: Changed, when: {changed: Stage.Name}, properties: [{property: from, from: previous.Stage, type: String}]}
- object: Contact
  entity: Account
  identity: [{kind: account_id, from: Id}]
  events: [{name: Created, when: {created: {}}}]
",
    );
    let dotted = "only the object's own fields, as they are now, can be read; no dot can be in their names";
    let expected = vec![
        "spec.version: \"2.1\" is no semantic version like 2.1.0: unexpected end of input while parsing minor version number".into(),
        "spec.objects[1].object: \"Contact\" is already objects[0]".into(),
        "spec.objects[0].identity[1].kind: \"crm_id\" is already identity[0]".into(),
        "spec.objects[0].traits[1].trait: \"email\" is already traits[0]".into(),
        "spec.objects[0].consent[1].purpose: \"email\" is already consent[0]".into(),
        "spec.objects[0].subject: a Person is the subject of its own events; leave subject out".into(),
        format!("spec.objects[0].identity[1].from: \"Account.Id\": {dotted}"),
        "spec.objects[0].identity[2].type: the transforms leave a decimal number, which does not fit String".into(),
        "spec.objects[0].traits[0].transforms[1].enum.table: no enum table \"lifecyle\"; did you mean \"lifecycle\"?".into(),
        "spec.objects[0].traits[2].transforms[1]: lower can't take a decimal number, which is what it may get here".into(),
        "spec.objects[0].traits[3].transforms[0].timestamp.zone: no time zone \"Mars/Olympus\" in the IANA database".into(),
        "spec.objects[0].traits[3].type: the transforms leave a timestamp, which does not fit Date".into(),
        "spec.objects[0].traits[4].transforms[0].default.value: \"none\" is not a decimal number, and the type is Integer".into(),
        "spec.objects[0].traits[5]: a trait has exactly one of from, cel".into(),
        "SYNTAX".to_owned(),
        "spec.objects[0].traits[7].cel: the expression gives a bool, which is no Integer".into(),
        "spec.objects[0].traits[8].cel: column 17: there is no function \"foo\"".into(),
        "spec.objects[0].traits[9].cel: the expression gives a double, which no transform takes".into(),
        "spec.objects[0].traits[10].from: \"Naïve\" can't be a field's API name: letters, digits and _ after a letter".into(),
        "spec.objects[0].consent[0].granted: the expression gives an int, which is no Boolean; only true grants".into(),
        "spec.objects[0].consent[1].granted: column 1: there is no variable \"vlaue\"; did you mean \"value\"?".into(),
        format!("spec.objects[0].events[0].when.changed: \"Stage.Name\": {dotted}"),
        format!("spec.objects[0].events[0].properties[0].from: \"previous.Stage\": {dotted}"),
        "spec.objects[1].subject: the events of an Account need subject: the person whom they concern".into(),
    ];
    let mut found = lines(&Plan::check_spec(&spec));
    let syntax = found
        .iter()
        .position(|line| line.starts_with("spec.objects[0].traits[6].cel: column 14: "));
    found[syntax.expect("the syntax error, with its place")] = "SYNTAX".to_owned();
    assert_eq!(found, expected);
}

#[test]
fn what_only_a_sink_makes_wrong_names_the_sinks_field() {
    let mut groupless = sink(&[]);
    groupless.identity.group_id = None;
    let mut misnamed = sink(&[]);
    misnamed.identity.user_id = "crmid".to_owned();
    misnamed.identity.group_id = Some("household".to_owned());
    let cases: Vec<(&str, &str, CdpSinkSpec, Vec<&str>)> = vec![
        (CONTACT, "Contact", sink(&["marketing_email"]), vec![]),
        (
            CONTACT,
            "Contcat",
            sink(&[]),
            vec!["spec.objects: mapping customer 2.1.0 has no object \"Contcat\"; did you mean \"Contact\"?"],
        ),
        (
            CONTACT,
            "Contact",
            sink(&["marketing_mail", "sms"]),
            vec![
                "CdpSink spec.consent.require[0]: object Contact of the mapping defines no purpose \"marketing_mail\", so every person of it would be suppressed; did you mean \"marketing_email\"?",
                "CdpSink spec.consent.require[1]: object Contact of the mapping defines no purpose \"sms\", so every person of it would be suppressed",
            ],
        ),
        (
            CONTACT,
            "Contact",
            misnamed.clone(),
            vec![
                "CdpSink spec.identity.userId: object Contact of the mapping has no identity of kind \"crmid\"; did you mean \"crm_id\"?",
            ],
        ),
        (OPPORTUNITY, "Opportunity", sink(&[]), vec![]),
        (
            OPPORTUNITY,
            "Opportunity",
            sink(&["sms"]),
            vec![
                "CdpSink spec.consent.require[0]: object Opportunity of the mapping defines no purpose \"sms\", so no event of it would ever be delivered",
            ],
        ),
        (
            OPPORTUNITY,
            "Opportunity",
            misnamed.clone(),
            vec![
                "spec.objects[0].subject.kind: the sink's user id is \"crmid\", so events that name their person by \"crm_id\" would reach nobody",
            ],
        ),
        (ACCOUNT, "Account", sink(&["sms"]), vec![]),
        (
            ACCOUNT,
            "Account",
            groupless,
            vec![
                "CdpSink spec.identity.groupId: object Account is an Account, which is delivered as a group; name the identity kind that becomes the group id",
            ],
        ),
        (
            ACCOUNT,
            "Account",
            misnamed,
            vec![
                "CdpSink spec.identity.groupId: object Account of the mapping has no identity of kind \"household\"; it has account_id",
            ],
        ),
    ];
    for (object, name, sink, expected) in cases {
        let found = Plan::compile(&mapping(object), name, &sink).err().unwrap_or_default();
        assert_eq!(lines(&found), expected, "{name}");
    }
}

#[test]
fn only_fields_that_the_sink_gets_something_of_are_selected() {
    let plan = Plan::compile(&mapping(CONTACT), "Contact", &sink(&[])).expect("a plan");
    let expected = [
        "Id",
        "AccountId",
        "Email",
        "Phone",
        "MailingCountry",
        "Lifecycle__c",
        "LTV__c",
        "Since__c",
        "Employees__c",
        "Birthdate",
        "FirstName",
        "LastName",
        "HasOptedOutOfEmail",
    ];
    assert_eq!(plan.fields(), expected);
}

#[test]
fn fields_that_the_crm_lacks_are_named_with_their_near_misses() {
    let spec = mapping(
        "\
object: Contact
entity: Person
identity: [{kind: crm_id, from: Id}]
traits:
- {trait: email, from: Emial, type: String}
- {trait: phone, from: phone, type: String}
- {trait: shoe_size, cel: \"record.Shoe_Size__c\", type: Integer}
",
    );
    let plan = Plan::compile(&spec, "Contact", &sink(&[])).expect("a plan");
    let description = ObjectDescription {
        object: "Contact".to_owned(),
        fields: ["Id", "Email", "Phone"]
            .map(|name| FieldDescription {
                name: name.to_owned(),
                kind: "string".to_owned(),
                length: 80,
                filterable: true,
                ..FieldDescription::default()
            })
            .into(),
    };
    assert_eq!(
        lines(&plan.check_schema(&description).unwrap_err()),
        [
            "spec.objects[0].traits[0].from: object Contact has no field \"Emial\"; did you mean \"Email\"?",
            "spec.objects[0].traits[1].from: object Contact has no field \"phone\"; did you mean \"Phone\"?",
            "spec.objects[0].traits[2].cel: object Contact has no field \"Shoe_Size__c\"; it may exist and not be visible to the integration user: check its field-level security",
        ]
    );
}
