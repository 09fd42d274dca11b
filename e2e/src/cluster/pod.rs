//! What a pod of a cluster test does. The tests have no image with a shell, so the program that runs them runs in the
//! pod as well.

use std::{fs, io::Write, path::PathBuf, process::exit};

use anyhow::{Context, Result};
use clap::Subcommand;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::{Api, Client, api::PostParams};
use tokio::{net::lookup_host, signal::unix};

/// One thing to do, and then to end.
#[derive(Debug, Subcommand)]
pub enum Pod {
    /// Prints a file.
    Read {
        /// The file.
        file: PathBuf,
    },
    /// Writes a file.
    Write {
        /// The file.
        file: PathBuf,
        /// What to write.
        text: String,
    },
    /// Prints the addresses of a name.
    Resolve {
        /// The name.
        name: String,
    },
    /// Prints whom the API server takes this pod for.
    Whoami,
    /// Ends with an exit code.
    Exit {
        /// The code.
        code: i32,
    },
    /// Waits until it is told to end.
    Wait,
}

impl Pod {
    /// Does it.
    ///
    /// # Errors
    /// When it can't be done.
    pub async fn run(self) -> Result<()> {
        match self {
            Self::Read { file } => println!("{}", fs::read_to_string(file)?),
            Self::Write { file, text } => fs::write(file, text)?,
            Self::Resolve { name } => {
                for address in lookup_host((name.as_str(), 0)).await.with_context(|| name.clone())? {
                    println!("{}", address.ip());
                }
            }
            Self::Whoami => {
                let reviews = Api::<SelfSubjectReview>::all(Client::try_default().await?);
                let review = reviews
                    .create(&PostParams::default(), &SelfSubjectReview::default())
                    .await?;
                println!("{}", serde_json::to_string(&review.status)?);
            }
            Self::Exit { code } => exit(code),
            Self::Wait => {
                println!("waiting");
                std::io::stdout().flush()?;
                unix::signal(unix::SignalKind::terminate())?.recv().await;
            }
        }
        Ok(())
    }
}
