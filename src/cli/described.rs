//! CRM objects as a CRM describes them, in a file: `ferrygate describe` writes it, `ferrygate validate --schema` holds mappings
//! against it.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::source::ObjectDescription;

/// What some sources describe.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Described {
    /// The sources, each once.
    sources: Vec<DescribedSource>,
}

/// What one source describes.
#[derive(Debug, Serialize, Deserialize)]
pub struct DescribedSource {
    /// The CrmSource's namespace.
    pub namespace: String,
    /// The CrmSource's name.
    pub source: String,
    /// The objects, as the integration user sees them.
    pub objects: Vec<ObjectDescription>,
}

/// Why a file of descriptions is none.
#[derive(Debug, thiserror::Error)]
#[error("{}: {cause}; `ferrygate describe` writes such a file", path.display())]
pub struct DescribedError {
    path: PathBuf,
    cause: String,
}

impl Described {
    /// Adds a source.
    pub fn add(&mut self, source: DescribedSource) {
        self.sources.push(source);
    }

    /// Reads a file of descriptions.
    ///
    /// # Errors
    /// Where it can't be read, or is none.
    pub fn read(path: &Path) -> Result<Described, DescribedError> {
        let failed = |cause: String| DescribedError {
            path: path.to_owned(),
            cause,
        };
        let text = fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
        serde_json::from_str(&text).map_err(|error| failed(error.to_string()))
    }

    /// An object of a source, if it is described.
    pub fn object(&self, namespace: &str, source: &str, object: &str) -> Option<&ObjectDescription> {
        let mut sources = self.sources.iter();
        let source = sources.find(|one| one.namespace == namespace && one.source == source)?;
        source.objects.iter().find(|one| one.object == object)
    }
}
