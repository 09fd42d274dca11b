//! The catalog in a real browser: what `e2e/catalog/check.mjs` objects to fails the test.

use std::ffi::OsStr;
use std::path::Path;

use anyhow::{Result, ensure};
use clap::Parser as _;
use ferrygate::cli::{Cli, Command, catalog};
use ferrygate_e2e::cluster::command::run;
use ferrygate_e2e::cluster::prerequisites::browser;
use ferrygate_e2e::packages;

const WHAT: &str = "the catalog in a browser";

#[tokio::test]
async fn the_catalog_works_from_a_folder_by_keyboard_and_for_everybody() -> Result<()> {
    let Some(browser) = browser() else {
        packages::not_run(WHAT, "there is no Chromium; `make e2e` installs Debian's");
        return Ok(());
    };
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let Some(node) = packages::node(here.join("catalog"), WHAT).await? else {
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    let (files, output) = (here.join("../tests/catalog"), folder.path().join("catalog"));
    let status = files.join("contracts.yaml");
    let arguments = ["ferrygate", "catalog", "--files"].map(OsStr::new);
    let arguments = arguments
        .into_iter()
        .chain([files.as_os_str(), OsStr::new("--output"), output.as_os_str()])
        .chain([OsStr::new("--status"), status.as_os_str()]);
    let Command::Catalog(arguments) = Cli::try_parse_from(arguments)?.command else {
        anyhow::bail!("`ferrygate catalog` is another command");
    };
    ensure!(catalog::run(&arguments).await == 0, "the catalog was not written");
    let mut check = node.script(OsStr::new("check.mjs"));
    run(check.env("CATALOG", &output).env("BROWSER", browser)).await?;
    Ok(())
}
