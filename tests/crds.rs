//! The generated CRDs of `crds/` are the ones that the types give. `UPDATE_CRDS=1 cargo test --test crds` writes them.

use std::path::Path;

use ferrygate::api::definitions;

const HEADER: &str =
    "# Generated from src/api by `UPDATE_CRDS=1 cargo test --test crds`; the tests check that it is fresh.\n";

#[test]
fn the_checked_in_definitions_are_the_ones_that_the_types_give() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("crds");
    let update = std::env::var_os("UPDATE_CRDS").is_some();
    let mut stale = Vec::new();
    for definition in definitions() {
        let name = definition.metadata.name.as_deref().expect("a definition has a name");
        let path = directory.join(format!("{name}.yaml"));
        let body = serde_saphyr::to_string(&definition).expect("a definition is YAML");
        let fresh = format!("{HEADER}---\n{body}");
        if update {
            std::fs::write(&path, fresh).expect("crds/ can be written");
        } else if std::fs::read_to_string(&path).unwrap_or_default() != fresh {
            stale.push(path);
        }
    }
    assert!(
        stale.is_empty(),
        "{stale:?} differ from the types; write them with `UPDATE_CRDS=1 cargo test --test crds`"
    );
}
