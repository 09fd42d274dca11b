//! Kubernetes, etcd, CoreDNS, Helm and other programs in Go, built from their published modules and kept for the next time.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use tokio::process::Command;

use super::{
    command::{find, run},
    paths::cache,
};
use crate::progress::Steps;

/// The Kubernetes that is built, as `go.mod` says it too.
pub const KUBERNETES: (&str, &str, &str) = ("1", "37", "2");

/// The Helm that is built, as `go.mod` says it too.
const HELM: &str = "v3.22.0";

/// What is built: the Go package, the program's name, what a person is told.
const PROGRAMS: [(&str, &str, &str); 5] = [
    ("./kubernetes", "kubernetes", "Kubernetes"),
    ("./etcd", "etcd", "etcd"),
    ("./coredns", "coredns", "CoreDNS"),
    ("./pause", "pause", "the pause container"),
    ("helm.sh/helm/v3/cmd/helm", "helm", "Helm"),
];

/// The names by which the `kubernetes` program is called.
const FACES: [&str; 6] = [
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubectl",
    "kubelet",
];

/// A Go module of this package whose programs are built.
struct Module {
    /// Its folder in this package.
    folder: &'static str,
    /// As [`PROGRAMS`].
    programs: &'static [(&'static str, &'static str, &'static str)],
    /// As [`FACES`].
    faces: &'static [&'static str],
}

const CLUSTER: Module = Module {
    folder: "cluster",
    programs: &PROGRAMS,
    faces: &FACES,
};

const GITOPS: Module = Module {
    folder: "gitops",
    programs: &[(
        "./health",
        "health",
        "the health checks of Argo CD and Flux (some minutes, once)",
    )],
    faces: &[],
};

/// For how long programs are kept that are not used.
const LONG: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// The folder of the built programs.
#[derive(Clone, Debug)]
pub struct Binaries(PathBuf);

impl Binaries {
    /// Builds what is not there yet: minutes on a new machine, nothing after that.
    ///
    /// # Errors
    /// When Go can't build a program. What was built whole before stays; nothing half-built does.
    pub async fn ensure(steps: &Steps) -> Result<Self> {
        Self::of(&CLUSTER, steps).await
    }

    /// [`ensure`](Self::ensure) for what evaluates health as Argo CD and Flux do: `health`.
    ///
    /// # Errors
    /// As `ensure`.
    pub async fn ensure_gitops(steps: &Steps) -> Result<Self> {
        Self::of(&GITOPS, steps).await
    }

    async fn of(wanted: &Module, steps: &Steps) -> Result<Self> {
        let module = Path::new(env!("CARGO_MANIFEST_DIR")).join(wanted.folder);
        let bin = cache()?.join("bin");
        let folder = bin.join(format!("{}-{}", version(), digest(&module)?));
        fs::create_dir_all(&folder).with_context(|| format!("could not create {}", folder.display()))?;
        // Held until the end: of two that want the programs, one builds and the other finds them.
        let lock = File::create(bin.join("lock"))?;
        let lock = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock)).await??;
        let built = Self(folder);
        for (package, program, told) in wanted.programs.iter().copied() {
            if built.path(program).exists() {
                continue;
            }
            let what = match program {
                "kubernetes" => format!("Building {told} {} (some minutes, once)", version()),
                _ => format!("Building {told}"),
            };
            steps.step(&what, built.build(&module, package, program)).await?;
        }
        for face in wanted.faces.iter().copied() {
            if !built.path(face).exists() {
                std::os::unix::fs::symlink("kubernetes", built.path(face))?;
            }
        }
        built.forget_others(&bin)?;
        drop(lock);
        Ok(built)
    }

    /// Builds kwok, which pretends to be nodes and pods by the thousand: not among the others, since only benchmarks need it.
    ///
    /// # Errors
    /// When Go can't build it.
    pub async fn ensure_kwok(steps: &Steps) -> Result<PathBuf> {
        let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("kwok");
        let bin = cache()?.join("bin");
        let built = Self(bin.join(format!("kwok-{}", digest(&module)?)));
        fs::create_dir_all(&built.0).with_context(|| format!("could not create {}", built.0.display()))?;
        let lock = File::create(bin.join("lock"))?;
        let lock = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock)).await??;
        let program = built.path("kwok");
        if !program.exists() {
            let build = built.build(&module, "sigs.k8s.io/kwok/cmd/kwok", "kwok");
            steps.step("Building kwok", build).await?;
        }
        File::open(&built.0)?.set_modified(SystemTime::now())?;
        drop(lock);
        Ok(program)
    }

    /// The folder with all of them.
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// One of them: `kubectl`, `helm`, `etcd` …
    pub fn path(&self, program: &str) -> PathBuf {
        self.0.join(program)
    }

    /// Removes what other versions of the module made, once nobody has used it for long. A cluster that runs has links
    /// of its own.
    fn forget_others(&self, bin: &Path) -> Result<()> {
        let now = SystemTime::now();
        File::open(&self.0)?.set_modified(now)?;
        for entry in fs::read_dir(bin)? {
            let entry = entry?;
            let used = entry.metadata()?.modified()?;
            if entry.file_type()?.is_dir() && now.duration_since(used).is_ok_and(|unused| unused > LONG) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }

    async fn build(&self, module: &Path, package: &str, program: &str) -> Result<()> {
        let go = find("go").context("`go` is not on the PATH: install Go 1.26 or later")?;
        let partial = self.path(&format!(".{program}.partial"));
        run(Command::new(go)
            .current_dir(module)
            .env("CGO_ENABLED", "0")
            .arg("build")
            .args(flags())
            .arg("-o")
            .args([partial.as_os_str(), package.as_ref()]))
        .await
        .with_context(|| format!("could not build {package} in {}", module.display()))?;
        fs::rename(partial, self.path(program))?;
        Ok(())
    }
}

/// How each program is built. Nobody debugs these, and without debug information they build faster.
fn flags() -> Vec<String> {
    let (major, minor, _) = KUBERNETES;
    let kubernetes = "-X k8s.io/component-base/version.git";
    let helm = "-X helm.sh/helm/v3";
    let link = format!(
        "-s -w {kubernetes}Version={} {kubernetes}Major={major} {kubernetes}Minor={minor} \
         {helm}/internal/version.version={HELM} {helm}/pkg/chartutil.k8sVersionMajor={major} \
         {helm}/pkg/chartutil.k8sVersionMinor={minor}",
        version()
    );
    let all = [
        "-trimpath",
        "-buildvcs=false",
        "-mod=readonly",
        "-gcflags=all=-dwarf=false",
    ]
    .map(String::from);
    all.into_iter().chain([format!("-ldflags={link}")]).collect()
}

fn version() -> String {
    let (major, minor, patch) = KUBERNETES;
    format!("v{major}.{minor}.{patch}")
}

/// A short name for what the module's files and the flags say.
fn digest(module: &Path) -> Result<String> {
    let mut files = vec![];
    let mut folders = vec![module.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("could not read {}", folder.display()))? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    let mut hash = Sha256::new();
    hash.update(flags().join(" "));
    for file in files {
        hash.update(fs::read(file)?);
        hash.update([0]);
    }
    Ok(hash.finalize()[..6].iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_told_is_the_version_built() {
        let module = include_str!("../../cluster/go.mod");
        assert!(module.contains(&format!("k8s.io/kubernetes {}", version())));
        assert!(module.contains(&format!("helm.sh/helm/v3 {HELM}")));
    }
}
