//! The present values of a record, for an asker who may read the identity map's key and the CRM.

use jiff::Timestamp;

use super::ExplainError;
use super::gather::{Explanation, Place};
use crate::mapping::Value;
use crate::source::{Recalled, Selection, Source};

/// Reads the record anew, and puts its values beside their hashes.
pub(super) async fn reveal(place: &Place<'_>, explanation: &mut Explanation) -> Result<(), ExplainError> {
    let secret = place.secret()?;
    let source = place.namespace.sources.get(&place.pipeline.spec.source_ref.name);
    let mapping = place.mapping(explanation.mapping.as_deref());
    let (Some(source), Some((mapping, _)), Some(sink)) = (source, mapping, place.sink()) else {
        return Ok(());
    };
    let (mut plan, secrets) = (place.plan(mapping, sink)?, place.namespace.secrets());
    plan.read_keys(&secrets)?;
    let source = Source::connect(&source.spec, &secrets).await?;
    let selection = Selection {
        object: explanation.object.clone(),
        fields: plan.fields().to_vec(),
        from: None,
        deleted: true,
    };
    let record = Recalled {
        record_id: explanation.record.clone(),
        at: Timestamp::now(),
    };
    for page in source.read(&selection, &[record]).await? {
        page.decode(|record| {
            for key in plan.keys(record) {
                let Some(explained) = explanation.keys.iter_mut().find(|explained| explained.kind == key.kind) else {
                    continue;
                };
                explained.value_is_as_delivered = explained
                    .hash
                    .as_ref()
                    .zip(key.value.as_ref())
                    .map(|(hash, value)| *hash == secret.hash(key.kind, value).to_string());
                explained.value = key.value.map(|value| value.into_owned());
            }
            let (Some(explained), Ok(mapped)) = (&mut explanation.trait_explained, plan.map(record)) else {
                return;
            };
            explained.value = plan.find(&mapped, &explained.name).map(text);
        })?;
    }
    Ok(())
}

fn text(value: &Value<'_>) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::String(text) => text.to_string(),
        other => format!("{other:?}"),
    }
}
