//! `ferrygate catalog --files DIR --output OUT`: the contracts of a folder, for people.

use std::path::{Component, Path, PathBuf};
use std::{fs, io};

use clap::Args;
use kube::api::{Api, ListParams};

use super::files::{DEFAULT_NAMESPACE, FilesError, Manifests};
use crate::api::SyncPipeline;
use crate::api::common::exit;
use crate::catalog::{Catalog, CatalogError, Contracts, Files};
use crate::cluster::{self, ANSWER};

/// The file that lists what the last catalog wrote, a path a line: what is no longer part of it is removed.
const WRITTEN: &str = ".ferrygate-catalog";

/// What the catalog is made of, and where it goes.
#[derive(Debug, Args)]
pub struct CatalogArgs {
    /// The folder with the YAML manifests: all versions of the mappings, and the sinks and pipelines that take them.
    #[arg(long)]
    files: PathBuf,
    /// The folder that the catalog is written to: a new or empty one, or that of an earlier catalog.
    #[arg(long)]
    output: PathBuf,
    /// Where the pipelines' statuses are, which tell how full each trait is: a file (`kubectl get syncpipelines -A -o yaml`), or
    /// `cluster`, for the one of the kubeconfig.
    #[arg(long, value_name = "FILE|cluster")]
    status: Option<PathBuf>,
}

/// The value of `--status` that is no file.
const CLUSTER: &str = "cluster";

/// Why no catalog was written.
#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error(transparent)]
    Files(#[from] FilesError),
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    #[error("there is no MappingVersion in {}", .0.display())]
    Nothing(PathBuf),
    #[error(
        "{} holds files that no catalog wrote; name an empty folder, or one that this command wrote before",
        .0.display()
    )]
    Foreign(PathBuf),
    #[error("{}: {cause}", path.display())]
    Failed { path: PathBuf, cause: io::Error },
    #[error("the pipelines' statuses can't be read from the API server: {0}; check the kubeconfig, or name a file")]
    Unanswered(#[from] kube::Error),
}

/// Writes the catalog, and returns the process's exit code.
pub async fn run(args: &CatalogArgs) -> i32 {
    match read_and_write(args).await {
        Ok(files) => {
            println!(
                "wrote {files} files; open {} in a browser",
                args.output.join("index.html").display()
            );
            0
        }
        Err(error) => {
            eprintln!("error: {error}");
            exit::CONFIGURATION
        }
    }
}

async fn read_and_write(args: &CatalogArgs) -> Result<usize, WriteError> {
    let manifests = Manifests::read(&args.files)?;
    let statuses = match &args.status {
        None => Vec::new(),
        Some(cluster) if cluster == Path::new(CLUSTER) => of_cluster(&manifests).await?,
        Some(file) => of_file(file)?,
    };
    write(args, &manifests, &statuses)
}

/// Pipelines with their statuses, each with its namespace as the manifests name it.
type Statuses = Vec<(String, SyncPipeline)>;

async fn of_cluster(manifests: &Manifests) -> Result<Statuses, WriteError> {
    let client = cluster::client(ANSWER).await?;
    let mut statuses = Vec::new();
    for (name, _) in manifests.namespaces() {
        let namespace = match name {
            DEFAULT_NAMESPACE => client.default_namespace(),
            named => named,
        };
        let api: Api<SyncPipeline> = Api::namespaced(client.clone(), namespace);
        let there = api.list(&ListParams::default()).await?;
        statuses.extend(there.items.into_iter().map(|pipeline| (name.to_owned(), pipeline)));
    }
    Ok(statuses)
}

fn of_file(file: &Path) -> Result<Statuses, WriteError> {
    let (read, errors) = Manifests::read_file(file);
    if let Some(error) = errors.into_iter().next() {
        return Err(error.into());
    }
    let all = read.namespaces().flat_map(|(name, namespace)| {
        let pipelines = namespace.pipelines.values();
        pipelines.map(move |pipeline| (name.to_owned(), pipeline.clone()))
    });
    Ok(all.collect())
}

