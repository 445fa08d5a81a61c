//! The report for machines: every number, and every file of every finding.

use glowplug_convert::diet::{Amount, Finding, Rule};
use serde_json::{Value, json};

use super::Report;
use crate::node::file_document;

/// The report as JSON. Sizes are in bytes, times in seconds; what is an estimate is named in `estimates`.
pub fn document(report: &Report<'_>) -> Value {
    let (diet, inventory) = (report.diet, report.inventory);
    let layers = inventory.layers.iter().enumerate().map(|(number, layer)| {
        json!({ "digest": layer.blob, "compressed_bytes": layer.blob_bytes, "file_count": layer.files, "bytes": layer.bytes,
            "made_by": report.made_by.get(number) })
    });
    let amount = |amount: Amount| {
        json!({ "file_count": amount.files, "bytes": amount.bytes, "compressed_bytes": amount.blob_bytes,
            "pull_seconds": diet.seconds(amount.blob_bytes) })
    };
    json!({
        "image": report.image,
        "manifest": report.manifest,
        "link_mbit": diet.link_mbit,
        "compressed_bytes": inventory.blob_bytes(),
        "bytes": inventory.bytes(),
        "file_count": inventory.files.len(),
        "pull_seconds": diet.seconds(inventory.blob_bytes()),
        "recorded_starts": inventory.starts,
        "contents_read": report.contents.is_some(),
        "files_not_looked_into": report.contents.map(|contents| contents.absent),
        "need_not_be_there": amount(diet.spare),
        "untouched": amount(diet.idle),
        "estimates": ["findings[].files[].compressed_bytes", "findings[].compressed_bytes", "findings[].start_seconds"],
        "layers": layers.collect::<Vec<Value>>(),
        "models": report.beside.map(|artifact| artifact.document(file_document)),
        "findings": diet.findings.iter().map(|finding| one(report, finding)).collect::<Vec<Value>>(),
    })
}

fn one(report: &Report<'_>, finding: &Finding) -> Value {
    let (diet, inventory) = (report.diet, report.inventory);
    let files = finding.items.iter().map(|item| {
        let file = &inventory.files[item.file];
        let owner = diet.owners[item.file].as_ref().map(|(owner, _)| diet.findings[*owner].rule);
        json!({ "path": file.path, "layer": file.layer, "size": file.size, "bytes": item.bytes,
            "compressed_bytes": item.blob_bytes, "counted_at": owner.map(Rule::id), "note": item.note })
    });
    json!({
        "rule": finding.rule.id(),
        "title": finding.rule.title(),
        "what_to_do": finding.way_out,
        "paid_by": finding.cost.words(),
        "bytes": finding.own.bytes,
        "compressed_bytes": finding.own.blob_bytes,
        "file_count": finding.own.files,
        "pull_seconds": finding.pull_seconds,
        "start_seconds": finding.start_seconds,
        "with_files_counted_elsewhere":
            { "bytes": finding.all.bytes, "compressed_bytes": finding.all.blob_bytes, "file_count": finding.all.files },
        "files": files.collect::<Vec<Value>>(),
    })
}
