//! The container images: built from static programs, so that nothing else need be in them.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use tokio::{process::Command, sync::OnceCell};

use crate::{
    cluster::{
        Cluster,
        command::{run, sh},
        paths::cache,
        prerequisites::{self, Consent},
    },
    progress::Steps,
};

/// Where Linux distributions keep the certificates of public authorities.
const AUTHORITIES: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
];

/// An image that was built, and that the cluster knows.
#[derive(Clone, Debug)]
pub struct Image {
    /// The name for a pod's `image`, with `imagePullPolicy: Never`: `localhost/ferrygate:4f1c…`. The tag is made of
    /// the content, so that another content is another image.
    pub reference: String,
    /// The archive, as `docker save` writes it.
    pub archive: PathBuf,
    /// The size of what is in it, in bytes.
    pub size: u64,
}

impl Image {
    /// The name before the tag, as a chart's `image.repository` wants it.
    pub fn repository(&self) -> &str {
        self.reference
            .rsplit_once(':')
            .map_or(&self.reference, |(repository, _)| repository)
    }

    /// The tag.
    pub fn tag(&self) -> &str {
        self.reference.rsplit_once(':').map_or("", |(_, tag)| tag)
    }
}

/// Both images.
#[derive(Clone, Debug)]
pub struct BuiltImages {
    /// The operator: controller, workers, command line.
    pub ferrygate: Image,
    /// The simulators, and what tests run in pods.
    pub e2e: Image,
    /// The operator's program, as it is in its image: it runs on this machine too.
    pub program: PathBuf,
}

/// Builds both images from the source as it is, and makes them known to `cluster`. What has not changed since the last
/// time is not built again.
///
/// # Errors
/// When the programs don't compile, no image can be built here, or the cluster does not take them.
pub async fn build_images(cluster: &Cluster, steps: &Steps) -> Result<BuiltImages> {
    let images = build(steps).await?;
    for image in [&images.ferrygate, &images.e2e] {
        let what = format!("Loading {}", image.reference);
        steps
            .step(&what, cluster.load_image(&image.archive, &image.reference))
            .await?;
    }
    Ok(images)
}

/// Builds both images, for no cluster. Within a process, once.
///
/// # Errors
/// As [`build_images`].
pub async fn build(steps: &Steps) -> Result<BuiltImages> {
    static BUILT: OnceCell<BuiltImages> = OnceCell::const_new();
    BUILT.get_or_try_init(|| build_anew(steps)).await.cloned()
}

async fn build_anew(steps: &Steps) -> Result<BuiltImages> {
    prerequisites::ensure_image_builder(Consent::Ask, steps).await?;
    let programs = steps
        .step("Compiling static programs for the images", compile())
        .await?;
    let root = workspace();
    Ok(BuiltImages {
        ferrygate: image("ferrygate", &root.join("Containerfile"), &programs, steps).await?,
        e2e: image("ferrygate-e2e", &root.join("e2e/Containerfile"), &programs, steps).await?,
        program: programs.join("ferrygate"),
    })
}

async fn image(program: &'static str, containerfile: &Path, programs: &Path, steps: &Steps) -> Result<Image> {
    let authorities = AUTHORITIES
        .iter()
        .map(PathBuf::from)
        .find(|file| file.is_file())
        .with_context(|| {
            format!(
                "no certificates of public authorities in {}: install ca-certificates",
                AUTHORITIES.join(", ")
            )
        })?;
    let recipe = Recipe {
        containerfile: containerfile.to_owned(),
        files: vec![(program, programs.join(program)), ("ca-certificates.crt", authorities)],
    };
    let tag = recipe.digest()?;
    let reference = format!("localhost/{program}:{tag}");
    let folder = cache()?.join("images").join(program);
    let archive = folder.join(format!("{tag}.tar"));
    if !archive.exists() {
        fs::create_dir_all(&folder)?;
        steps
            .step(&format!("Packing {reference}"), pack(&recipe, &reference, &archive))
            .await?;
        forget_others(&folder, &archive)?;
    }
    let size = recipe.size()?;
    steps.note(&format!("{reference}: {:.1} MB", size as f64 / 1e6));
    Ok(Image {
        reference,
        archive,
        size,
    })
}