/// The statuses for a namespace of the manifests. Manifests that name none are of whatever single namespace the statuses are of.
fn of_namespace<'s>(name: &str, manifests: &Manifests, statuses: &'s Statuses) -> Vec<&'s SyncPipeline> {
    let alone = manifests.namespaces().count() == 1
        && name == DEFAULT_NAMESPACE
        && statuses.windows(2).all(|pair| pair[0].0 == pair[1].0);
    let these = statuses.iter().filter(|(namespace, _)| alone || namespace == name);
    these.map(|(_, pipeline)| pipeline).collect()
}

fn write(args: &CatalogArgs, manifests: &Manifests, statuses: &Statuses) -> Result<usize, WriteError> {
    let namespaces: Vec<_> = manifests
        .namespaces()
        .map(|(name, namespace)| Contracts {
            namespace: name,
            mappings: namespace.mappings.values().collect(),
            sinks: namespace.sinks.values().collect(),
            pipelines: namespace.pipelines.values().collect(),
            statuses: of_namespace(name, manifests, statuses),
        })
        .collect();
    let catalog = Catalog::of(&namespaces)?;
    if catalog.mappings.is_empty() {
        return Err(WriteError::Nothing(args.files.clone()));
    }
    let files = catalog.render();
    let before = written_before(&args.output)?;
    // Named before they are there: a catalog that could be written only in part is still known as one.
    let mut names: Vec<&str> = before.iter().chain(files.keys()).map(String::as_str).collect();
    names.sort_unstable();
    names.dedup();
    put(&args.output, WRITTEN, &lines(&names))?;
    for (path, text) in &files {
        put(&args.output, path, text)?;
    }
    remove_stale(&args.output, &before, &files)?;
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    put(&args.output, WRITTEN, &lines(&names))?;
    Ok(files.len())
}

fn lines(names: &[&str]) -> String {
    names.iter().flat_map(|name| [*name, "\n"]).collect()
}

/// What an earlier catalog wrote into the folder.
fn written_before(output: &Path) -> Result<Vec<String>, WriteError> {
    let failed = |cause| WriteError::Failed {
        path: output.to_owned(),
        cause,
    };
    let mut entries = match fs::read_dir(output) {
        Err(absent) if absent.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        read => read.map_err(failed)?,
    };
    match fs::read_to_string(output.join(WRITTEN)) {
        Ok(listed) => Ok(listed.lines().map(str::to_owned).collect()),
        Err(absent) if absent.kind() == io::ErrorKind::NotFound && entries.next().is_none() => Ok(Vec::new()),
        Err(absent) if absent.kind() == io::ErrorKind::NotFound => Err(WriteError::Foreign(output.to_owned())),
        Err(cause) => Err(failed(cause)),
    }
}

fn put(output: &Path, path: &str, text: &str) -> Result<(), WriteError> {
    let path = output.join(path);
    let written = path
        .parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| fs::write(&path, text));
    written.map_err(|cause| WriteError::Failed { path, cause })
}

