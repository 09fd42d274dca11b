//! The tables that the demo prints.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Attribute, Cell, ContentArrangement, Table};
use ferrygate::api::SyncPipeline;

use super::story::Told;

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header.iter().map(|name| Cell::new(name).add_attribute(Attribute::Bold)));
    table
}

/// The counts of the first sync.
pub fn print_first(pipeline: &SyncPipeline) {
    let mut table = table(&[
        "stream",
        "read",
        "delivered",
        "unchanged",
        "suppressed",
        "rejected",
        "watermark",
    ]);
    for stream in pipeline.status.iter().flat_map(|status| &status.streams) {
        let counts = stream.counts.unwrap_or_default();
        table.add_row([
            stream.name.clone(),
            counts.read.to_string(),
            counts.delivered.to_string(),
            counts.unchanged.to_string(),
            counts.suppressed.to_string(),
            counts.rejected.to_string(),
            stream.watermark.as_ref().map(ToString::to_string).unwrap_or_default(),
        ]);
    }
    println!("{table}");
}

/// How each change arrived.
pub fn print_scenes(scenes: &[Told]) {
    let mut table = table(&["what", "in the CRM", "in the CDP"]);
    for scene in scenes {
        table.add_row([scene.title, &scene.in_crm, &scene.in_cdp]);
    }
    println!("{table}");
}
