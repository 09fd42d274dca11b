//! `ferrygate diff A B`: what changed between two versions of a mapping, and for whom.

pub mod show;

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::files::{FilesError, Manifests};
use crate::api::MappingVersionSpec;
use crate::api::sync_pipeline::MappingReference;
use crate::mapping::diff::{Comparison, Effect, compare};
use crate::worker::{UnresolvedMapping, resolve_mapping};

/// What to compare, and how the changes are shown.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 nothing breaks and the number fits; 1 the two could not be compared; 3 something breaks, and \
                        the number says so; 4 the number is too low for what changed."
)]
pub struct DiffArgs {
    /// The version before: a file with one MappingVersion, or name@version among the files of --files.
    before: String,
    /// The later version, named likewise.
    after: String,
    /// The folder in which name@version is looked for.
    #[arg(long, default_value = ".")]
    files: PathBuf,
    /// How the changes are printed, to standard output.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// How the changes are printed.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    /// For a terminal.
    Text,
    /// For a pull request.
    Markdown,
    /// For a program.
    Json,
}

/// Nothing breaks, and the number fits.
const HARMLESS: i32 = 0;
/// The two could not be compared.
const FAILED: i32 = 1;
/// Something breaks, and the number says so.
const BREAKING: i32 = 3;
/// The number is too low for what changed.
const MISNUMBERED: i32 = 4;

/// Why two versions could not be compared.
#[derive(Debug, thiserror::Error)]
enum DiffError {
    #[error(transparent)]
    Files(#[from] FilesError),
    #[error("{}: has {count} MappingVersions; give a file with one, or name@version", path.display())]
    NotOne { path: PathBuf, count: usize },
    #[error("{side}: {cause}; it was looked for in {}", folder.display())]
    Unresolved {
        side: String,
        cause: Box<UnresolvedMapping>,
        folder: PathBuf,
    },
}

/// Compares, prints the changes, and returns the process's exit code.
pub fn run(args: &DiffArgs, now: Timestamp) -> i32 {
    let sides = load(&args.before, &args.files).and_then(|before| Ok((before, load(&args.after, &args.files)?)));
    let (before, after) = match sides {
        Ok(sides) => sides,
        Err(error) => {
            eprintln!("error: {error}");
            return FAILED;
        }
    };
    let comparison = compare(&before, &after, now.to_zoned(TimeZone::UTC).date());
    match args.output {
        Output::Text => print!("{}", show::text(&comparison)),
        Output::Markdown => print!("{}", show::markdown(&comparison)),
        Output::Json => println!("{}", show::json(&comparison)),
    }
    exit_code(&comparison)
}

fn exit_code(comparison: &Comparison) -> i32 {
    if comparison.misnumbered().is_some() {
        MISNUMBERED
    } else if comparison.effect() == Some(Effect::Breaking) {
        BREAKING
    } else {
        HARMLESS
    }
}

/// The version that a side names.
fn load(side: &str, folder: &Path) -> Result<MappingVersionSpec, DiffError> {
    let path = Path::new(side);
    match side.split_once('@') {
        Some((name, version)) if !path.exists() => {
            // What else is wrong in the folder keeps nobody from comparing two versions of it.
            let (manifests, _) = Manifests::read_all(folder);
            let reference = MappingReference {
                name: name.to_owned(),
                version: version.to_owned(),
            };
            let found = resolve_mapping(&reference, manifests.mapping_versions());
            found
                .map(|version| version.spec.clone())
                .map_err(|cause| DiffError::Unresolved {
                    side: side.to_owned(),
                    cause: Box::new(cause),
                    folder: folder.to_owned(),
                })
        }
        _ => {
            let (manifests, errors) = Manifests::read_file(path);
            if let Some(error) = errors.into_iter().next() {
                return Err(error.into());
            }
            match manifests.mapping_versions().as_slice() {
                [one] => Ok(one.spec.clone()),
                several => Err(DiffError::NotOne {
                    path: path.to_owned(),
                    count: several.len(),
                }),
            }
        }
    }
}

#[cfg(test)]
mod tests;