/// Removes what an earlier catalog wrote and this one did not, and the folders that are empty then.
fn remove_stale(output: &Path, before: &[String], files: &Files) -> Result<(), WriteError> {
    for name in before.iter().filter(|name| !files.contains_key(*name)) {
        let stays_inside = Path::new(name)
            .components()
            .all(|component| matches!(component, Component::Normal(_)));
        if name.is_empty() || !stays_inside {
            continue;
        }
        let path = output.join(name);
        match fs::remove_file(&path) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(WriteError::Failed { path, cause }),
            _ => {}
        }
        for folder in path.ancestors().skip(1).take_while(|folder| *folder != output) {
            // One that is not empty stays.
            if fs::remove_dir(folder).is_err() {
                break;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(traits: &str) -> String {
        format!(
            "
apiVersion: ferrygate.io/v1alpha1
kind: MappingVersion
metadata: {{name: customer-1}}
spec:
  mapping: customer
  version: 1.0.0
  objects: [{{object: Contact, entity: Person, identity: [{{kind: crm_id, from: Id}}], traits: [{traits}]}}]
"
        )
    }

    fn catalog(folder: &Path, traits: &str) -> Result<usize, WriteError> {
        let files = folder.join("files");
        fs::create_dir_all(&files).unwrap();
        fs::write(files.join("mapping.yaml"), mapping(traits)).unwrap();
        let args = CatalogArgs {
            files,
            output: folder.join("catalog"),
            status: None,
        };
        write(&args, &Manifests::read(&args.files)?, &Vec::new())
    }

    #[tokio::test]
    async fn a_file_with_the_pipelines_of_a_cluster_tells_how_full_each_trait_is() {
        let folder = tempfile::tempdir().unwrap();
        let args = CatalogArgs {
            files: folder.path().join("files"),
            output: folder.path().join("catalog"),
            status: Some(folder.path().join("pipelines.yaml")),
        };
        fs::create_dir_all(&args.files).unwrap();
        let traits = "{trait: fax, from: Fax, type: String}, {trait: email, from: Email, type: String}";
        fs::write(args.files.join("mapping.yaml"), mapping(traits)).unwrap();
        let pipelines = r"
apiVersion: v1
kind: List
items:
- apiVersion: ferrygate.io/v1alpha1
  kind: SyncPipeline
  metadata: {name: people, namespace: crm-prod, resourceVersion: '7', uid: u, managedFields: []}
  spec:
    sourceRef: {name: org}
    sinkRef: {name: cdp}
    mappingRef: {name: customer, version: ~1.0}
    streams: [{name: contacts, object: Contact, schedule: {every: 5m}}]
  status:
    streams:
    - name: contacts
      fill: {mappingVersion: 1.0.0, records: 1204, time: '2026-11-25T08:00:00Z', perMille: [-1, 982]}
";
        fs::write(args.status.as_ref().unwrap(), pipelines).unwrap();
        read_and_write(&args).await.unwrap();
        let page = |name: &str| {
            let pages = args.output.join("default/customer/person");
            fs::read_to_string(pages.join(name)).unwrap()
        };
        let told = "<strong>98.2 %</strong> of the 1204 records of Contact that the pipeline people read on 2026-11-25, with version 1.0.0.";
        assert!(page("email.html").contains(told), "{}", page("email.html"));
        assert!(!page("fax.html").contains("How many records have a value?"));
    }

    #[test]
    fn a_page_whose_trait_is_gone_is_removed_with_it_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let pages = folder.path().join("catalog/default/customer/person");
        catalog(
            folder.path(),
            "{trait: fax, from: Fax, type: String}, {trait: email, from: Email, type: String}",
        )
        .unwrap();
        assert!(pages.join("fax.html").exists() && pages.join("email.html").exists());
        fs::write(pages.join("notes.txt"), "ours").unwrap();
        catalog(folder.path(), "{trait: email, from: Email, type: String}").unwrap();
        assert!(!pages.join("fax.html").exists() && pages.join("email.html").exists());
        assert!(pages.join("notes.txt").exists());
    }

    #[test]
    fn a_folder_that_holds_other_files_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("catalog");
        fs::create_dir(&output).unwrap();
        fs::write(output.join("README.md"), "ours").unwrap();
        let refused = catalog(folder.path(), "").unwrap_err().to_string();
        assert!(refused.contains("name an empty folder"), "{refused}");
        assert_eq!(fs::read_to_string(output.join("README.md")).unwrap(), "ours");
    }

    #[test]
    fn a_list_that_was_tampered_with_removes_nothing_outside() {
        let folder = tempfile::tempdir().unwrap();
        catalog(folder.path(), "").unwrap();
        fs::write(folder.path().join("precious"), "ours").unwrap();
        let outside = folder.path().join("precious").display().to_string();
        fs::write(
            folder.path().join("catalog").join(WRITTEN),
            format!("../precious\n{outside}\n"),
        )
        .unwrap();
        catalog(folder.path(), "").unwrap();
        assert!(folder.path().join("precious").exists());
    }
}
