//! `ferrygate audit`: whether the audit trails in a folder of state are whole, and what they hold of whom.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use crate::api::common::exit;
use crate::state::{AuditError, AuditTrail};

/// How deep below the folder a store may lie: `NAMESPACE/PIPELINE/STREAM.sqlite`.
const DEPTH: usize = 3;

/// Reads the audit trail: what stood of a person's consent whenever something of theirs was sent.
#[derive(Debug, Subcommand)]
pub enum Audit {
    /// Checks that no entry was changed, removed or put in between, and prints each trail's last hash.
    Verify(VerifyArgs),
    /// Prints every delivery, and what became of every erasure, as a line of JSON.
    Export(ExportArgs),
}

/// Which trails are read.
#[derive(Debug, Args)]
struct Which {
    /// The folder that keeps the state: `ferrygate run`'s, or a copy of a pipeline's volume.
    #[arg(long, default_value = ".ferrygate/state")]
    state: PathBuf,
    /// Only this pipeline's: of stores that lie in a folder of this name.
    #[arg(long)]
    pipeline: Option<String>,
    /// Only this stream's.
    #[arg(long)]
    stream: Option<String>,
}

/// What is checked.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    #[command(flatten)]
    which: Which,
    /// A last hash that was printed before, and kept elsewhere: one of the trails must still hold it.
    #[arg(long)]
    expect: Option<String>,
}

/// What is printed.
#[derive(Debug, Args)]
pub struct ExportArgs {
    #[command(flatten)]
    which: Which,
    /// Only the deliveries of this record: `003…`, or `Contact/003…`.
    #[arg(long)]
    record: Option<String>,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("there is no state {wanted}in {}; --state names the folder", folder.display())]
    Nothing { wanted: String, folder: PathBuf },
    #[error("{} can't be read: {cause}", folder.display())]
    Folder { folder: PathBuf, cause: io::Error },
    #[error(transparent)]
    Audit(AuditError),
    #[error(
        "no trail holds the hash {0}: entries were cut off or written anew since it was printed, or it is of another store"
    )]
    NotHeld(String),
}

impl<E: Into<AuditError>> From<E> for Error {
    fn from(error: E) -> Error {
        Error::Audit(error.into())
    }
}

/// Does it, and returns the process's exit code.
pub fn run(audit: &Audit) -> i32 {
    let done = match audit {
        Audit::Verify(args) => verify(args),
        Audit::Export(args) => export(args),
    };
    match done {
        Ok(()) => 0,
        // Whoever read it has seen enough.
        Err(Error::Audit(AuditError::Output(error))) if error.kind() == io::ErrorKind::BrokenPipe => 0,
        Err(error) => {
            eprintln!("error: {error}");
            exit::CONFIGURATION
        }
    }
}

fn verify(args: &VerifyArgs) -> Result<(), Error> {
    let mut held = false;
    for store in stores(&args.which)? {
        let verified = AuditTrail::open(&store)?.verify(args.expect.as_deref())?;
        held |= verified.holds_expected == Some(true);
        let line = json!({
            "store": store.display().to_string(),
            "entries": verified.entries,
            "deliveries": verified.deliveries,
            "erasures": verified.erasures,
            "lastHash": verified.last_hash,
        });
        writeln!(io::stdout(), "{line}")?;
    }
    match &args.expect {
        Some(expected) if !held => Err(Error::NotHeld(expected.clone())),
        _ => Ok(()),
    }
}

fn export(args: &ExportArgs) -> Result<(), Error> {
    let (object, record) = match args
        .record
        .as_deref()
        .map(|record| record.split_once('/').ok_or(record))
    {
        None => (None, None),
        Some(Ok((object, id))) => (Some(object), Some(id)),
        Some(Err(id)) => (None, Some(id)),
    };
    let mut out = BufWriter::new(io::stdout().lock());
    for store in stores(&args.which)? {
        AuditTrail::open(&store)?.export(record, |delivery| {
            if object.is_some_and(|object| object != delivery.object) {
                return Ok(());
            }
            serde_json::to_writer(&mut out, delivery)?;
            out.write_all(b"\n")
        })?;
    }
    out.flush()?;
    Ok(())
}

/// The stores that are asked for, by their paths.
fn stores(which: &Which) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    search(&which.state, DEPTH, &mut found)?;
    let is = |wanted: &Option<String>, name: Option<&std::ffi::OsStr>| {
        wanted
            .as_ref()
            .is_none_or(|wanted| name.is_some_and(|name| name == wanted.as_str()))
    };
    found.retain(|path| {
        is(&which.stream, path.file_stem()) && is(&which.pipeline, path.parent().and_then(Path::file_name))
    });
    found.sort();
    if found.is_empty() {
        let filters = [("pipeline", &which.pipeline), ("stream", &which.stream)];
        let filters = filters
            .iter()
            .filter_map(|(kind, name)| Some(format!("of {kind} {:?} ", name.as_ref()?)));
        return Err(Error::Nothing {
            wanted: filters.collect(),
            folder: which.state.clone(),
        });
    }
    Ok(found)
}

fn search(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<(), Error> {
    let failed = |cause| Error::Folder {
        folder: folder.to_owned(),
        cause,
    };
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        if entry.file_type().map_err(failed)?.is_dir() {
            if depth > 1 {
                search(&path, depth - 1, found)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "sqlite") {
            found.push(path);
        }
    }
    Ok(())
}