/// Removes the archives of what the source was before.
fn forget_others(folder: &Path, kept: &Path) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path != kept && path.extension().is_some_and(|extension| extension == "tar") {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Compiles both programs without a dynamic library, and returns their folder.
///
/// A target folder of its own keeps the different flags from throwing out what other builds made.
async fn compile() -> Result<PathBuf> {
    let about = sh(["rustc", "--version", "--verbose"]).await?;
    let host = about
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .context("rustc names no host")?;
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from);
    let target = workspace().join(target).join("image");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(workspace())
        .args([
            "build",
            "--quiet",
            "--release",
            "--target",
            host,
            "--package",
            "ferrygate",
            "--package",
            "ferrygate-e2e",
        ])
        .args(["--bin", "ferrygate", "--bin", "ferrygate-e2e", "--target-dir"])
        .arg(&target)
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    run(&mut cargo).await?;
    Ok(target.join(host).join("release"))
}

fn workspace() -> PathBuf {
    let e2e = Path::new(env!("CARGO_MANIFEST_DIR"));
    e2e.parent().unwrap_or(e2e).to_owned()
}

/// What an image is made of.
pub struct Recipe {
    /// How.
    pub containerfile: PathBuf,
    /// What: the name in the Containerfile, and where it comes from.
    pub files: Vec<(&'static str, PathBuf)>,
}

impl Recipe {
    fn digest(&self) -> Result<String> {
        let mut hash = Sha256::new();
        for file in std::iter::once(&self.containerfile).chain(self.files.iter().map(|(_, path)| path)) {
            hash.update(fs::read(file).with_context(|| file.display().to_string())?);
            hash.update([0]);
        }
        Ok(hash.finalize()[..6].iter().map(|byte| format!("{byte:02x}")).collect())
    }

    fn size(&self) -> Result<u64> {
        self.files.iter().map(|(_, path)| Ok(fs::metadata(path)?.len())).sum()
    }
}

/// Builds an image into an archive, with what there is: buildah, Podman or Docker. Nothing of it stays elsewhere.
///
/// # Errors
/// When none of them is there, or it fails.
pub async fn pack(recipe: &Recipe, reference: &str, archive: &Path) -> Result<()> {
    let beside = archive.parent().context("an archive needs a folder")?;
    let scratch = tempfile::Builder::new().prefix(".packing-").tempdir_in(beside)?;
    let packed = scratch.path().join("image.tar");
    pack_in(recipe, reference, &packed, scratch.path()).await?;
    Ok(fs::rename(&packed, archive)?)
}

async fn pack_in(recipe: &Recipe, reference: &str, archive: &Path, scratch: &Path) -> Result<()> {
    let context = scratch.join("context");
    fs::create_dir_all(&context)?;
    for (name, path) in &recipe.files {
        fs::copy(path, context.join(name)).with_context(|| path.display().to_string())?;
    }
    let containerfile = fs::canonicalize(&recipe.containerfile)?;
    let build = |command: &mut Command| {
        command
            .args(["--tag", reference, "--file"])
            .arg(&containerfile)
            .arg(&context)
            .stdin(Stdio::null());
    };
    let Some(builder) = prerequisites::image_builder().await else {
        bail!("no program here builds container images: install buildah, or Podman, or Docker and start its daemon")
    };
    if builder == "buildah" {
        let buildah = || {
            let mut command = Command::new("buildah");
            command
                .arg("--root")
                .arg(scratch.join("root"))
                .arg("--runroot")
                .arg(scratch.join("run"));
            command.args(["--storage-driver", "vfs"]);
            command
        };
        let mut command = buildah();
        build(command.args(["build", "--isolation", "chroot", "--quiet"]));
        run(&mut command).await?;
        let into = format!("docker-archive:{}:{reference}", archive.display());
        run(buildah().args(["push", "--quiet", reference, &into])).await?;
    } else {
        let mut command = Command::new(builder);
        build(command.args(["build", "--quiet"]));
        run(&mut command).await?;
        run(Command::new(builder)
            .arg("save")
            .arg("--output")
            .arg(archive)
            .arg(reference))
        .await?;
        sh([builder, "rmi", reference]).await?;
    }
    Ok(())
}
