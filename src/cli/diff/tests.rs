//! What is printed of two versions, and the exit code.

use std::fs;

use super::*;
use crate::api::MappingVersion;

const BEFORE: &str = "
apiVersion: ferrygate.io/v1alpha1
kind: MappingVersion
metadata: {name: customer-2.0.3}
spec:
  mapping: customer
  version: 2.0.3
  owners: [{team: crm, contact: crm@acme.example, role: Accountable}]
  objects:
    - object: Contact
      entity: Person
      identity: [{kind: crm_id, from: Id}]
      traits:
        - {trait: email, from: Email, type: String, critical: true}
        - {trait: vip, from: Vip__c, type: String}
      dependents:
        - {trait: vip, kind: Audience, name: Guests|of honour, owner: '#lifecycle'}
";

fn after(version: &str) -> String {
    let typed = BEFORE.replace("from: Vip__c, type: String", "from: Vip__c, type: Boolean");
    typed.replace("2.0.3", version) + "  releaseNotes: Vip is a flag.\n"
}

fn compared(version: &str) -> Comparison {
    let read = |text: &str| -> MappingVersion { serde_saphyr::from_str(text).unwrap() };
    compare(
        &read(BEFORE).spec,
        &read(&after(version)).spec,
        "2026-05-04".parse().unwrap(),
    )
}

#[test]
fn a_terminal_is_told_what_changed_why_for_whom_and_which_number_that_needs() {
    let expected = r#"customer 2.0.3 → 2.1.0: 1 breaking, 1 editorial

breaking
  objects[Contact].traits[vip].type: String → Boolean
      type: what is delivered has another type
      touches Audience "Guests|of honour" (#lifecycle)

editorial
  releaseNotes is new
      wording: it is for the readers of the contract

to be told
  #lifecycle: Audience "Guests|of honour" (objects[Contact].traits[vip].type)

to be asked
  crm (crm@acme.example, Accountable)

spec.version: 2.1.0 is too low for what changed since 2.0.3: objects[Contact].traits[vip].type: String → Boolean (breaking). The next version with such changes is 3.0.0
"#;
    assert_eq!(show::text(&compared("2.1.0")), expected);
}

#[test]
fn a_pull_request_gets_tables_that_no_name_can_break() {
    let told = show::markdown(&compared("3.0.0"));
    let row = r#"| objects\[Contact\].traits\[vip\].type: String → Boolean | type: what is delivered has another type | Audience "Guests\|of honour" \(\#lifecycle\) |"#;
    assert!(told.contains(row), "{told}");
    assert!(
        told.contains("**the number fits: such changes need 3.0.0 at the least**"),
        "{told}"
    );
    assert!(!told.contains("crm@acme"), "{told}");
}

#[test]
fn a_program_gets_rules_effects_and_the_least_number() {
    let told = show::json(&compared("2.1.0"));
    assert_eq!(
        (&told["effect"], &told["leastVersion"], &told["changes"][1]["rule"]),
        (&"Breaking".into(), &"3.0.0".into(), &"type".into())
    );
}

#[test]
fn sides_are_files_or_versions_of_a_folder_and_the_exit_code_tells_what_they_come_to() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    fs::write(at("before.yaml"), BEFORE).unwrap();
    fs::write(at("too-low.yaml"), after("2.1.0")).unwrap();
    fs::write(at("major.yaml"), after("3.0.0")).unwrap();
    fs::write(at("two.yaml"), format!("{BEFORE}---{}", after("4.0.0"))).unwrap();
    let cases = [
        (at("before.yaml"), at("before.yaml"), HARMLESS),
        (at("before.yaml"), at("major.yaml"), BREAKING),
        (at("before.yaml"), at("too-low.yaml"), MISNUMBERED),
        (at("before.yaml"), at("nothing.yaml"), FAILED),
        (at("before.yaml"), at("two.yaml"), FAILED),
        ("customer@2.1.0".to_owned(), "customer@3.0.0".to_owned(), HARMLESS),
        ("customer@~2.1".to_owned(), at("major.yaml"), HARMLESS),
        ("customer@5.0.0".to_owned(), at("major.yaml"), FAILED),
        ("nobody@1.0.0".to_owned(), at("major.yaml"), FAILED),
    ];
    for (before, after, expected) in cases {
        let args = DiffArgs {
            before: before.clone(),
            after: after.clone(),
            files: folder.path().to_owned(),
            output: Output::Text,
        };
        let code = run(&args, "2026-05-04T08:00:00Z".parse().unwrap());
        assert_eq!(code, expected, "{before} {after}");
    }
}
